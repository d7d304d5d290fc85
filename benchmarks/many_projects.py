"""Many projects in many teams, beside hand-written Dagster definitions of the same graph."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.definitions_load import write_projects
from benchmarks.report import Report

SIZES = ((10, 1), (100, 10), (1000, 50))
"""Projects, and teams that they are spread over."""
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
if kind == "hand-written":
    sys.path.insert(0, root)
    import handwritten
    found = [handwritten.defs]
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
                    continue  # evaluated by Dagster's daemon in both
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


def write_both(root: Path, projects: int, teams: int) -> list[str]:
    """The same projects as YAML for the engine and as Python for Dagster; the teams' names."""
    names = [f"team{number}" for number in range(teams)]
    text = [NAIVE_HEAD]
    for name in names:
        write_projects(root, name, projects // teams)
        text += [NAIVE.format(team=name, n=number) for number in range(projects // teams)]
        for number in range(projects // teams):
            data = root / "project_configs" / name / f"p{number}" / "data"
            data.mkdir()
            (data / "events.parquet").write_bytes(b"PAR1")
    (root / "handwritten.py").write_text("".join([*text, NAIVE_TAIL]))
    return names


def run() -> Report:
    """Each size once, engine and hand-written in turn."""
    rows: list[dict[str, object]] = []
    for projects, teams in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            names = write_both(root, projects, teams)
            for kind in ("engine", "hand-written"):
                found = measure(kind, "tick", root, names)
                team = measure(kind, "load", root, names[:1])
                step = measure(kind, "step", root, names[:1])
                rows.append(
                    {
                        "projects": projects,
                        "teams": teams,
                        "": kind,
                        "load all s": round(found["loaded"], 2),
                        "idle ticks of all s": round(found["ticks"], 2),
                        "peak of all MB": round(found["peak"]),
                        "load a code server s": round(team["loaded"], 2),
                        "its peak MB": round(team["peak"]),
                        "until a run's step s": round(step["loaded"], 2),
                    }
                )
    text = (
        "Five assets, a check and a sensor's work for each project, in fresh processes. Written by "
        "hand: one module with all projects, a sensor for each, no cursor but file times. The "
        "engine has one code server for each team, a few sensors for each team, which do more "
        "(retraining, deployments, alerts), and a run's worker that loads its own project."
    )
    return Report("Many projects and teams", text, rows)


if __name__ == "__main__":
    print(run().render())
