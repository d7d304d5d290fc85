"""The profile against NumPy, and where statistics do not exist."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.tables.profile import TableProfile, profile

pytestmark = pytest.mark.spark


@pytest.fixture
def measure(spark: Any, tmp_path: Path) -> Any:
    def measure(columns: dict[str, Any], **arguments: Any) -> TableProfile:
        path = tmp_path / "table.parquet"
        pq.write_table(pa.table(columns), path)
        return profile(spark.read.parquet(str(path)), **arguments)

    return measure


def test_statistics_are_numpys(measure: Any) -> None:
    numbers = np.random.default_rng(3).normal(5, 2, 1000)
    words = ["a" * (1 + i % 7) for i in range(1000)]
    found = measure({"x": numbers, "i": np.arange(1000), "w": words, "b": numbers > 5})
    x, i, w, b = found.statistics
    assert (x.min, x.max) == (numbers.min(), numbers.max())
    assert math.isclose(x.mean, numbers.mean())
    assert math.isclose(x.std, numbers.std(ddof=1))
    assert (x.nulls, x.nans, x.infinite) == (0, 0, 0)
    assert 900 < x.distinct < 1100
    assert (i.min, i.max, i.nans) == (0, 999, None)
    assert (w.min_length, w.max_length, w.distinct, w.min) == (1, 7, 7, None)
    assert math.isclose(b.mean, (numbers > 5).mean())
    assert found.rows == 1000


def test_all_null_constant_and_single_values_are_defined(measure: Any) -> None:
    found = measure(
        {
            "nothing": pa.array([None, None], pa.float64()),
            "no_text": pa.array([None, None], pa.string()),
            "no_time": pa.array([None, None], pa.timestamp("us", "UTC")),
            "constant": [7, 7],
            "single": [3.5, None],
            "word": ["x", "x"],
        }
    )
    nothing, no_text, no_time, constant, single, word = found.statistics
    for column in (nothing, no_text, no_time):
        assert (column.nulls, column.distinct, column.min, column.mean) == (2, 0, None, None)
    assert nothing.std is None
    assert no_text.max_length is None
    assert (constant.min, constant.max, constant.std, constant.distinct) == (7, 7, 0.0, 1)
    assert (single.nulls, single.mean, single.std) == (1, 3.5, 0.0)
    assert word.distinct == 1


def test_nan_and_infinity_are_counted_and_left_out(measure: Any) -> None:
    values = [1.0, 3.0, math.nan, math.inf, -math.inf, None]
    for kind in (pa.float64(), pa.float32()):
        (x,) = measure({"x": pa.array(values, kind)}).statistics
        assert (x.nulls, x.nans, x.infinite) == (1, 1, 2)
        assert (x.min, x.max, x.mean) == (1.0, 3.0, 2.0)
        assert math.isclose(x.std, math.sqrt(2))


def test_no_rows(measure: Any) -> None:
    found = measure({"x": pa.array([], pa.float64()), "w": pa.array([], pa.string())})
    assert found.rows == 0
    assert [c.nulls for c in found.statistics] == [0, 0]


def test_the_dictionary_is_strict_json_and_comes_back(measure: Any) -> None:
    from datetime import UTC, date, datetime
    from decimal import Decimal

    found = measure(
        {
            "x": [math.nan, math.inf],
            "at": [datetime(2024, 1, 1, tzinfo=UTC)] * 2,
            "day": [date(2024, 1, 1)] * 2,
            "money": [Decimal("1.25")] * 2,
            "nested": [{"a": [1]}] * 2,
            "bytes": [b"x"] * 2,
        }
    )
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert TableProfile.from_dict(json.loads(text)) == found
    assert found.column("at").min == "2024-01-01T00:00:00"
    assert found.column("money").min == 1.25


def test_personal_columns_have_counts_only(measure: Any) -> None:
    found = measure({"age": [17, 18, None], "name": ["Jane", "Joe", "Jim"]}, pii=["age", "name"])
    for column in found.statistics:
        shown = {k: v for k, v in vars(column).items() if v is not None}
        assert set(shown) == {"column", "type", "nulls", "distinct"}
    assert found.column("age").nulls == 1


@pytest.mark.parametrize(
    "other",
    [
        {"a": [1, 2, 2], "b": ["x", None, "y"]},
        {"a": [1, 2], "b": ["x", "y"]},
        {"a": [2, 1], "b": ["x", None]},
        {"a": [1, None], "b": ["x", "2"]},
        {"aa": [1, 2], "b": ["x", None]},
        {"a": pa.array([1, 2], pa.int32()), "b": ["x", None]},
        {"b": ["x", None], "a": [1, 2]},
    ],
)
def test_other_content_is_another_version(measure: Any, other: Any) -> None:
    assert measure({"a": [1, 2], "b": ["x", None]}).data_version != measure(other).data_version


def test_rows_in_another_order_are_the_same_version(measure: Any) -> None:
    one = measure({"a": [1, 2, 2], "b": ["x", None, None]})
    assert measure({"a": [2, 1, 2], "b": [None, "x", None]}).data_version == one.data_version


def test_nested_nulls_count(measure: Any) -> None:
    one = measure({"a": [{"x": 1, "y": None}]})
    two = measure({"a": [{"x": None, "y": 1}]})
    assert one.data_version != two.data_version
