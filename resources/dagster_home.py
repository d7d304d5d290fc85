"""The Dagster instance folder: made on first use, never overwritten."""

from __future__ import annotations

import os
from pathlib import Path

from resources.settings import Settings

INSTANCE = """\
# Written once by `mlops`; edit it as you like (see Dagster's documentation of dagster.yaml).
telemetry:
  enabled: false
nux:
  enabled: false
freshness:
  enabled: true
run_monitoring:
  enabled: true
  poll_interval_seconds: 10
  free_slots_after_run_end_seconds: 10
run_retries:
  enabled: true
  max_retries: 0
concurrency:
  runs:
    max_concurrent_runs: 2
retention:
  schedule:
    purge_after_days: 30
  sensor:
    purge_after_days:
      skipped: 2
      failure: 30
      success: 30
"""


def ensure_dagster_home(settings: Settings) -> Path:
    """The instance folder, with a ``dagster.yaml`` in it."""
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        draft = home / f".dagster.yaml.{os.getpid()}"
        draft.write_text(INSTANCE, encoding="utf-8")
        draft.replace(config)
    return home
