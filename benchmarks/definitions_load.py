"""How long a team's definitions take to load, by number of projects."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.report import Report

PROJECTS = (10, 100, 1000)

DEFS = """\
type: mlops_assets.MLProject
attributes:
  description: Project {number}
  owners: ["team:load"]
  task: binary
  sources:
    events: {{type: files, uri: data/events.parquet}}
  checks:
    events:
      - {{type: expect_column_values_to_not_be_null, column: id}}
  features:
    query: features.sql
    entity: id
    time: at
    label: {{column: y}}
    inputs: {{numeric: [a, b], categorical: [c]}}
"""
QUERY = "SELECT id, at, y, a, b, c FROM events\n"

CHILD = """
import json, sys, time
start = time.perf_counter()
import mlops_assets.definitions as module
from pathlib import Path
imported = time.perf_counter()
team, root = sys.argv[1], Path(sys.argv[2])
definitions = module.build_team_definitions(team, root)
count = len(definitions.resolve_asset_graph().get_all_asset_keys())
built = time.perf_counter()
module.build_folder_definitions(root / "project_configs" / team / "p0", root)
one = time.perf_counter() - built
heavy = [m for m in ("torch", "pyspark", "great_expectations", "onnxruntime") if m in sys.modules]
print(json.dumps({"import": imported - start, "build": built - imported, "assets": count,
                  "one": one, "heavy": heavy}))
"""


def write_projects(root: Path, team: str, number: int) -> None:
    """A project root with so many projects in one team."""
    (root / "workspace.yaml").write_text("load_from: []\n")
    for index in range(number):
        folder = root / "project_configs" / team / f"p{index}"
        folder.mkdir(parents=True)
        (folder / "defs.yaml").write_text(DEFS.format(number=index))
        (folder / "features.sql").write_text(QUERY)


def measure(number: int) -> dict[str, float]:
    """Seconds to import and to build, in a fresh process."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_projects(root, "load", number)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, "load", name],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[1],
        )
    return json.loads(done.stdout.splitlines()[-1])


def run() -> Report:
    """Measure every size once."""
    rows = []
    for number in PROJECTS:
        seconds = measure(number)
        rows.append(
            {
                "projects": number,
                "import s": round(seconds["import"], 2),
                "build s": round(seconds["build"], 2),
                "ms a project": round(1000 * seconds["build"] / number, 1),
                "ms for one project's run": round(1000 * seconds["one"], 1),
                "heavy modules": ", ".join(seconds["heavy"]) or "none",
            }
        )
    return Report(
        "Definitions load",
        "One code location (team) with so many projects of five assets, in a fresh process. "
        "`mlops run` loads its own project only, however many there are.",
        rows,
    )


if __name__ == "__main__":
    print(run().render())
