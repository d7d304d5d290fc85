"""The command line: cheap to start, clean errors, no secrets."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import main as main_module
from mlops_assets.cli.main import COMMANDS, CommandEntry, cli
from mlops_assets.errors import StoreError

Run = Callable[..., Result]
DEFS = """\
type: mlops_assets.MLProject
attributes:
  description: Late?
  task: binary
  sources:
    flights: {type: files, uri: data/flights}
  features:
    query: features.sql
    entity: flight_id
    time: departure
    label: {column: is_late}
    inputs: {numeric: [distance]}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``mlops`` in an empty project root."""
    (tmp_path / "workspace.yaml").write_text("load_from:\n")
    monkeypatch.setenv("MLOPS_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli, list(arguments), prog_name="mlops")


def _write(root: Path, defs: str, name: str = "flights/delay") -> Path:
    directory = root / "project_configs" / name
    directory.mkdir(parents=True)
    (directory / "defs.yaml").write_text(defs)
    (directory / "features.sql").write_text(
        "SELECT flight_id, departure, is_late, distance FROM flights"
    )
    return directory


def test_help_names_every_command(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name, entry in COMMANDS.items():
        assert name in result.output
        assert entry.summary in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_has_help(run: Run, name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: mlops {name}")


def test_starting_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mlops_assets.cli.main import cli\n"
        "try: cli(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'dagster', 'pydantic', 'pandas', 'torch', 'pyspark', 'sqlglot', 'rich', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_command_suggests_the_nearest(run: Run) -> None:
    result = run("chekc")
    assert result.exit_code == 2
    assert "Did you mean check?" in result.output


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> str:
    """A command that fails with a secret in every part of its error."""

    @click.command()
    def fail() -> None:
        raise StoreError(
            "cannot read hunter2",
            where="s3://me:hunter2@bucket",
            found="hunter2",
            expected="not hunter2",
            fix="ask hunter2",
        )

    monkeypatch.setattr(main_module, "fail", fail, raising=False)
    monkeypatch.setitem(COMMANDS, "fail", CommandEntry("main:fail", "Fail."))
    return "fail"


def test_an_error_is_a_message_without_traceback_and_secrets(
    run: Run, failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, DEFS.replace("data/flights", '"{{ env.KEY }}"'))
    monkeypatch.setenv("KEY", "hunter2")
    result = run(failing)
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "s3://***@bucket: cannot read {{ env.KEY }}",
        "  found: {{ env.KEY }}",
        "  expected: not {{ env.KEY }}",
        "  what to do: ask {{ env.KEY }}",
    ]


def test_debug_shows_the_error_itself(run: Run, failing: str) -> None:
    result = run("--debug", failing)
    assert isinstance(result.exception, StoreError)


def test_an_unexpected_traceback_has_no_secrets(tmp_path: Path) -> None:
    _write(tmp_path, DEFS.replace("data/flights", '"{{ env.KEY }}"'))
    (tmp_path / "workspace.yaml").write_text("load_from:\n")
    code = (
        "import sys, os, mlops_assets.cli.main as m\n"
        "m.cli = lambda **_: int('the ' + os.environ['KEY'])\n"
        "m.main()"
    )
    environ = {"KEY": "hunter2", "MLOPS_ROOT": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environ
    )
    assert done.returncode == 1
    assert "ValueError" in done.stderr
    assert "{{ env.KEY }}" in done.stderr
    assert "hunter2" not in done.stderr


def test_check_passes_and_counts(run: Run, tmp_path: Path) -> None:
    assert run("new", "flights/delay").exit_code == 0
    result = run("check")
    assert (result.exit_code, result.output) == (0, "1 project in 1 team, 0 problems\n")


def test_check_prints_every_problem_and_fails(run: Run, tmp_path: Path) -> None:
    _write(tmp_path, DEFS.replace("binary", "binry").replace("uri:", "url:"))
    _write(tmp_path, "type: [\n", "shop/spend")
    result = run("check", "flights", "project_configs/shop/spend")
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "project_configs/flights/delay/defs.yaml:4: task: found 'binry', expected one of binary, "
        "multiclass, regression; did you mean binary?",
        "project_configs/flights/delay/defs.yaml:6: sources.flights.uri: found nothing, "
        "expected text",
        "project_configs/flights/delay/defs.yaml:6: sources.flights.url: found the unknown key "
        "'url', expected one of columns, delimiter, description, format, header, null_value, "
        "partitions, pii, time_column, type, uri; did you mean uri?",
        "project_configs/shop/spend/defs.yaml:2: found did not find expected node content while "
        "parsing a flow node, expected valid YAML",
        "2 projects in 2 teams, 4 problems",
    ]


def test_warnings_do_not_fail(run: Run, tmp_path: Path) -> None:
    extra = "data/flights}\n    more: {type: files, uri: x}"
    _write(tmp_path, DEFS.replace("data/flights}", extra))
    result = run("check", "flights/delay")
    assert result.exit_code == 0
    assert "defs.yaml:7: warning: sources.more: found the source more" in result.output
    assert result.output.endswith("1 project in 1 team, 0 problems, 1 warning\n")


def test_check_speaks_json(run: Run, tmp_path: Path) -> None:
    _write(tmp_path, DEFS.replace("binary", "binry"))
    result = run("check", "flights", "--format", "json")
    report = json.loads(result.output)
    assert result.exit_code == 1
    assert (report["projects"], report["teams"], report["errors"]) == (1, 1, 1)
    assert report["problems"] == [
        {
            "file": "project_configs/flights/delay/defs.yaml",
            "line": 4,
            "column": 3,
            "path": "task",
            "found": "'binry'",
            "expected": "one of binary, multiclass, regression",
            "suggestion": "binary",
            "severity": "error",
        }
    ]


def test_check_annotates_on_github(run: Run, tmp_path: Path) -> None:
    _write(tmp_path, DEFS.replace("binary", '"50%\\nbinary"'))
    lines = run("check", "flights", "--format", "github").output.splitlines()
    assert lines[0].startswith(
        "::error file=project_configs/flights/delay/defs.yaml,line=4,col=3::task: found '50%25"
    )
    assert len(lines) == 2


def test_new_writes_a_valid_project_and_its_location(run: Run, tmp_path: Path) -> None:
    result = run("new", "growth/churn", "--task", "multiclass")
    assert result.exit_code == 0
    assert result.output.splitlines()[:3] == [
        "wrote project_configs/growth/churn/defs.yaml",
        "wrote project_configs/growth/churn/features.sql",
        "wrote workspace.yaml",
    ]
    assert run("check").exit_code == 0
    again = run("new", "growth/churn")
    assert again.exit_code == 1
    assert "the project exists already" in again.output


@pytest.mark.parametrize("name", ["churn", "../x/y", "Growth/churn", "a/b/c", "a/.."])
def test_new_refuses_names_that_are_no_names(run: Run, tmp_path: Path, name: str) -> None:
    result = run("new", name)
    assert result.exit_code == 1
    assert "for example: mlops new growth/churn" in result.output
    assert not (tmp_path / "project_configs").exists()


def test_schema_prints_both_forms(run: Run) -> None:
    assert json.loads(run("schema").output)["title"] == "mlops project (defs.yaml)"
    assert run("schema", "--format", "markdown").output.startswith("# Configuration reference")
