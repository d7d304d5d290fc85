"""What many projects cost the daemon and each run: automation ticks, and submit to first step."""

from __future__ import annotations

import asyncio
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.many_projects import CHECKOUT, KINDS, NAIVE_TAIL, write_all
from benchmarks.report import Report
from resources.processes import HOST, free_port, start_process, stop_group

if TYPE_CHECKING:
    import dagster as dg

SIZES = ((10, 1), (100, 10), (1000, 50))
"""Projects, and teams that they are spread over."""
ROUNDS = 3
WAIT_SECONDS = 240
INSTANCE = """\
telemetry: {enabled: false}
run_coordinator:  # no queue: the daemon's polling is the same for everybody
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator
"""
TICK = """
import json, os, sys, time
kind, root, teams = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
os.chdir(root)
import dagster as dg
from dagster._serdes import serialize_value
if kind == "engine":
    from pathlib import Path
    from mlops_assets.definitions import build_team_definitions
    found = [build_team_definitions(team, Path(root)) for team in teams]
else:
    import importlib
    sys.path.insert(0, root)
    modules = ["everything"] if kind == "hand-written" else [f"only_{team}" for team in teams]
    found = [importlib.import_module(name).defs for name in modules]

def tick(definitions, sensor, instance, cursor):
    start = time.process_time()
    selection = sensor.asset_selection if sensor else None
    result = dg.evaluate_automation_conditions(
        definitions, instance, asset_selection=selection, cursor=cursor
    )
    return result.cursor, time.process_time() - start

seconds, sizes, sensors = 0.0, [], 0
with dg.DagsterInstance.local_temp(root) as instance:
    for definitions in found:
        definitions.resolve_asset_graph()
        own = [
            sensor for sensor in definitions.sensors or ()
            if isinstance(sensor, dg.AutomationConditionSensorDefinition)
        ] or [None]  # None: the one that Dagster makes by itself
        for sensor in own:
            cursor, _ = tick(definitions, sensor, instance, None)
            cursor, spent = tick(definitions, sensor, instance, cursor)
            seconds += spent
            sizes.append(len(serialize_value(cursor)))
            sensors += 1
print(json.dumps({"seconds": seconds, "kilobytes": sum(sizes) / 1000, "sensors": sensors}))
"""


def idle_tick(kind: str, root: Path, teams: list[str]) -> dict[str, float]:
    """CPU seconds of Dagster's evaluation of all conditions, when nothing is to be done."""
    done = subprocess.run(
        [sys.executable, "-c", TICK, kind, str(root), ",".join(teams)],
        check=True,
        capture_output=True,
        text=True,
        env=_environment(root),
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def code_server(kind: str, root: Path, team: str) -> Iterator[int]:
    """A real code server; its port."""
    port = free_port(4700)
    if kind == "engine":
        main = "from mlops_assets.cli.main import main; main()"
        command = [sys.executable, "-c", main, "code-server", team, "--port", str(port)]
    else:
        module = "everything" if kind == "hand-written" else f"only_{team}"
        command = [sys.executable, "-m", "dagster", "api", "grpc", "--module-name", module]
        command += ["--host", HOST, "--port", str(port), "--location-name", team]
    log = root / f"{kind}.log"
    process, record = start_process(
        command, environment=_environment(root), log=log, directory=root
    )
    try:
        _wait_for(port)
        yield port
    finally:
        stop_group(record, grace_seconds=3)
        process.wait()


def first_step(instance: dg.DagsterInstance, port: int, team: str) -> float:
    """Seconds from what the daemon does for a request, until the run's worker starts a step."""
    import dagster as dg
    from dagster._core.execution.submit_asset_runs import submit_asset_run
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import GrpcServerTarget
    from dagster._utils import SingleInstigatorDebugCrashFlags

    target = GrpcServerTarget(host=HOST, port=port, socket=None, location_name=team)
    wanted = dg.RunRequest(asset_selection=[dg.AssetKey([team, "p0", "raw", "events"])])
    with WorkspaceProcessContext(instance, target) as process:
        workspace = process.create_request_context()
        _ = workspace.asset_graph  # the daemon has it already
        flags: SingleInstigatorDebugCrashFlags = {}
        logger = logging.getLogger("benchmark")
        began = time.time()
        run = asyncio.run(
            submit_asset_run(None, wanted, 0, instance, process, workspace, {}, flags, logger)
        )
        started = _step_start(instance, run.run_id)
    return started - began


def _step_start(instance: dg.DagsterInstance, run_id: str) -> float:
    """When the first step began; returns once the run is over, so that none disturbs the next."""
    import dagster as dg

    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        run = instance.get_run_by_id(run_id)
        if run is not None and run.is_finished:
            steps = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START)
            return steps[0].timestamp
        time.sleep(0.2)
    raise TimeoutError(f"run {run_id} is not over after {WAIT_SECONDS} s")


