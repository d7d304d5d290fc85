"""``mlops status`` and the commands over a span of history, before they start anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli.main import cli

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``mlops`` where one project is right and one is broken."""
    (tmp_path / "workspace.yaml").write_text("load_from:\n")
    monkeypatch.setenv("MLOPS_ROOT", str(tmp_path))
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, list(arguments), prog_name="mlops")

    for name in ("shop/churn", "shop/spend"):
        assert invoke("new", name).exit_code == 0
    broken = tmp_path / "project_configs/shop/churn/defs.yaml"
    broken.write_text(broken.read_text().replace("task: binary", "task: binry"))
    return invoke


def test_a_broken_project_hides_no_other(run: Run) -> None:
    result = run("status")
    assert result.exit_code == 1
    assert "disabled shop/churn  task: the configuration is not valid" in result.output
    assert "nothing" in next(line for line in result.output.splitlines() if "shop/spend" in line)


def test_a_broken_project_is_an_entry_for_programs(run: Run) -> None:
    result = run("status", "--json")
    assert result.exit_code == 1
    churn, spend = json.loads(result.output)
    assert (churn["project"], spend["project"]) == ("shop/churn", "shop/spend")
    assert "not valid" in churn["error"]
    assert (spend["error"], spend["raw"]) == (None, {"events": None})


def test_only_the_named_projects_count(run: Run) -> None:
    assert run("status", "shop/spend").exit_code == 0
    assert "no project 'shop/chrun'" in run("status", "shop/chrun").output


@pytest.mark.parametrize("command", ["replay", "backtest"])
def test_a_span_without_time_starts_nothing(run: Run, tmp_path: Path, command: str) -> None:
    result = run(command, "shop/spend", "--from", "2013-05-01", "--to", "2013-04-01")
    assert result.exit_code == 1
    assert "there is no time between --from and --to" in result.output
    assert not (tmp_path / "home").exists()
