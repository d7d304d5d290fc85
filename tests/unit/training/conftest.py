"""A small project and its features, with every awkward kind of column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.keys import ProjectId

MakeProject = Callable[..., Project]


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {**base, **changes}
    for key, value in base.items():
        if isinstance(value, dict) and isinstance(changes.get(key), dict):
            both[key] = merged(value, changes[key])
    return both


@pytest.fixture
def make_project(tmp_path: Path) -> MakeProject:
    """A valid project; keyword arguments are merged into what is written."""
    return project_maker(tmp_path)


def project_maker(parent: Path) -> MakeProject:
    def make(**changes: Any) -> Project:
        base: dict[str, Any] = {
            "description": "Will it be late?",
            "task": "binary",
            "sources": {"trips": {"type": "files", "uri": "trips"}},
            "features": {
                "query": "features.sql",
                "entity": "trip",
                "time": "time",
                "label": {"column": "label"},
                "inputs": {"numeric": ["distance", "wind"], "categorical": ["carrier", "dest"]},
            },
            "model": {"type": "mlp", "hidden": [16, 8]},
            "training": {"epochs": 3, "devices": "cpu"},
        }
        written = merged(base, changes)
        folder = parent / "project"
        folder.mkdir(exist_ok=True)
        return Project(
            ProjectId("team", "trips"), ProjectSpec.model_validate(written), folder, written
        )

    return make


@pytest.fixture
def table() -> pa.Table:
    """600 rows: missing numbers and categories, one rare category, a learnable label."""
    return make_table(600)


def make_table(rows: int, task: str = "binary", seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    distance = rng.lognormal(6, 1, rows).astype(np.float32)
    wind = rng.normal(10, 3, rows).astype(np.float32)
    carrier = rng.choice(["AA", "BB", "CC"], rows).astype(object)
    score = 3 * (wind - 10) / 3 + 2.0 * (carrier == "AA") - 1
    dest = rng.choice(["X", "Y"], rows).astype(object)
    dest[3] = "RARE"
    label: Any = {
        "binary": (score > 0).astype(np.int32),
        "multiclass": np.where(score > 1, "high", np.where(score > -1, "mid", "low")),
        "regression": 100 + 20 * score,
    }[task]
    times = np.datetime64("2024-01-01T00:00", "us") + np.arange(rows) * np.timedelta64(1, "h")
    return pa.table(
        {
            "trip": [f"trip-{place}" for place in range(rows)],
            "time": pa.array(times, pa.timestamp("us")),
            "distance": pa.array(distance, mask=rng.random(rows) < 0.1),
            "wind": pa.array(wind),
            "carrier": pa.array(carrier, pa.string()),
            "dest": pa.array(dest, pa.string(), mask=rng.random(rows) < 0.1),
            "label": pa.array(label),
        }
    )


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory: pytest.TempPathFactory) -> MakeProject:
    """``make_project`` for what a whole module shares."""
    return project_maker(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def shared_table() -> pa.Table:
    """``table`` for what a whole module shares."""
    return make_table(600)


@pytest.fixture
def labelled() -> Callable[..., pa.Table]:
    """Tables of any size, for any task."""
    return make_table


@pytest.fixture
def custom_project(make_project: MakeProject) -> Callable[..., Project]:
    """A project whose model is this source; keyword arguments go to ``training``."""

    def make(source: str, **training: Any) -> Project:
        project = make_project(training=training)
        written = {**project.written, "model": {"type": "custom"}}
        (project.directory / "model.py").write_text(source)
        spec = ProjectSpec.model_validate(written)
        return Project(project.id, spec, project.directory, written)

    return make
