"""``mlops backtest``: retrain policies compared on a project's own history."""

from __future__ import annotations

import tempfile
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import click


@click.command("backtest")
@click.argument("project", metavar="TEAM/PROJECT")
@click.option("--from", "start", required=True, metavar="DATE", help="First day that is judged.")
@click.option("--to", "end", required=True, metavar="DATE", help="Day after the last one.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="POLICY",
    help='declared (as in the YAML), or changes to it such as "drift.min_share=0.5, cooldown=3d". '
    "May be given several times.",
)
@click.option(
    "--against",
    multiple=True,
    metavar="POLICY",
    help='What to compare with: "cron: 0 3 * * 1", never, or another policy.',
)
def backtest(
    project: str,
    start: str,
    end: str,
    policies: tuple[str, ...],
    against: tuple[str, ...],
) -> None:
    """Compare retrain policies on history: alarms, retrains, training time and the live metric.

    Each policy starts with the model that could be trained at --from and lives through the same
    requests and labels. Nothing is served, and the real project is not touched.
    """
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from mlops_assets.backtest.policies import parse_policy
    from mlops_assets.backtest.simulation import Simulation
    from mlops_assets.cli.history import load_history
    from mlops_assets.cli.projects import choose_projects
    from mlops_assets.replay.injection import parse_span
    from mlops_assets.replay.steps import steps
    from resources.settings import Settings

    settings = Settings.from_environment()
    console = Console()
    (chosen,) = choose_projects((project,), settings.root)
    first, last = parse_span(start, end)
    wanted = [*(policies or ("declared",)), *(against or ("never",))]
    parsed = [parse_policy(text, chosen) for text in wanted]
    features = load_history(chosen, settings, console)
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="mlops-backtest-") as folder,
        Progress(console=console, transient=True) as progress,
    ):
        for number, policy in enumerate(parsed):
            windows = list(steps(first, last, policy.monitoring.window.every))
            task = progress.add_task(policy.name, total=len(windows))
            simulation = Simulation(chosen, features, policy, Path(folder) / str(number))
            tally = simulation.run(first, last, partial(_advance, progress, task))
            rows.append(tally.to_row(chosen.spec.watched_metric))
    table = Table(*rows[0], title=f"{chosen.id}: {chosen.spec.watched_metric} of the live model")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    console.print(table)


def _advance(progress: Any, task: Any, _moment: datetime) -> None:
    progress.advance(task)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else str(value)
