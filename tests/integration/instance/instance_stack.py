"""The production instance as real processes: PostgreSQL, code servers, web server and daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import requests
import yaml

from mlops_assets.config.scaffold import scaffold_project
from mlops_assets.config.workspace import render_grpc_workspace, server_ports
from mlops_assets.keys import ProjectId
from resources.processes import HOST, ProcessRecord, log_tail, start_process, stop_group
from tests.ports import spare_port
from tests.postgres_server import DATABASE, USER, PostgresServer

CHECKOUT = Path(__file__).parents[3]
TEAMS = ("alpha", "beta")
WAIT_SECONDS = 120
MLOPS = [sys.executable, "-c", "from mlops_assets.cli.main import main; main()"]

PROBE = """\
import os
import time
from pathlib import Path

import dagster as dg

PLACE = Path(os.environ["PROBE_PLACE"])


def note(word):
    with (PLACE / "log").open("a") as log:
        log.write(f"TEAM {word} {os.getpid()}\\n")


@dg.asset(key=["TEAM", "probe", "quick"])
def quick():
    pass


@dg.asset(key=["TEAM", "probe", "gpu_step"], pool="gpu")
def gpu_step():
    note("start")
    while not (PLACE / "TEAM.go").exists():
        time.sleep(0.05)
    note("end")


@dg.sensor(
    target=[quick], minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING
)
def TEAM_wishes():
    for wish in sorted((PLACE / "wishes").glob("TEAM-*")):
        yield dg.RunRequest(run_key=wish.name, tags={"wish": wish.name})
