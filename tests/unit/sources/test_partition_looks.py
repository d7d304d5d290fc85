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


def test_what_was_asked_for_is_looked_at_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a look that passes over what cannot be taken says that all was taken."""
    monkeypatch.setattr(partitioned, "_MAX_LOOKS", 3)
    project = Project(ProjectId("t", "p"), ProjectSpec.model_validate(SPEC), tmp_path, SPEC)
    (tmp_path / "days").mkdir()
    for day in range(1, 21):
        (tmp_path / "days" / f"2026-11-{day:02}.parquet").write_bytes(b"x")
    store, asked = LocalStore(tmp_path / "store"), {"20261107T00", "20261119T00"}
    for tick in range(20):
        moment = NOON + timedelta(seconds=300 * tick)
        plan = partitioned.plan_partitions(project, "days", store, moment, asked=asked)
        assert asked <= {part.start for part in plan.slices}
