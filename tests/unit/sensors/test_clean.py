"""The daily cleaning of a team."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.assets.platform import PlatformResource
from sensors.clean import build_clean_schedule


def test_the_schedule_cleans_its_teams_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / ".mlops"))
    monkeypatch.delenv("MLOPS_STORE_URI", raising=False)
    folders = [
        tmp_path / f".mlops/store/{team}/a/raw/x/_data/20200101T000000-0"
        for team in ("shop", "other")
    ]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "part").write_text("x")
        for path in (folder / "part", folder):
            os.utime(path, (time.time() - 8 * 86_400,) * 2)
    schedule = build_clean_schedule("shop")
    moment = datetime(2026, 1, 1, 4, tzinfo=UTC)
    tick = schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=moment))
    assert len(tick.run_requests) == 1
    definitions = dg.Definitions(
        schedules=[schedule],
        resources={"platform": PlatformResource(root=str(tmp_path))},
        executor=dg.in_process_executor,
    )
    for _ in range(2):  # the second time finds nothing
        assert definitions.resolve_job_def("shop__clean").execute_in_process().success
    assert [folder.exists() for folder in folders] == [False, True]
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert schedule.cron_schedule != build_clean_schedule("rail").cron_schedule