def _wait_for(port: int) -> None:
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient

    client, end = DagsterGrpcClient(port=port, host=HOST), time.monotonic() + WAIT_SECONDS
    while True:
        try:
            client.ping("")
            return
        except DagsterUserCodeUnreachableError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _environment(root: Path) -> dict[str, str]:
    own = {"MLOPS_ROOT": str(root), "MLOPS_HOME": str(root / ".mlops")}
    own |= {"PYTHONPATH": f"{CHECKOUT}:{root}", "HOME": str(root), "PATH": "/usr/bin:/bin"}
    return own | {"DAGSTER_HOME": str(root / "home")}


def measure_starts(root: Path, team: str, kinds: Sequence[str]) -> dict[str, float]:
    """Median seconds of each kind, the kinds in turn, after a first run that is not counted."""
    import dagster as dg

    (root / "home").mkdir()
    (root / "home" / "dagster.yaml").write_text(INSTANCE)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(root / "home")))
        ports = {kind: stack.enter_context(code_server(kind, root, team)) for kind in kinds}
        for _ in range(ROUNDS + 1):
            for kind, port in ports.items():
                seconds[kind].append(first_step(instance, port, team))
    return {kind: statistics.median(found[1:]) for kind, found in seconds.items()}


def run() -> Report:
    """Each size: ticks of one team and of all, and starts of runs."""
    rows = [row for projects, teams in SIZES for row in _rows(projects, teams)]
    text = (
        "The daemon's evaluation of all automation conditions by Dagster itself, in seconds of one "
        "core, when nothing is to be done; and the seconds from a request, handled as the daemon "
        "does, until a run's worker starts its first step: a real instance (SQLite), code server "
        f"and worker for each kind, in-process executors, medians of {ROUNDS} runs in turns. "
        "Written by hand, four of five assets have the condition `eager()`; the engine's also look "
        "at checks, versions and decisions. One module with all projects evaluates what modules by "
        "team do together, and is not measured for that."
    )
    return Report("Many projects: automation and starts of runs", text, rows)


def _rows(projects: int, teams: int) -> list[dict[str, object]]:
    kinds = KINDS if teams > 1 else KINDS[:2]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = write_all(root, projects, teams)
        _in_process(root)
        starts = measure_starts(root, names[0], kinds)
        one = {kind: idle_tick(kind, root, names[:1]) for kind in KINDS[:2]}
        every = {kind: idle_tick(kind, root, names) for kind in KINDS[:2]} if teams > 1 else one
    return [
        {
            "projects": projects,
            "teams": teams,
            "": kind,
            "idle tick of a team s": round(one[kind]["seconds"], 2) if kind in one else "–",
            "of all teams s": round(every[kind]["seconds"], 1) if kind in every else "–",
            "automation sensors": round(every[kind]["sensors"]) if kind in every else "–",
            "their cursors kB": round(every[kind]["kilobytes"]) if kind in every else "–",
            "request to first step s": round(starts[kind], 2),
        }
        for kind in kinds
    ]


def _in_process(root: Path) -> None:
    """Steps in the run's worker, as the engine has them; Dagster's default is a process each."""
    ours = NAIVE_TAIL.replace("sensors=SENSORS", "sensors=SENSORS, executor=dg.in_process_executor")
    for file in (root / "everything.py", *root.glob("only_*.py")):
        file.write_text(file.read_text().replace(NAIVE_TAIL, ours))


if __name__ == "__main__":
    print(run().render())
