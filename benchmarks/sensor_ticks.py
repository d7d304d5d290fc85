"""What one tick of each sensor costs, by number of projects in the team."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.definitions_load import DEFS, write_projects
from benchmarks.report import Report

PROJECTS = (1, 10, 100)
ROUNDS = 5
MONITORED = DEFS + "  monitoring: {{inference_log: {{uri: live}}, freshness: {{model: 30d}}}}\n"
SKIPPED = ("automation",)
"""Evaluated by Dagster's own daemon."""


def run() -> Report:
    """Projects with a source and an inference log, seen for the first time."""
    rows: list[dict[str, object]] = []
    for count in PROJECTS:
        with tempfile.TemporaryDirectory() as folder:
            for name, seconds in measure(Path(folder), count).items():
                rows.append(
                    {
                        "sensor": name,
                        "projects": count,
                        "ms a tick": round(seconds * 1000, 1),
                        "ms a project": round(seconds * 1000 / count, 2),
                    }
                )
    text = (
        f"Medians of {ROUNDS} ticks in a warm process with a new source and a new log file in each "
        "project, against an instance on SQLite. Dagster ends "
        "a tick after 60 s. Sensors of stores look at each project's folder; the alerts sensor "
        "makes two queries whatever the number of projects."
    )
    return Report("Sensor ticks", text, sorted(rows, key=lambda row: str(row["sensor"])))


def measure(root: Path, count: int) -> dict[str, float]:
    """Median seconds of a tick by sensor."""
    import dagster as dg

    from mlops_assets.definitions import build_team_definitions

    write_projects(root, "load", count)
    for index in range(count):
        folder = root / "project_configs" / "load" / f"p{index}"
        (folder / "defs.yaml").write_text(MONITORED.format(number=index))
        (folder / "data").mkdir()
        (folder / "data" / "events.parquet").write_bytes(b"PAR1")
        (folder / "live").mkdir()
        (folder / "live" / "requests.parquet").write_bytes(b"PAR1")
    os.environ["MLOPS_ROOT"] = str(root)
    os.environ["MLOPS_HOME"] = str(root / ".mlops")
    repository = build_team_definitions("load", root).get_repository_def()
    found = {}
    with dg.DagsterInstance.local_temp(str(root)) as instance:
        for sensor in repository.sensor_defs:
            name = sensor.name.removeprefix("load__")
            if name in SKIPPED:
                continue
            found[name] = statistics.median(
                _tick(sensor, repository, instance) for _ in range(ROUNDS)
            )
    return found


def _tick(sensor: Any, repository: Any, instance: Any) -> float:
    import dagster as dg

    with dg.build_sensor_context(
        instance,
        sensor_name=sensor.name,
        repository_def=repository,
        resources=repository.get_top_level_resources(),
    ) as context:
        began = time.perf_counter()
        sensor.evaluate_tick(context)
        return time.perf_counter() - began
