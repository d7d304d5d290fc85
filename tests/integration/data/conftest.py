"""Real Spark, a real store, and projects made from a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.keys import ProjectId
from resources.local_store import LocalStore
from resources.spark import spark_session

QUERY = "SELECT id, at, x, colour, label FROM shop"


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The process's one session; it is left running for the next test module."""
    return spark_session(home=tmp_path_factory.mktemp("home"))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Project]:
    """Build a project whose source ``shop`` is the folder ``shop`` beside its YAML."""

    def make(
        query: str = QUERY,
        *,
        task: str = "binary",
        features: dict[str, Any] | None = None,
        evaluation: dict[str, Any] | None = None,
        **source: Any,
    ) -> Project:
        directory = tmp_path / "project_configs" / "team" / "shop"
        (directory / "shop").mkdir(parents=True, exist_ok=True)
        written = {
            "description": "test",
            "task": task,
            "sources": {"shop": {"type": "files", "uri": "shop", **source}},
            "features": {
                "query": "features.sql",
                "entity": "id",
                "time": "at",
                "label": {"column": "label"},
                "inputs": {"numeric": ["x"], "categorical": ["colour"]},
                **(features or {}),
            },
            **({"evaluation": evaluation} if evaluation else {}),
        }
        spec = ProjectSpec.model_validate(written)
        return Project(ProjectId("team", "shop"), spec, directory, written, {"features.sql": query})

    return make
