"""Times and dates that a table can hold, and those that it cannot."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from mlops_assets.sources.kafka_times import numbers, out_of_range

GOOD = [None, date(1, 1, 1), date(2024, 2, 29), date(9999, 12, 31)]
FAR = 57_000 * 365 * 86_400_000_000
DATES = pa.array([None, -719_163, -719_162, 2_932_896, 2_932_897], pa.int32()).cast(pa.date32())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array(GOOD, pa.date32()), [False] * 4),
        (DATES, [False, True, False, False, True]),
        (
            pa.array([None, 0, FAR, -FAR], pa.int64()).cast(pa.timestamp("us", "UTC")),
            [False, False, True, True],
        ),
        (pa.array([[None], None, [FAR, 0]], pa.list_(pa.timestamp("us"))), [False, False, True]),
        (pa.array([1, None]), [False, False]),
    ],
)
def test_what_a_table_can_hold(values: pa.Array, expected: list[Any]) -> None:
    assert out_of_range(values).to_pylist() == expected


def test_nulls_stay() -> None:
    noon = datetime(1970, 1, 1, 12, tzinfo=UTC)
    assert numbers(pa.array([noon, None])).to_pylist() == [43_200_000_000, None]
    assert numbers(pa.array([date(1970, 1, 2), None])).to_pylist() == [86_400_000_000, None]
