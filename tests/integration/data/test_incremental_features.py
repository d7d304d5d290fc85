"""Features of new slices only are those of all slices, whatever the query; or all are computed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import QualityError
from mlops_assets.features.increment import MAX_PARTS, PARTS
from mlops_assets.features.materialize import FeaturesResult, materialize_features
from mlops_assets.keys import ProjectId
from mlops_assets.sources.ingest import ingest
from mlops_assets.sources.partitioned import take_partitions
from resources.local_store import LocalStore
from resources.store import Store

pytestmark = pytest.mark.spark
START = datetime(2024, 3, 1, tzinfo=UTC)
PRICES = {"colour": ["red", "blue", "grey"], "price": [1.0, 2.0, 9.0]}
COLUMNS = "s.id, s.at, s.x, s.colour, s.label"

ROW_BY_ROW = {
    "filter": f"SELECT {COLUMNS} FROM shop s WHERE s.x > 1",
    "cte": f"WITH c AS (SELECT * FROM shop WHERE x > 1) SELECT {COLUMNS} FROM c s",
    "inner join": f"SELECT {COLUMNS}, p.price FROM shop s JOIN prices p USING (colour)",
    "left join": f"SELECT {COLUMNS}, p.price FROM shop s LEFT JOIN prices p USING (colour)",
    "right side": f"SELECT {COLUMNS}, p.price FROM prices p RIGHT JOIN shop s USING (colour)",
    "semi join": f"SELECT {COLUMNS} FROM shop s WHERE s.colour IN (SELECT colour FROM prices)",
    "anti join": (
        f"SELECT {COLUMNS} FROM shop s WHERE NOT EXISTS "
        "(SELECT 1 FROM prices p WHERE p.colour = s.colour)"
    ),
    "grouped other": (
        f"SELECT {COLUMNS}, p.most FROM shop s LEFT JOIN "
        "(SELECT colour, max(price) AS most FROM prices GROUP BY colour) p USING (colour)"
    ),
    "other's total": f"SELECT {COLUMNS}, (SELECT sum(price) FROM prices) AS total FROM shop s",
    "explode": f"SELECT {COLUMNS}, explode(array(1, 2)) AS copy FROM shop s",
    "union of one": (
        f"SELECT {COLUMNS} FROM shop s UNION ALL SELECT s.id + 100, s.at, s.x, s.colour, s.label "
        "FROM shop s"
    ),
}
ACROSS_ROWS = {
    "window": f"SELECT {COLUMNS}, avg(s.x) OVER (PARTITION BY s.colour) AS mean FROM shop s",
    "row number": f"SELECT {COLUMNS}, row_number() OVER (ORDER BY s.id) AS nth FROM shop s",
    "group": (
        "SELECT max(s.id) AS id, max(s.at) AS at, sum(s.x) AS x, s.colour, max(s.label) AS label "
        "FROM shop s GROUP BY s.colour"
    ),
    "distinct": f"SELECT DISTINCT {COLUMNS} FROM shop s",
    "limit": f"SELECT {COLUMNS} FROM shop s ORDER BY s.id DESC LIMIT 3",
    "own total": f"SELECT {COLUMNS} FROM shop s WHERE s.x >= (SELECT avg(x) FROM shop)",
    "self join": (
        f"SELECT {COLUMNS}, before.x AS earlier FROM shop s LEFT JOIN shop before "
        "ON before.id = s.id - 3"
    ),
    "optional side": (
        "SELECT coalesce(s.id, 0) AS id, coalesce(s.at, timestamp'2024-01-01') AS at, s.x, "
        "p.colour, s.label FROM prices p LEFT JOIN shop s USING (colour)"
    ),
    "full join": (
        "SELECT coalesce(s.id, 0) AS id, coalesce(s.at, timestamp'2024-01-01') AS at, s.x, "
        "colour, s.label FROM shop s FULL JOIN prices p USING (colour)"
    ),
    "union with another": (
        f"SELECT {COLUMNS} FROM shop s UNION ALL SELECT -1, timestamp'2024-01-01', price, "
        "colour, 0 FROM prices"
    ),
    "today": f"SELECT {COLUMNS}, year(current_date()) > 2000 AS modern FROM shop s",
    "a word for today": f"SELECT {COLUMNS}, year(DATE'today') > 2000 AS modern FROM shop s",
    "a short name of today": f"SELECT {COLUMNS}, year(curdate()) > 2000 AS modern FROM shop s",
}
QUERIES = [*ROW_BY_ROW.items(), *ACROSS_ROWS.items()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project_configs" / "team" / "shop"
    folder.mkdir(parents=True)
    write(folder / "prices.parquet", PRICES)
    return folder


def write(path: Path, columns: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def add_day(folder: Path, number: int, *, shift: float = 0.0, rows: int = 3) -> None:
    at = START + timedelta(days=number)
    ids = [number * 3 + position for position in range(rows)]
    write(
        folder / "days" / f"{at:%Y-%m-%d}.parquet",
        {
            "id": ids,
            "at": pa.array([at] * rows, pa.timestamp("us", tz="UTC")),
            "x": [float(value % 5) + shift for value in ids],
            "colour": [("red", "blue", None, "green")[value % 4] for value in ids],
            "label": [value % 2 for value in ids],
        },
    )


def make(folder: Path, query: str, incremental: str = "auto") -> Project:
    written = {
        "description": "test",
        "task": "binary",
        "sources": {
            "shop": {
                "type": "files",
                "uri": "days/%Y-%m-%d.parquet",
                "partitions": {"every": "day", "start": "2024-03-01"},
            },
            "prices": {"type": "files", "uri": "prices.parquet"},
        },
        "features": {
            "query": "features.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "label"},
            "inputs": {"numeric": ["x"], "categorical": ["colour"]},
            "incremental": incremental,
        },
    }
    spec = ProjectSpec.model_validate(written)
    return Project(ProjectId("team", "shop"), spec, folder, written, {"features.sql": query})


def take_raw(project: Project, store: Store, spark: Any, *days: int) -> None:
    keys = [f"{START + timedelta(days=number):%Y-%m-%d}" for number in days]
    for taken in take_partitions(project, "shop", keys, store, lambda: spark):
        assert taken.problem is None
    for source in project.spec.sources:
        ingest(project, source, store=store, spark_factory=lambda: spark, check=lambda *_: {})


@pytest.fixture
def run(spark: Any) -> Callable[..., FeaturesResult]:
    def run(
        project: Project, store: Store, *days: int, check: Any = lambda *_: {}, force: bool = False
    ) -> FeaturesResult:
        if (project.directory / "prices.parquet").exists():
            take_raw(project, store, spark, *days)
        return materialize_features(
            project,
            store=store,
            spark_factory=lambda: spark,
            check=check,
            code_version="1",
            force=force,
        )

    return run


def rows(store: Store, result: FeaturesResult) -> list[str]:
    table = pa.concat_tables(pq.read_table(path) for path in store.files(result.manifest))
    return sorted(map(repr, table.to_pylist()))


@pytest.fixture(scope="module")
def raw(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Stores with two days of raw data, and with the same two and two more."""
    base = tmp_path_factory.mktemp("raw")
    folder = base / "project"
    write(folder / "prices.parquet", PRICES)
    for number in range(4):
        add_day(folder, number)
    project = make(folder, "")
    take_raw(project, LocalStore(base / "two"), spark, 0, 1)
    shutil.copytree(base / "two", base / "four")
    take_raw(project, LocalStore(base / "four"), spark, 2, 3)
    return base / "two", base / "four"


