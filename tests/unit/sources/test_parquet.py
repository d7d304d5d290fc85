"""What Parquet files' footers say, before Spark or an executor reads the rows."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.errors import SourceError
from mlops_assets.sources.executor_files import merged
from mlops_assets.sources.parquet import file_schema, find_growth, read_schemas
from mlops_assets.sources.paths import FileSet

AT = datetime(2024, 1, 1)
NAIVE = pa.timestamp("ns")
POINT = pa.timestamp("us", "UTC")


def write(path: Path, columns: dict[str, pa.DataType], *, int96: bool) -> Path:
    values = {"at": AT, "many": [AT], "by": {"n": 1, "at": AT}, "of": [("a", AT)], "n": 1}
    table = pa.table({name: pa.array([values[name]], kind) for name, kind in columns.items()})
    pq.write_table(table, path, use_deprecated_int96_timestamps=int96)
    return path


def test_int96_is_a_point_in_time_wherever_it_stands(tmp_path: Path) -> None:
    by = [("n", pa.int32())]
    given = {
        "n": pa.int64(),
        "at": NAIVE,
        "many": pa.list_(NAIVE),
        "by": pa.struct([*by, ("at", NAIVE)]),
        "of": pa.map_(pa.string(), NAIVE),
    }
    found = file_schema(write(tmp_path / "a.parquet", given, int96=True))
    assert found.names == list(given)
    assert found.field("n").type == pa.int64()
    assert found.field("at").type == POINT
    assert found.field("many").type.value_type == POINT
    assert found.field("by").type == pa.struct([*by, ("at", POINT)])
    assert found.field("of").type.key_type == pa.string()
    assert found.field("of").type.item_type == POINT
    assert merged([found])["at"].dataType.simpleString() == "timestamp"


def test_later_files_may_have_the_same_times_in_another_form(tmp_path: Path) -> None:
    files = (
        write(tmp_path / "a.parquet", {"at": NAIVE}, int96=True),
        write(tmp_path / "b.parquet", {"at": POINT}, int96=False),
    )
    found = FileSet(tmp_path, files)
    assert not find_growth(found, read_schemas(found, "shop"), "shop")


@pytest.mark.parametrize(
    "kind", [NAIVE, pa.timestamp("ns", "UTC"), pa.list_(NAIVE)], ids=["naive", "utc", "nested"]
)
def test_nanoseconds_are_refused_wherever_they_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    name = "many" if pa.types.is_list(kind) else "at"
    found = FileSet(tmp_path, (write(tmp_path / "a.parquet", {name: kind}, int96=False),))
    with pytest.raises(SourceError, match="coerce_timestamps='us'") as raised:
        find_growth(found, read_schemas(found, "shop"), "shop")
    assert f"a.parquet: {name} is " in str(raised.value)