"""

LAUNCH = """
mutation($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
_Found = TypeVar("_Found")


def until(look: Callable[[], _Found], what: str, seconds: float = WAIT_SECONDS) -> _Found:
    """The first truthy answer.

    Raises:
        AssertionError: There was none in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


@dataclass
class InstanceStack:
    """The processes, and what a person would do with them."""

    root: Path
    environment: dict[str, str]
    ports: dict[str, int]
    running: dict[str, ProcessRecord] = field(default_factory=dict)
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def place(self) -> Path:
        """Where the probes leave and find their marks."""
        return Path(self.environment["PROBE_PLACE"])

    def start(self, name: str) -> None:
        """Start a team's code server, ``web`` or ``daemon``."""
        log = self.root / "logs" / f"{name}.log"
        process, record = start_process(
            self._command(name), environment=self.environment, log=log, directory=self.root
        )
        self.running[name] = record
        self.started.append(process)

    def _command(self, name: str) -> list[str]:
        workspace = ["-w", str(self.root / "grpc.yaml")]
        if name == "daemon":
            return [sys.executable, "-m", "dagster._daemon", "run", *workspace]
        if name == "web":
            place = ["-h", HOST, "-p", str(self.ports["web"])]
            return [sys.executable, "-m", "dagster_webserver", *place, *workspace]
        return [*MLOPS, "code-server", name, "--port", str(self.ports[name])]

    def kill(self, name: str) -> None:
        """``kill -9`` for a process and everything that it started, as when a container ends."""
        os.killpg(self.running.pop(name).pid, signal.SIGKILL)

    def stop(self, name: str) -> None:
        """SIGTERM for the process alone, as a container's init passes it on."""
        os.kill(self.running[name].pid, signal.SIGTERM)

    def has_ended(self, name: str) -> bool:
        """Whether a process that was stopped is gone."""
        pid = self.running[name].pid
        return any(process.pid == pid and process.poll() is not None for process in self.started)

    def log(self, name: str) -> str:
        """The end of a process's log."""
        return log_tail(self.root / "logs" / f"{name}.log", 40)

    def query(self, text: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """An answer of the web server."""
        body = {"query": text, "variables": variables or {}}
        url = f"http://{HOST}:{self.ports['web']}/graphql"
        answer = requests.post(url, json=body, timeout=60).json()
        assert "data" in answer, answer
        return dict(answer["data"])

    def locations(self) -> dict[str, str]:
        """Each team's code location and whether it loaded."""
        text = "{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError"
        text += " { __typename } } } } }"
        try:
            entries = self.query(text)["workspaceOrError"]["locationEntries"]
        except requests.RequestException:
            return {}
        return {entry["name"]: entry["locationOrLoadError"]["__typename"] for entry in entries}

    def materialize(self, *path: str, tags: Mapping[str, str] | None = None) -> str:
        """What the UI's button does; the run's id."""
        selector = {
            "repositoryLocationName": path[0],
            "repositoryName": "__repository__",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": list(path)}],
        }
        own = [{"key": name, "value": value} for name, value in (tags or {}).items()]
        params = {"selector": selector, "mode": "default", "executionMetadata": {"tags": own}}
        answer = self.query(LAUNCH, {"params": params})
        launched = answer["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def marks(self, team: str | None = None) -> list[tuple[str, str, int]]:
        """What the probes noted, in order: team, ``start`` or ``end``, process."""
        file = self.place / "log"
        lines = file.read_text().splitlines() if file.exists() else []
        found = [(t, word, int(pid)) for t, word, pid in (line.split() for line in lines)]
        return [mark for mark in found if team in (None, mark[0])]


def write_root(root: Path) -> None:
    """Two teams, each with a project and a folder of plain assets."""
    (root / "workspace.yaml").write_text("load_from: []\n")
    for team in TEAMS:
        scaffold_project(root, ProjectId(team, "churn"), "binary")
        defs = root / "project_configs" / team / "churn" / "defs.yaml"
        extra = "  automation: {enabled: false}\n"
        extra += "  compute: {max_retries: 1, timeout: 2h}\n" if team == "alpha" else ""
        defs.write_text(defs.read_text() + extra)
        probe = root / "project_configs" / team / "probe"
        probe.mkdir()
        (probe / "assets.py").write_text(PROBE.replace("TEAM", team))


def write_instance(home: Path) -> None:
    """The instance of production, with shorter waits."""
    config = yaml.safe_load((CHECKOUT / "deploy/dagster/dagster.yaml").read_text())
    config["run_monitoring"]["poll_interval_seconds"] = 2
    config["run_monitoring"]["free_slots_after_run_end_seconds"] = 2
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))


@contextmanager
def running_instance(root: Path, postgres: PostgresServer) -> Iterator[InstanceStack]:
    """All processes, until the block ends."""
    write_root(root)
    write_instance(root / "dagster")
    (root / "place" / "wishes").mkdir(parents=True)
    first = spare_port()
    ports = server_ports(TEAMS, HOST, first) | {"web": spare_port()}
    (root / "grpc.yaml").write_text(render_grpc_workspace(TEAMS, HOST, first))
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("DAGSTER_", "MLOPS_"))},
        "PYTHONPATH": str(CHECKOUT),
        "PYTHONUNBUFFERED": "1",
        "MLOPS_ROOT": str(root),
        "PROBE_PLACE": str(root / "place"),
        "DAGSTER_HOME": str(root / "dagster"),
        **postgres_environment(postgres),
        "DAGSTER_STORAGE_DIR": str(root / "storage"),
    }
    stack = InstanceStack(root, environment, ports)
    try:
        for team in TEAMS:
            stack.start(team)
        stack.start("web")
        stack.start("daemon")
        good = dict.fromkeys(TEAMS, "RepositoryLocation")
        until(lambda: stack.locations() == good, f"both teams: {stack.log('alpha')}")
        yield stack
    finally:
        for record in stack.running.values():
            stop_group(record, grace_seconds=3)
        for process in stack.started:
            process.wait()


def postgres_environment(server: PostgresServer) -> dict[str, str]:
    """What ``deploy/dagster/dagster.yaml`` reads."""
    return {
        "DAGSTER_PG_HOST": HOST,
        "DAGSTER_PG_PORT": str(server.port),
        "DAGSTER_PG_DB": DATABASE,
        "DAGSTER_PG_USER": USER,
        "DAGSTER_PG_PASSWORD": server.password,
    }


def is_success(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run succeeded.

    Raises:
        AssertionError: It failed or was canceled.
    """
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status not in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED), run
    return run.is_success
