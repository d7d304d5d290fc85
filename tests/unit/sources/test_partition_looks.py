"""Which partitions that were never taken a sensor looks at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.keys import ProjectId
from mlops_assets.sources import partitioned
from resources.local_store import LocalStore

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
SPEC: dict[str, Any] = {
    "description": "test",
    "task": "binary",
    "sources": {
        "days": {
            "type": "files",
            "uri": "days/%Y-%m-%d.parquet",
            "partitions": {"every": "day", "start": "2026-11-01", "look_back": "0s"},
        }
    },
    "features": {
        "query": "features.sql",
        "entity": "id",
        "time": "at",
        "label": {"column": "y"},
        "inputs": {"numeric": ["x"]},
    },
}


@pytest.mark.parametrize("pause", [300, 600, 900])
def test_every_partition_is_seen_whatever_the_pace_of_ticks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: int
) -> None:
    """Of 27 days, at most 13 are looked at a time: the first one's turn must come."""
    monkeypatch.setattr(partitioned, "_MAX_LOOKS", 13)
    project = Project(ProjectId("t", "p"), ProjectSpec.model_validate(SPEC), tmp_path, SPEC)
    (tmp_path / "days").mkdir()
    (tmp_path / "days" / "2026-11-01.parquet").write_bytes(b"x")
    store = LocalStore(tmp_path / "store")
    moments = [NOON + timedelta(seconds=pause * tick) for tick in range(40)]
    seen = [partitioned.plan_partitions(project, "days", store, moment) for moment in moments]
    assert 0 < sum(bool(plan.slices) for plan in seen) < len(seen)
