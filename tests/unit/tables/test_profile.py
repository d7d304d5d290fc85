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

from mlops_assets.tables.fingerprint import DistinctSketch, hash_values, mix
from mlops_assets.tables.profile import TableProfile, profile
from resources.manifest import Column


@pytest.fixture(params=[1 << 17, 2], ids=["one batch", "many batches"])
def measure(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> Any:
    monkeypatch.setattr("mlops_assets.tables.profile._BATCH_ROWS", request.param)

    def measure(columns: dict[str, Any], **arguments: Any) -> TableProfile:
        table = pa.table(columns)
        path = tmp_path / "table.parquet"
        pq.write_table(table, path)
        shape = [Column(name=field.name, type=str(field.type)) for field in table.schema]
        return profile([path], shape, **arguments)

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
    assert x.distinct == 1000
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


def test_far_times_are_defined(measure: Any) -> None:
    """Arrow converts to Python up to the year 9999 only; Spark's calendar goes on."""
    (found,) = measure(
        {"at": pa.array([0, 300_000_000_000_000_000], pa.timestamp("us", "UTC"))}
    ).statistics
    assert found.min == "1970-01-01T00:00:00"
    assert str(found.max).startswith("11476")


def test_the_layout_of_the_files_does_not_matter(tmp_path: Path) -> None:
    table = pa.table({"a": list(range(100)), "b": [str(i % 7) for i in range(100)]})
    shape = [Column(name="a", type="bigint"), Column(name="b", type="string")]
    paths = [tmp_path / f"{i}.parquet" for i in range(3)]
    pq.write_table(table, paths[0], compression="zstd", row_group_size=10)
    pq.write_table(table.slice(60), paths[1], use_dictionary=False)
    pq.write_table(table.slice(0, 60), paths[2])
    one, two = profile(paths[:1], shape), profile(paths[1:], shape)
    assert one.data_version == two.data_version
    assert one.statistics[1] == two.statistics[1]


def test_the_version_is_the_same_on_every_machine_and_release(measure: Any) -> None:
    """A change of this value makes every stored version look changed: it must be meant."""
    found = measure({"i": [1, None], "f": [0.5, math.nan], "s": ["ä", None], "b": [True, None]})
    assert found.data_version == (
        "sha256:bea2374f74fe260a31fb5ed7bfb80c9b2d40dc90099ea3f9130f44f1f6d55607"
    )


def test_equal_numbers_have_equal_hashes() -> None:
    zero, minus, *nans = hash_values(pa.array([0.0, -0.0, math.nan, -math.nan]))
    assert zero == minus
    assert nans[0] == nans[1]


@pytest.mark.parametrize("count", [0, 1, 2047, 2048, 2049, 10_000, 500_000])
def test_distinct_counts(count: int) -> None:
    sketch = DistinctSketch()
    hashes = mix(np.arange(count, dtype=np.uint64))
    for part in np.array_split(np.tile(hashes, 2), 9):
        sketch.add(part)
    if count < 2048:
        assert sketch.count() == count
    else:
        assert abs(sketch.count() / count - 1) < 0.06


def test_hashes_are_spread() -> None:
    """Neighbouring numbers share no pattern: each of 64 bits is set in about half of them."""
    hashes = hash_values(pa.array(np.arange(20_000)))
    for bit in range(64):
        share = float(((hashes >> np.uint64(bit)) & np.uint64(1)).mean())
        assert 0.48 < share < 0.52
    assert len(np.unique(hashes)) == 20_000


def test_a_wide_table_is_profiled_in_seconds(tmp_path: Path) -> None:
    """336,776 rows of 19 columns take 0.3 s of processor time; ten times that is a defect."""
    import time

    generator = np.random.default_rng(1)
    columns: dict[str, Any] = {f"x{i}": generator.normal(size=336_776) for i in range(14)}
    words = np.array([f"N{i}" for i in range(4000)])
    columns |= {f"w{i}": words[generator.integers(0, 4000, 336_776)] for i in range(5)}
    path = tmp_path / "wide.parquet"
    pq.write_table(pa.table(columns), path)
    shape = [Column(name=name, type="double") for name in columns]
    started = time.process_time()
    profile([path], shape)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("other", [{"a": [2], "b": [1]}, {"a": [3], "b": [3]}])
def test_values_belong_to_their_columns(measure: Any, other: Any) -> None:
    one = {"a": [1], "b": [2]} if other["a"] == [2] else {"a": [7], "b": [7]}
    assert measure(one).data_version != measure(other).data_version
