"""Many projects in many teams, beside hand-written Dagster definitions of the same graph."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.definitions_load import write_projects
from benchmarks.report import Report

SIZES = ((10, 1), (100, 10), (1000, 50))
"""Projects, and teams that they are spread over."""
KINDS = ("engine", "hand-written by team", "hand-written")
ROUNDS = 3
CHECKOUT = Path(__file__).parents[1]

NAIVE_HEAD = """\
import os
import dagster as dg
ASSETS, CHECKS, SENSORS = [], [], []
"""
NAIVE = """
@dg.asset(key=["{team}", "p{n}", "raw", "events"], group_name="{team}__p{n}", kinds={{"spark"}})
def raw_{team}_{n}(): ...
@dg.asset(key=["{team}", "p{n}", "features"], deps=[raw_{team}_{n}], group_name="{team}__p{n}",
          automation_condition=dg.AutomationCondition.eager())
def features_{team}_{n}(): ...
@dg.asset(key=["{team}", "p{n}", "model"], deps=[features_{team}_{n}], group_name="{team}__p{n}",
          automation_condition=dg.AutomationCondition.eager())
def model_{team}_{n}(): ...
@dg.asset(key=["{team}", "p{n}", "evaluation"], deps=[model_{team}_{n}], group_name="{team}__p{n}",
          automation_condition=dg.AutomationCondition.eager())
def evaluation_{team}_{n}(): ...
@dg.asset(key=["{team}", "p{n}", "deployment"], deps=[evaluation_{team}_{n}],
          group_name="{team}__p{n}", automation_condition=dg.AutomationCondition.eager())
def deployment_{team}_{n}(): ...
@dg.asset_check(asset=raw_{team}_{n})
def not_null_{team}_{n}(): return dg.AssetCheckResult(passed=True)
@dg.sensor(name="{team}_p{n}_new_data", target=[raw_{team}_{n}])
def new_data_{team}_{n}(context):
    folder = "project_configs/{team}/p{n}"
    times = sorted((e.name, e.stat().st_mtime) for e in os.scandir(folder))
    if str(times) == context.cursor:
        return dg.SkipReason("nothing new")
    return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=str(times))
ASSETS += [raw_{team}_{n}, features_{team}_{n}, model_{team}_{n}, evaluation_{team}_{n},
           deployment_{team}_{n}]
CHECKS += [not_null_{team}_{n}]
SENSORS += [new_data_{team}_{n}]
"""
NAIVE_TAIL = "\ndefs = dg.Definitions(assets=ASSETS, asset_checks=CHECKS, sensors=SENSORS)\n"

CHILD = """
import json, os, resource, sys, time
began = time.perf_counter()
kind, what, root = sys.argv[1], sys.argv[2], sys.argv[3]
teams = sys.argv[4].split(",")
os.chdir(root)
os.environ["MLOPS_ROOT"] = root
os.environ["MLOPS_HOME"] = root + "/.mlops"
if kind != "engine":
    import importlib
    sys.path.insert(0, root)
    modules = ["everything"] if kind == "hand-written" else [f"only_{team}" for team in teams]
    found = [importlib.import_module(name).defs for name in modules]
else:
    from pathlib import Path
    from mlops_assets.definitions import build_team_definitions
    only = {"p0"} if what == "step" else None
    found = [build_team_definitions(team, Path(root), only) for team in teams]
repositories = [definitions.get_repository_def() for definitions in found]
for definitions in found:
    definitions.resolve_implicit_global_asset_job_def()
loaded = time.perf_counter() - began
ticks = 0.0
if what == "tick":
    import dagster as dg
    with dg.DagsterInstance.local_temp(root) as instance:
        for repository in repositories:
            for sensor in repository.sensor_defs:
                if "automation" in sensor.name:
                    continue  # see automation_and_starts
                cursor = None
                for _ in range(2):  # the second tick is idle: it has the cursor of the first
                    with dg.build_sensor_context(
                        instance, sensor_name=sensor.name, repository_def=repository,
                        resources=repository.get_top_level_resources(), cursor=cursor,
                    ) as context:
                        start = time.perf_counter()
                        cursor = sensor.evaluate_tick(context).cursor
                        seconds = time.perf_counter() - start
                ticks += seconds
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"loaded": loaded, "ticks": ticks, "peak": peak}))
"""


def measure(kind: str, what: str, root: Path, teams: list[str]) -> dict[str, float]:
    """Seconds and megabytes of a fresh process."""
    command = [sys.executable, "-c", CHILD, kind, what, str(root), ",".join(teams)]
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin", "HOME": str(root)},
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_all(root: Path, projects: int, teams: int) -> list[str]:
    """The same projects as YAML for the engine and as Python for Dagster; the teams' names."""
    names = [f"team{number}" for number in range(teams)]
    numbers = range(projects // teams)
    everything = []
    for name in names:
        write_projects(root, name, len(numbers))
        for number in numbers:
            data = root / "project_configs" / name / f"p{number}" / "data"
            data.mkdir()
            (data / "events.parquet").write_bytes(b"PAR1")
        text = "".join(NAIVE.format(team=name, n=number) for number in numbers)
        (root / f"only_{name}.py").write_text(NAIVE_HEAD + text + NAIVE_TAIL)
        everything.append(text)
    (root / "everything.py").write_text(NAIVE_HEAD + "".join(everything) + NAIVE_TAIL)
    return names


def measure_round(kind: str, root: Path, teams: list[str]) -> dict[str, float]:
    """One kind once: all teams in one process, one code server, and one run's worker."""
    everything = measure(kind, "tick", root, teams)
    server = measure(kind, "load", root, teams[:1])
    worker = measure(kind, "step", root, teams[:1])
    return {
        "load all s": everything["loaded"],
        "idle ticks of all s": everything["ticks"],
        "peak of all MB": everything["peak"],
        "load a code server s": server["loaded"],
        "its peak MB": server["peak"],
        "load in a run's worker s": worker["loaded"],
    }


def run() -> Report:
    """Each size in rounds, the kinds in turn; medians."""
    rows: list[dict[str, object]] = []
    for projects, teams in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            names = write_all(root, projects, teams)
            rounds = [
                {kind: measure_round(kind, root, names) for kind in KINDS} for _ in range(ROUNDS)
            ]
        for kind in KINDS:
            found: dict[str, object] = {"projects": projects, "teams": teams, "": kind}
            for column in rounds[0][kind]:
                median = statistics.median(measured[kind][column] for measured in rounds)
                found[column] = round(median) if "MB" in column else round(median, 2)
            rows.append(found)
    text = (
        "Five assets, a check and a sensor's work for each project, in fresh processes; medians of "
        f"{ROUNDS} rounds in turns. Written by hand: assets without a body, a sensor for each "
        "project, no cursor but file times; one module with all projects, or one module and code "
        "server for each team. The engine has one code server for each team, a few sensors for "
        "each team, which do more (retraining, deployments, alerts), and a run's worker that loads "
        "its own project. `all` is every team in one process, as no one would run it. Ticks are of "
        "all sensors but automation, and what a worker does besides loading is not in it; "
        "`python -m benchmarks automation_and_starts` measures those."
    )
    return Report("Many projects and teams", text, rows)


if __name__ == "__main__":
    print(run().render())
