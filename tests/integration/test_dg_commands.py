"""Dagster's own command line beside ``mlops``: components, scaffolding and YAML checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DG = Path(sys.executable).with_name("dg")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty project root with this repository's ``pyproject.toml``."""
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (tmp_path / "workspace.yaml").write_text("load_from:\n")
    (tmp_path / "project_configs").mkdir()
    return tmp_path


def _dg(workspace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "MLOPS_ROOT": str(workspace), "COLUMNS": "200"}
    return subprocess.run(
        [DG, *arguments], cwd=workspace, env=environ, capture_output=True, text=True, check=False
    )


def test_dg_lists_the_component(workspace: Path) -> None:
    done = _dg(workspace, "list", "components", "--json")
    assert done.returncode == 0, done.stderr
    assert "mlops_assets.MLProject" in done.stdout


def test_dg_scaffolds_a_project_that_both_commands_accept(workspace: Path) -> None:
    done = _dg(
        workspace,
        *("scaffold", "defs", "mlops_assets.MLProject", "shop/spend"),
        *("--task", "regression"),
    )
    assert done.returncode == 0, done.stderr
    directory = workspace / "project_configs/shop/spend"
    assert sorted(file.name for file in directory.iterdir()) == ["defs.yaml", "features.sql"]
    assert "attribute: shop" in (workspace / "workspace.yaml").read_text()
    done = _dg(workspace, "check", "yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    file = directory / "defs.yaml"
    file.write_text(file.read_text().replace("task: regression", "task: regresion"))
    done = _dg(workspace, "check", "yaml")
    assert done.returncode == 1
    line = 1 + file.read_text().splitlines().index("  task: regresion")
    assert f"defs.yaml:{line}" in done.stdout
