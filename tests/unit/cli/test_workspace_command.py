"""``mlops workspace`` and ``mlops code-server``: the code locations of production."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from mlops_assets.cli.main import cli
from mlops_assets.config.scaffold import scaffold_project
from mlops_assets.keys import ProjectId


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    for team in ("growth", "ads"):
        scaffold_project(tmp_path, ProjectId(team, "churn"), "binary")
    monkeypatch.setenv("MLOPS_ROOT", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def servers(text: str) -> dict[str, tuple[str, int]]:
    found = [entry["grpc_server"] for entry in yaml.safe_load(text)["load_from"]]
    return {item["location_name"]: (item["host"], item["port"]) for item in found}


@pytest.mark.usefixtures("root")
def test_each_team_is_a_host_of_its_own() -> None:
    assert servers(run("workspace").output) == {"ads": ("ads", 4000), "growth": ("growth", 4000)}
    assert run("workspace", "--commands").output.splitlines() == [
        "mlops code-server ads --host 0.0.0.0 --port 4000",
        "mlops code-server growth --host 0.0.0.0 --port 4000",
    ]


@pytest.mark.usefixtures("root")
def test_on_one_host_each_has_a_port_of_its_own() -> None:
    here = ("--host", "127.0.0.1", "--port", "5000")
    output = run("workspace", *here).output
    assert servers(output) == {"ads": ("127.0.0.1", 5000), "growth": ("127.0.0.1", 5001)}
    assert run("workspace", *here, "--commands").output.splitlines() == [
        "mlops code-server ads --host 127.0.0.1 --port 5000",
        "mlops code-server growth --host 127.0.0.1 --port 5001",
    ]


@pytest.mark.usefixtures("root")
def test_dagster_reads_the_workspace(tmp_path: Path) -> None:
    file = tmp_path / "grpc.yaml"
    file.write_text(run("workspace", "--host", "127.0.0.1").output)
    code = (
        "from dagster._core.workspace.load import location_origins_from_yaml_paths as load\n"
        f"print([(o.location_name, o.port) for o in load([{str(file)!r}])])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[('ads', 4000), ('growth', 4001)]"


def test_a_server_has_a_new_identity_each_time_and_is_the_process_itself(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, command: commands.append(command))
    monkeypatch.chdir(root)
    for _ in range(2):
        assert run("code-server", "ads", "--port", "4001", "--image", "reg/run:1").exit_code == 0
    first, second = commands
    assert first[1:5] == ["-m", "dagster", "api", "grpc"]
    given = dict(zip(first[6::2], first[7::2], strict=True))
    assert given["--attribute"] == "ads"
    assert given["--container-image"] == "reg/run:1"
    assert given["--fixed-server-id"] not in second


@pytest.mark.usefixtures("root")
def test_an_unknown_team_is_refused_by_name() -> None:
    result = run("code-server", "grwth")
    assert result.exit_code == 1
    assert "did you mean growth?" in result.output
    assert "ads or growth" in result.output


def test_without_projects_there_is_nothing_to_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    monkeypatch.setenv("MLOPS_ROOT", str(tmp_path))
    result = run("workspace")
    assert result.exit_code == 1
    assert "there is no project" in result.output
