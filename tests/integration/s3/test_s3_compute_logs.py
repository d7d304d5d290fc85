"""Logs of steps in a real S3 server, configured as deploy/dagster/dagster.yaml says."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.storage.compute_log_manager import ComputeIOType

from resources.s3 import S3Place
from tests.unit.test_deploy_files import examples

pytestmark = pytest.mark.s3
RUN = """
import sys, dagster as dg

@dg.asset
def step():
    print("out of the step")
    print("trouble of the step", file=sys.stderr)

with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    assert dg.materialize([step], instance=instance).success
"""


def test_logs_are_written_and_read_back(
    s3_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = examples("compute_logs:")
    bucket = S3Place.parse(s3_uri).bucket
    monkeypatch.setenv("MLOPS_LOGS_BUCKET", bucket)
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(config | {"telemetry": {"enabled": False}}))
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    subprocess.run(
        [sys.executable, "-c", RUN, str(home)],
        env={**os.environ, "TMPDIR": str(first)},
        check=True,
        timeout=300,
    )
    monkeypatch.setattr(tempfile, "tempdir", str(second))  # another machine has no local copy
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert type(instance.compute_log_manager).__name__ == "S3ComputeLogManager"
        (run,) = instance.get_runs()
        events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED)
        (captured,) = [event.dagster_event.logs_captured_data for event in events]
        key = instance.compute_log_manager.build_log_key_for_run(run.run_id, captured.file_key)
        data = instance.compute_log_manager.get_log_data(key)
        assert b"out of the step" in (data.stdout or b"")
        assert b"trouble of the step" in (data.stderr or b"")
        path = instance.compute_log_manager.display_path_for_type(key, ComputeIOType.STDOUT)
    keys = [item.key for item in S3Place(bucket).listing(f"dagster/storage/{run.run_id}/")]
    assert f"s3://{bucket}/{keys[-1]}" == path
