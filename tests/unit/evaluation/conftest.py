"""Small real projects, tables and bundles for the evaluation's tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.keys import ProjectId

START = datetime(2024, 1, 1, tzinfo=UTC)


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        is_part = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if is_part else value
    return merged


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Project]:
    """A project from a minimal document and changes to it."""

    def make(**changes: Any) -> Project:
        document = _merged(
            {
                "description": "Will it be late?",
                "task": "binary",
                "sources": {"trips": {"type": "files", "uri": "trips", "format": "parquet"}},
                "features": {
                    "query": "features.sql",
                    "entity": "trip",
                    "time": "at",
                    "label": {"column": "label"},
                    "inputs": {"numeric": ["x"]},
                },
            },
            changes,
        )
        spec = ProjectSpec.model_validate(document)
        return Project(ProjectId("rail", "late"), spec, tmp_path, document)

    return make


@pytest.fixture
def make_table() -> Callable[..., pa.Table]:
    """Rows an hour apart, whose label follows ``x``; every row is an entity of its own."""

    def make(rows: int = 1000, task: str = "binary", entities: int | None = None) -> pa.Table:
        rng = np.random.default_rng(0)
        x = rng.normal(size=rows)
        labels: dict[str, Callable[[], pa.Array]] = {
            "binary": lambda: pa.array((rng.random(rows) < 1 / (1 + np.exp(-2 * x))), pa.int32()),
            "regression": lambda: pa.array(2 * x + rng.normal(0, 0.5, rows), pa.float64()),
            "multiclass": lambda: pa.array(
                np.array(["a", "b", "c"])[np.digitize(x + rng.normal(0, 0.5, rows), [-0.5, 0.5])]
            ),
        }
        names = [f"e{row % (entities or rows)}" for row in range(rows)]
        return pa.table(
            {
                "trip": pa.array(names),
                "at": pa.array(
                    [START + timedelta(hours=row) for row in range(rows)],
                    pa.timestamp("us", tz="UTC"),
                ),
                "x": pa.array(x, pa.float32()),
                "label": labels[task](),
                "carrier": pa.array(rng.choice(["UA", "DL", "AA"], rows)),
            }
        )

    return make
