"""Ingestion with real Spark: what is published, what is refused, and what stays."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mlops_assets.config.project import Project
from mlops_assets.errors import (
    EmptyDataError,
    QualityError,
    SchemaError,
    SourceError,
)
from mlops_assets.sources.ingest import IngestResult, ingest, source_digest
from resources.local_store import LocalStore

pytestmark = pytest.mark.spark

ROWS = 200


def rows(count: int = ROWS, seed: int = 0) -> pa.Table:
    numbers = random.Random(seed)
    return pa.table(
        {
            "id": list(range(count)),
            "x": [numbers.random() for _ in range(count)],
            "colour": [numbers.choice(["red", "green", None]) for _ in range(count)],
            "label": [numbers.randint(0, 1) for _ in range(count)],
        }
    )


def write(project: Project, table: pa.Table, name: str = "a.parquet") -> Path:
    path = project.directory / "shop" / name
    pq.write_table(table, path)
    return path


def accept(df: Any, profile: Any) -> dict[str, Any]:
    return {}


@pytest.fixture
def run(store: LocalStore, spark: Any) -> Callable[..., IngestResult]:
    def run(project: Project, **arguments: Any) -> IngestResult:
        arguments = {"store": store, "spark_factory": lambda: spark, "check": accept} | arguments
        return ingest(project, "shop", **arguments)

    return run


def no_spark() -> Any:
    raise AssertionError("Spark was started for an unchanged source")


def collection(project: Project) -> str:
    return project.id.raw_collection("shop")


def stored(store: LocalStore, result: IngestResult) -> pa.Table:
    return pq.read_table(store.path(result.manifest))


def leftovers(store: LocalStore) -> list[Path]:
    return list((store.root / ".staging").glob("*"))


def test_publishes_what_is_in_the_files(make_project: Any, run: Any, store: LocalStore) -> None:
    project = make_project()
    write(project, rows())
    result = run(project)
    assert stored(store, result).sort_by("id").equals(rows())
    assert (result.manifest.rows, result.manifest.sequence, result.reused) == (ROWS, 1, False)
    assert [c.name for c in result.manifest.columns] == ["id", "x", "colour", "label"]
    assert result.manifest.inputs_digest == source_digest(project, "shop")
    assert leftovers(store) == []
    store.verify(result.manifest)


def test_an_unchanged_source_is_not_read(make_project: Any, run: Any) -> None:
    project = make_project()
    path = write(project, rows())
    first = run(project)
    path.touch()
    again = run(project, spark_factory=no_spark)
    assert again.reused
    assert again.manifest == first.manifest
    assert again.profile == first.profile


def test_a_damaged_version_is_made_again(make_project: Any, run: Any, store: LocalStore) -> None:
    project = make_project()
    write(project, rows())
    first = run(project)
    next(store.path(first.manifest).iterdir()).write_bytes(b"PAR1")
    second = run(project)
    assert not second.reused
    assert second.manifest.data_version == first.manifest.data_version
    assert stored(store, second).num_rows == ROWS


def test_the_same_rows_in_another_order_and_layout_are_the_same_version(
    make_project: Any, run: Any, store: LocalStore
) -> None:
    project = make_project()
    path = write(project, rows())
    first = run(project)
    path.unlink()
    order = list(range(ROWS))
    random.Random(1).shuffle(order)
    shuffled = rows().take(order)
    write(project, shuffled.slice(0, 50), "b.parquet")
    write(project, shuffled.slice(50), "c.parquet")
    second = run(project)
    assert second.manifest.data_version == first.manifest.data_version
    assert second.manifest.location == first.manifest.location
    assert second.manifest.inputs_digest != first.manifest.inputs_digest
    assert run(project, spark_factory=no_spark).manifest == second.manifest


@pytest.mark.parametrize("change", ["doubled", "lost", "changed", "moved_null"])
def test_other_rows_are_another_version(make_project: Any, run: Any, change: str) -> None:
    project = make_project()
    table = pa.table({"id": [1, 2], "x": [None, 5], "y": [5, None]})
    other = {
        "doubled": pa.concat_tables([table, table.slice(0, 1)]),
        "lost": table.slice(1),
        "changed": pa.table({"id": [1, 2], "x": [None, 5], "y": [6, None]}),
        "moved_null": pa.table({"id": [1, 2], "x": [5, 5], "y": [None, None]}),
    }[change]
    other = other.cast(table.schema)
    write(project, table)
    first = run(project).manifest.data_version
    write(project, other)
    assert run(project).manifest.data_version != first


def test_going_back_to_earlier_content_stores_nothing_twice(
    make_project: Any, run: Any, store: LocalStore
) -> None:
    project = make_project()
    write(project, rows(seed=1))
    first = run(project)
    write(project, rows(seed=2))
    run(project)
    write(project, rows(seed=1))
    third = run(project)
    assert third.manifest.sequence == 3
    assert third.manifest.location == first.manifest.location


def test_forced_and_unchanged_publishes_nothing(
    make_project: Any, run: Any, store: LocalStore
) -> None:
    project = make_project()
    write(project, rows())
    run(project)
    forced = run(project, force=True)
    assert not forced.reused
    assert len(store.manifests(collection(project))) == 1


@pytest.mark.parametrize("damage", ["truncated", "not parquet", "empty file"])
def test_a_corrupt_file_among_others_is_named(
    make_project: Any, run: Any, store: LocalStore, damage: str
) -> None:
    project = make_project()
    write(project, rows())
    run(project)
    bad = write(project, rows(seed=2), "b.parquet")
    write(project, rows(seed=3), "c.parquet")
    content = bad.read_bytes()
    bad.write_bytes({"truncated": content[:-200], "not parquet": b"hello" * 99}.get(damage, b""))
    with pytest.raises(SourceError, match=r"b\.parquet") as raised:
        run(project, spark_factory=no_spark)  # found without Spark
    assert "corrupt" in raised.value.problem
    assert len(store.manifests(collection(project))) == 1
    assert leftovers(store) == []


def test_a_corrupt_page_is_found_while_reading_and_the_file_is_named(
    make_project: Any, run: Any, store: LocalStore
) -> None:
    project = make_project()
    write(project, rows())
    bad = project.directory / "shop" / "b.parquet"
    pq.write_table(rows(20_000), bad)
    content = bytearray(bad.read_bytes())
    content[4:2_000] = bytes(1_996)
    bad.write_bytes(bytes(content))
    with pytest.raises(SourceError, match=r"b\.parquet"):
        run(project)
    assert store.latest(collection(project)) is None
    assert leftovers(store) == []


def test_a_flipped_bit_is_found_by_the_pages_checksum(make_project: Any, run: Any) -> None:
    project = make_project()
    path = project.directory / "shop" / "a.parquet"
    table = pa.table({"x": pa.array(range(5_000), pa.int64())})
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    content[20_000] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(SourceError, match=r"a\.parquet"):
        run(project)


@pytest.mark.parametrize(
    ("columns", "difference"),
    [
        (["id", "colour", "label"], ["- x double"]),
        (["id", "xx", "colour", "label"], ["- x double (renamed to xx?)", "+ xx double"]),
        (["id", "x", "colour", "label:string"], ["~ label bigint → string"]),
    ],
)
def test_a_dropped_renamed_or_retyped_column_blocks_with_a_difference(
    make_project: Any, run: Any, store: LocalStore, columns: list[str], difference: list[str]
) -> None:
    project = make_project()
    write(project, rows())
    run(project)
    source = {"xx": "x"}
    table = rows(seed=5)
    arrays = {}
    for column in columns:
        name, _, kind = column.partition(":")
        array = table[source.get(name, name)]
        arrays[name] = array.cast(pa.string()) if kind else array
    write(project, pa.table(arrays))
    with pytest.raises(SchemaError) as raised:
        run(project)
    for line in difference:
        assert line in str(raised.value)
    assert len(store.manifests(collection(project))) == 1


def test_an_added_column_passes_and_is_told(make_project: Any, run: Any) -> None:
    project = make_project()
    write(project, rows())
    run(project)
    write(project, rows().append_column("extra", pa.array(range(ROWS))))
    result = run(project)
    assert result.added_columns == ("extra",)
    assert [c.name for c in result.manifest.columns][-1] == "extra"


def test_declared_columns_are_the_contract(make_project: Any, run: Any) -> None:
    project = make_project(columns={"x": "DOUBLE", "label": "long"})
    write(project, rows())
    run(project)
    write(project, rows().drop_columns(["colour"]))  # not declared: may go
    run(project)
    with pytest.raises(SchemaError, match="~ x string → double"):
        run(make_project(columns={"x": "string"}))


def test_a_later_file_without_a_column_blocks(make_project: Any, run: Any) -> None:
    project = make_project()
    write(project, rows(), "2024-01.parquet")
    write(project, rows().rename_columns(["id", "y", "colour", "label"]), "2024-02.parquet")
    with pytest.raises(
        SchemaError, match=r"2024-02\.parquet\n\s+- x double \(in 2024-01"
    ) as raised:
        run(project)
    assert "+ y double" in str(raised.value)


def test_a_later_file_may_bring_a_column(make_project: Any, run: Any, store: Any) -> None:
    project = make_project()
    write(project, rows(), "2024-01.parquet")
    write(project, rows().append_column("new", pa.array(range(ROWS))), "2024-02.parquet")
    table = stored(store, run(project))
    assert table["new"].null_count == ROWS
    assert table.num_rows == 2 * ROWS


def test_no_rows_are_refused_by_name(make_project: Any, run: Any, store: LocalStore) -> None:
    project = make_project()
    write(project, rows())
    run(project)
    write(project, rows(0).cast(rows().schema))
    with pytest.raises(EmptyDataError, match="team/shop/raw/shop"):
        run(project)
    assert len(store.manifests(collection(project))) == 1
    assert leftovers(store) == []


def test_data_that_fail_a_check_are_never_visible(
    make_project: Any, run: Any, store: LocalStore
) -> None:
    project = make_project()
    write(project, rows())
    run(project)
    write(project, rows(seed=9))

    def refuse(df: Any, profile: Any) -> None:
        assert df.count() == profile.rows == ROWS
        raise QualityError("refused")

    with pytest.raises(QualityError):
        run(project, check=refuse)
    assert len(store.manifests(collection(project))) == 1
    assert len(list((store.root / collection(project) / "_data").iterdir())) == 1
    assert leftovers(store) == []


def test_what_the_check_says_is_kept(make_project: Any, run: Any) -> None:
    project = make_project()
    write(project, rows())
    result = run(project, check=lambda df, profile: {"verdict": "fine"})
    assert result.manifest.metadata["verdict"] == "fine"


def test_a_source_that_changes_while_it_is_read_is_refused(
    make_project: Any, run: Any, store: LocalStore, spark: Any
) -> None:
    project = make_project()
    write(project, rows())

    def slow_start() -> Any:
        write(project, rows(seed=4), "late.parquet")
        return spark

    with pytest.raises(SourceError, match="changed while it was read"):
        run(project, spark_factory=slow_start)
    assert store.latest(collection(project)) is None


def test_no_values_of_personal_columns_are_kept(make_project: Any, run: Any) -> None:
    table = pa.table({"id": [1, 2], "secret": [123456.5, 987654.5], "mail": ["a@b", "ccc@d"]})
    open_project = make_project()
    write(open_project, table)
    before = run(open_project)
    assert "987654.5" in json.dumps(before.manifest.metadata)
    after = run(make_project(pii=["secret", "mail"]))
    assert "987654.5" not in json.dumps(after.manifest.metadata)
    hidden = after.profile.column("mail")
    assert (hidden.nulls, hidden.distinct, hidden.max_length) == (0, 2, None)
    assert after.manifest.data_version == before.manifest.data_version


@pytest.mark.parametrize("option", [{"pii": ["colur"]}, {"time_column": "colur"}])
def test_a_misspelled_column_is_refused(make_project: Any, run: Any, option: Any) -> None:
    project = make_project(**option)
    write(project, rows())
    with pytest.raises(SchemaError, match="did you mean colour"):
        run(project)


def test_csv_is_inferred(make_project: Any, run: Any, store: LocalStore) -> None:
    project = make_project(format="csv", null_value="NA")
    text = 'id,at,x,note\n1,2024-01-01T10:00:00Z,1.5,"a ""b"", c"\n2,2024-01-02T10:00:00Z,NA,\n'
    (project.directory / "shop" / "a.csv").write_text(text)
    result = run(project)
    types = [(c.name, c.type) for c in result.manifest.columns]
    assert types == [("id", "int"), ("at", "timestamp"), ("x", "double"), ("note", "string")]
    table = stored(store, result)
    assert table["x"].to_pylist() == [1.5, None]
    assert table["note"].to_pylist() == ['a "b", c', None]
    assert str(table["at"][0].as_py()) == "2024-01-01 10:00:00+00:00"


def test_csv_takes_declared_types_and_infers_the_rest(
    make_project: Any, run: Any, store: LocalStore
) -> None:
    project = make_project(format="csv", columns={"zip": "string"})
    (project.directory / "shop" / "a.csv").write_text("id,zip\n1,01234\n")
    assert stored(store, run(project)).to_pylist() == [{"id": 1, "zip": "01234"}]


def test_csv_without_header(make_project: Any, run: Any, store: LocalStore) -> None:
    project = make_project(format="csv", header=False, delimiter=";")
    (project.directory / "shop" / "a.csv").write_text("1;a\n2;b\n")
    assert stored(store, run(project)).column_names == ["_c0", "_c1"]


@pytest.mark.parametrize(
    ("text", "columns"),
    [("id,x\n1,2\n2,three\n", {"id": "int", "x": "int"}), ("id,x\n1,2\n2\n", {})],
)
def test_a_csv_record_that_does_not_fit_blocks(
    make_project: Any, run: Any, store: LocalStore, text: str, columns: dict[str, str]
) -> None:
    project = make_project(format="csv", columns=columns)
    (project.directory / "shop" / "bad.csv").write_text(text)
    with pytest.raises(SourceError, match=r"bad\.csv"):
        run(project)
    assert store.latest(collection(project)) is None


def test_csv_files_with_columns_in_another_order_block(make_project: Any, run: Any) -> None:
    project = make_project(format="csv")
    (project.directory / "shop" / "a.csv").write_text("id,x\n1,2\n")
    (project.directory / "shop" / "b.csv").write_text("x,id\n1,2\n")
    with pytest.raises(SchemaError, match=r"b\.csv: x, id"):
        run(project, spark_factory=no_spark)


def test_a_truncated_gzip_is_named(make_project: Any, run: Any) -> None:
    project = make_project(format="csv")
    text = "id,x\n" + "".join(f"{i},{i * i}\n" for i in range(100_000))
    (project.directory / "shop" / "a.csv.gz").write_bytes(gzip.compress(text.encode())[:-5_000])
    with pytest.raises(SourceError, match=r"a\.csv\.gz"):
        run(project)


def test_json_lines(make_project: Any, run: Any, store: LocalStore) -> None:
    project = make_project(format="jsonl", columns={"id": "bigint"})
    (project.directory / "shop" / "a.jsonl").write_text('{"id": 1, "x": 2.5}\n{"id": 2}\n')
    assert stored(store, run(project)).to_pylist() == [{"id": 1, "x": 2.5}, {"id": 2, "x": None}]
    with pytest.raises(SchemaError, match="declared column"):
        run(make_project(format="jsonl", columns={"missing": "int"}))
    (project.directory / "shop" / "a.jsonl").write_text('{"id": 1}\n{"id": \n')
    with pytest.raises(SourceError, match=r"a\.jsonl"):
        run(project)


def test_partitioned_folders_keep_their_column(
    make_project: Any, run: Any, store: LocalStore
) -> None:
    project = make_project()
    pq.write_to_dataset(rows(), project.directory / "shop", partition_cols=["label"])
    table = stored(store, run(project))
    assert pc.sum(table["label"]).as_py() == pc.sum(rows()["label"]).as_py()


def test_names_that_spark_could_misread(make_project: Any, run: Any, store: LocalStore) -> None:
    project = make_project()
    write(project, pa.table({"a.b": [1], "c `d": [2], "é": [3]}), "x[1]{2} *.parquet")
    assert stored(store, run(project)).to_pylist() == [{"a.b": 1, "c `d": 2, "é": 3}]


def test_a_full_disk_leaves_nothing(make_project: Any, store: LocalStore, tmp_path: Path) -> None:
    """A child process may write files of 1 KB at most; its Spark fails in the middle."""
    project = make_project()
    write(project, rows())
    program = tmp_path / "child.py"
    program.write_text(CHILD)
    done = subprocess.run(
        [sys.executable, program, str(project.directory), str(store.root), str(tmp_path / "home")],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert "StoreError: the disk is full" in done.stdout, done.stderr[-2000:]
    assert store.latest(collection(project)) is None
    assert leftovers(store) == []
    assert not (store.root / collection(project) / "_data").exists()


CHILD = """
import os, resource, sys
from pathlib import Path

