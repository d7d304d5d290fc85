"""Every benchmark, one after the other, into ``docs/benchmarks.md``: ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from datetime import date
from pathlib import Path

from benchmarks.report import Report

NAMES = (
    *("definitions_load", "training_throughput", "accuracy", "serving", "lifecycle"),
    *("drift_detection", "drift_cost", "sensor_ticks", "sql_ingestion", "kafka_ingestion"),
    *("distributed_training", "s3_store", "features_scale", "incremental_features"),
    *("many_projects", "automation_and_starts"),
)
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

Written by `make bench`. Each ratio compares two things measured side by side in one run on the same
machine; absolute times depend on it and are only there to give an idea.

"""


def main() -> None:
    """Run the named benchmarks, or all of them, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"some of: {', '.join(NAMES)}")
    names = parser.parse_args().names or NAMES
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    sections = _read_sections()
    for name in names:
        print(f"running {name} …", flush=True)
        report: Report = importlib.import_module(f"benchmarks.{name}").run()
        measured = f"Measured {date.today():%Y-%m-%d}, {_machine()}."
        sections[report.title] = report.render().rstrip() + f"\n\n{measured}\n"
        PAGE.write_text(HEAD + "\n".join(sections.values()), encoding="utf-8")
    print(f"wrote {PAGE}")


def _read_sections() -> dict[str, str]:
    """The page's sections by title, so that one benchmark can be run again alone."""
    if not PAGE.exists():
        return {}
    parts = PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    return {part.splitlines()[0]: f"## {part}" for part in parts}


def _machine() -> str:
    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    model = names[0].partition(":")[2].strip() if names else platform.machine()
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{os.cpu_count()} cores of {model}, {gpu}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
