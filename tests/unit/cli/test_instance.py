"""The Dagster instance survives being opened by several processes at once, from the start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_assets.cli.lifecycle import open_instance
from mlops_assets.errors import EnvironmentProblemError
from resources.dagster_ui import start_dagster
from resources.settings import Settings

PROGRAM = """
from mlops_assets.cli.lifecycle import open_instance
from resources.settings import Settings
with open_instance(Settings.from_environment()) as instance:
    instance.get_runs(limit=1)
"""


def test_a_named_instance_is_used_and_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    named = tmp_path / "instance"
    named.mkdir()
    (named / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environment = {"MLOPS_ROOT": str(tmp_path), "MLOPS_DAGSTER_HOME": "instance"}
    settings = Settings.from_environment(environment)
    with open_instance(settings) as instance:
        assert instance.get_runs(limit=1) == []
        assert instance.root_directory == str(named)
    assert not (tmp_path / ".mlops" / "dagster").exists()
    with pytest.raises(EnvironmentProblemError, match="MLOPS_DAGSTER_HOME"):
        start_dagster(settings)


def test_several_processes_may_create_it_at_once(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    environment = {**os.environ, "MLOPS_ROOT": str(tmp_path), "MLOPS_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    children = [
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    errors = [child.communicate()[1] for child in children]
    assert [child.returncode for child in children] == [0] * 4, errors
    with open_instance(Settings.from_environment(environment)) as instance:
        assert instance.get_runs(limit=1) == []
