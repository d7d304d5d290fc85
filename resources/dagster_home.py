"""The Dagster instance folder: made on first use, never overwritten."""

from __future__ import annotations

import uuid
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
  # At most one step at a time in a pool: `gpu` for trainings, `triton_deploy` for deployments.
  # Another limit for one of them: `dagster instance concurrency set gpu 2`.
  pools:
    default_limit: 1
    granularity: op
# Each run gets the tags that its project's `compute:` asks for. Here they all run as processes.
run_coordinator:
  module: mlops_assets.launching
  class: ProjectRunCoordinator
run_launcher:
  module: mlops_assets.launching
  class: TaggedRunLauncher
  config:
    missing: process
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
        draft = home / f".dagster.yaml.{uuid.uuid4().hex}"
        draft.write_text(INSTANCE, encoding="utf-8")
        draft.replace(config)
    return home