sys.path.insert(0, os.getcwd())
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import MlopsError
from mlops_assets.keys import ProjectId
from mlops_assets.sources.ingest import ingest
from resources.local_store import LocalStore
from resources.spark import spark_session, stop_spark

directory, root, home = map(Path, sys.argv[1:])
written = {
    "description": "d", "task": "binary", "sources": {"shop": {"type": "files", "uri": "shop"}},
    "features": {"query": "f.sql", "entity": "id", "time": "at", "label": {"column": "label"},
                 "inputs": {"numeric": ["x"]}},
}
project = Project(ProjectId("team", "shop"), ProjectSpec.model_validate(written), directory, {})


def factory():
    # Too large for the limit once stored; the session itself needs larger files, so it is first.
    session = spark_session(home=home)
    session.range(10).selectExpr("id", "randstr(9, 1) s").write.parquet(str(home / "warm"))
    pid = int(next(p.name for p in Path("/proc").iterdir() if p.name.isdigit() and is_java(p)))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
    return session


def is_java(process):
    try:
        fields = (process / "stat").read_text()
    except OSError:
        return False
    return "(java)" in fields and int(fields.rpartition(")")[2].split()[1]) == os.getpid()


try:
    ingest(project, "shop", store=LocalStore(root), spark_factory=factory,
           check=lambda df, profile: {})
    print("published")
except MlopsError as error:
    print(f"{type(error).__name__}: {error}")
finally:
    stop_spark()
"""


def test_times_in_nanoseconds_are_said_with_the_way_out(
    make_project: Callable[..., Project], run: Callable[..., IngestResult]
) -> None:
    project = make_project()
    table = rows()
    times = pa.array([1_700_000_000_000_000_000] * table.num_rows, pa.timestamp("ns"))
    write(project, table.append_column("at", times))
    with pytest.raises(SourceError, match="coerce_timestamps='us'"):
        run(project)
