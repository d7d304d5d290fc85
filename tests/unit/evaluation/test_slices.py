from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.errors import EvaluationError
from mlops_assets.evaluation.slices import MAX_ROWS, MAX_VALUES, MISSING, slice_rows


def _rows_of(rows: np.ndarray) -> dict[str, Any]:
    return {"members": rows.tolist()}


def test_each_value_has_its_rows_largest_first_and_missing_last() -> None:
    table = pa.table({"origin": ["JFK", None, "EWR", "JFK", None, None]})
    assert slice_rows(table, ["origin"], _rows_of) == [
        {"column": "origin", "value": "JFK", "kind": "value", "rows": 2,
         "share": pytest.approx(2 / 6), "members": [0, 3]},
        {"column": "origin", "value": "EWR", "kind": "value", "rows": 1,
         "share": pytest.approx(1 / 6), "members": [2]},
        {"column": "origin", "value": MISSING, "kind": "missing", "rows": 3,
         "share": pytest.approx(3 / 6), "members": [1, 4, 5]},
    ]  # fmt: skip


def test_values_beyond_the_limit_share_one_row_and_none_is_lost() -> None:
    rng = np.random.default_rng(0)
    names = [f"c{min(int(n), 99)}" for n in rng.exponential(12, 5000)]
    values = [*names, None]
    found = slice_rows(pa.table({"carrier": values}), ["carrier"], _rows_of)
    assert len(found) == MAX_VALUES
    assert [part["kind"] for part in found] == ["value"] * 18 + ["other", "missing"]
    counts = Counter(names).most_common()
    assert [(part["value"], part["rows"]) for part in found[:3]] == counts[:3]
    assert [part["rows"] for part in found[:18]] == sorted(
        (part["rows"] for part in found[:18]), reverse=True
    )
    assert found[18]["value"] == f"(other: {len(counts) - 18:,} values)"
    members = [row for part in found for row in part["members"]]
    assert sorted(members) == list(range(5001))


@pytest.mark.parametrize("kind", [pa.float32(), pa.int64(), pa.decimal128(21, 2)])
def test_many_numbers_are_cut_into_ranges(kind: pa.DataType) -> None:
    values = pa.array([*range(1000), None], pa.int64()).cast(kind)
    found = slice_rows(pa.table({"distance": values}), ["distance"], _rows_of)
    assert [part["value"] for part in found] == [
        "< 200", "200 to < 400", "400 to < 600", "600 to < 800", "≥ 800", MISSING,
    ]  # fmt: skip
    assert [part["rows"] for part in found] == [200, 200, 200, 200, 200, 1]
    assert found[1]["members"] == list(range(200, 400))


def test_few_numbers_are_values_and_nan_is_missing() -> None:
    table = pa.table({"seats": pa.array([2.0, float("nan"), 2.0, 4.5, None])})
    found = slice_rows(table, ["seats"], _rows_of)
    assert [(part["value"], part["members"]) for part in found] == [
        ("2", [0, 2]), ("4.5", [3]), (MISSING, [1, 4]),
    ]  # fmt: skip


def test_constant_and_all_missing_columns() -> None:
    table = pa.table({"one": ["x"] * 4, "none": pa.array([None] * 4, pa.string())})
    found = slice_rows(table, ["one", "none"], _rows_of)
    assert [(p["column"], p["value"], p["share"]) for p in found] == [
        ("one", "x", 1.0), ("none", MISSING, 1.0),
    ]  # fmt: skip


def test_heavy_ties_still_give_distinct_ranges() -> None:
    table = pa.table({"delay": [0.0] * 900 + [float(n) for n in range(100)]})
    found = slice_rows(table, ["delay"], _rows_of)
    assert sum(part["rows"] for part in found) == 1000
    assert len({part["value"] for part in found}) == len(found)


def test_a_chunked_dictionary_column_is_read_as_its_values() -> None:
    chunk = pa.array(["a", "b", "a"]).dictionary_encode()
    other = pa.array(["b", "c", None]).dictionary_encode()
    column = pa.chunked_array([chunk.cast(pa.string()), other.cast(pa.string())])
    found = slice_rows(pa.table({"k": column}), ["k"], _rows_of)
    assert {part["value"]: part["members"] for part in found} == {
        "a": [0, 2], "b": [1, 3], "c": [4], MISSING: [5],
    }  # fmt: skip


def test_no_rows_give_no_slices() -> None:
    assert slice_rows(pa.table({"k": pa.array([], pa.string())}), ["k"], _rows_of) == []


@pytest.mark.parametrize(
    ("column", "pii"), [("email", "email"), ("email", "EMAIL"), ("Email", "email")]
)
def test_personal_data_are_never_shown(column: str, pii: str) -> None:
    table = pa.table({column: ["ann@example.org"]})
    with pytest.raises(EvaluationError, match="personal data") as caught:
        slice_rows(table, [column], _rows_of, pii=[pii])
    assert "ann@example.org" not in str(caught.value)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(EvaluationError, match="carrier"):
        slice_rows(pa.table({"k": ["a"]}), ["carrier"], _rows_of)


def test_long_values_and_many_columns_stay_bounded() -> None:
    table = pa.table(
        {f"c{number}": [f"{row}\n{'x' * 500}" for row in range(50)] for number in range(60)}
    )
    found = slice_rows(table, table.column_names, _rows_of)
    assert len(found) <= MAX_ROWS
    assert max(len(part["value"]) for part in found) <= 80
    assert not any("\n" in part["value"] for part in found)