@pytest.mark.parametrize(("name", "query"), QUERIES, ids=[name for name, _ in QUERIES])
def test_the_result_is_the_same_either_way(
    name: str, query: str, raw: tuple[Path, Path], tmp_path: Path, run: Callable[..., Any]
) -> None:
    two, four = raw
    grown, whole = LocalStore(tmp_path / "grown"), LocalStore(tmp_path / "whole")
    shutil.copytree(two, grown.root)
    run(make(tmp_path, query), grown)
    shutil.copytree(four, grown.root, dirs_exist_ok=True)
    step = run(make(tmp_path, query), grown)
    shutil.copytree(four, whole.root)
    full = run(make(tmp_path, query, "never"), whole)
    assert step.manifest.data_version == full.manifest.data_version
    assert rows(grown, step) == rows(whole, full)
    if name in ROW_BY_ROW:
        assert step.scope == "2 of 4 slices of shop"
    else:
        assert step.scope.startswith("all rows: ")
    assert full.scope == "all rows"


def test_revisions_and_other_sources_make_their_rows_anew(
    folder: Path, tmp_path: Path, run: Callable[..., FeaturesResult]
) -> None:
    query = ROW_BY_ROW["left join"]
    store = LocalStore(tmp_path / "store")
    for number in range(4):
        add_day(folder, number)
        assert run(make(folder, query), store, number).scope == f"1 of {number + 1} slices of shop"
    add_day(folder, 1, shift=10.0, rows=2)
    changed = run(make(folder, query), store, 1)
    assert changed.scope == "1 of 4 slices of shop"
    whole = run(make(folder, query, "never"), LocalStore(tmp_path / "whole"), 0, 1, 2, 3)
    assert changed.manifest.data_version == whole.manifest.data_version
    write(folder / "prices.parquet", {"colour": ["red"], "price": [5.0]})
    assert run(make(folder, query), store).scope == "4 of 4 slices of shop"
    assert run(make(folder, query), store, force=True).scope == "4 of 4 slices of shop"
    assert run(make(folder, ROW_BY_ROW["filter"]), store).scope == "4 of 4 slices of shop"


def test_a_damaged_part_is_computed_again(
    folder: Path, tmp_path: Path, run: Callable[..., FeaturesResult]
) -> None:
    store = LocalStore(tmp_path / "store")
    query = ROW_BY_ROW["filter"]
    for number in range(3):
        add_day(folder, number)
        run(make(folder, query), store, number)
    parts = store.manifests(make(folder, query).id.feature_parts_collection)
    store.files(parts[1])[0].unlink()
    add_day(folder, 3)
    assert run(make(folder, query), store, 3).scope == "2 of 4 slices of shop"


def test_refused_rows_leave_no_part_behind(
    folder: Path, tmp_path: Path, run: Callable[..., FeaturesResult]
) -> None:
    store = LocalStore(tmp_path / "store")
    project = make(folder, ROW_BY_ROW["filter"])
    add_day(folder, 0)
    first = run(project, store, 0)

    def refuse(*_: Any) -> Any:
        raise QualityError("no")

    add_day(folder, 1)
    with pytest.raises(QualityError):
        run(project, store, 1, check=refuse)
    assert len(store.manifests(project.id.feature_parts_collection)) == 1
    assert store.latest(project.id.features_collection) == first.manifest
    assert run(project, store, 1).manifest.metadata[PARTS] == [1, 2]


def test_many_parts_become_one(
    folder: Path,
    tmp_path: Path,
    run: Callable[..., FeaturesResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert MAX_PARTS > 3
    monkeypatch.setattr("mlops_assets.features.increment.MAX_PARTS", 3)
    store = LocalStore(tmp_path / "store")
    numbers = []
    for number in range(5):
        add_day(folder, number)
        result = run(make(folder, ROW_BY_ROW["filter"]), store, number)
        numbers.append(len(result.manifest.metadata[PARTS]))
    assert numbers == [1, 2, 3, 1, 2]
