"""The Dagster instance survives being opened by several processes at once, from the start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mlops_assets.cli.lifecycle import open_instance
from resources.settings import Settings

PROGRAM = """
from mlops_assets.cli.lifecycle import open_instance
from resources.settings import Settings
with open_instance(Settings.from_environment()) as instance:
    instance.get_runs(limit=1)
"""


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
