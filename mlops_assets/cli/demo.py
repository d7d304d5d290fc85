"""``mlops demo``: both example projects, from raw data to answers of a served model."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from mlops_assets.cli.lifecycle import RunOutcome
    from mlops_assets.config.project import Project
    from resources.settings import Settings

EXAMPLES = ("flights/arrival_delay", "grocery/household_spend")
REPLAY = ("2013-03-07", "2013-04-11", "nulls:carrier@2013-03-28..2013-04-04")
"""Weeks of the first example that are replayed, and what goes wrong in one of them."""


@click.command("demo")
@click.option("--exit", "exit_after", is_flag=True, help="End after a verified prediction.")
@click.option("--port", default=3000, show_default=True, help="Port of the Dagster UI.")
@click.option("--s3", "on_s3", is_flag=True, help="Keep every byte on an S3 server started for it.")
def demo(exit_after: bool, port: int, on_s3: bool) -> None:
    """Run the example projects on real data with real Spark, PyTorch, ONNX and Triton.

    Then replay some weeks of one of them, in which it retrains by itself and bad data are noticed;
    show where to look, and stay up until Ctrl-C.
    """
    from rich.console import Console

    from mlops_assets.cli.s3_world import s3_world
    from resources.settings import Settings

    settings = Settings.from_environment()
    console = Console()
    world = s3_world(settings, console) if on_s3 else nullcontext(settings)
    with world as own:
        success = _demonstrate(own, console, port, exit_after=exit_after)
    if exit_after and not success:
        sys.exit(1)


def _demonstrate(settings: Settings, console: Console, port: int, *, exit_after: bool) -> bool:
    """Everything, until it is done or interrupted; whether all of it succeeded."""
    from mlops_assets.cli.projects import choose_projects
    from mlops_assets.cli.stack import Stack, running_stack

    projects = choose_projects(EXAMPLES, settings.root)
    started = time.monotonic()
    success = False
    with running_stack(Stack(settings, console, port)) as stack:
        stack.reconcile(projects)
        outcomes = [_run(project, stack.settings, console) for project in projects]
        verified = [
            _verify(project, stack.settings, console)
            for project, outcome in zip(projects, outcomes, strict=True)
            if outcome.success
        ]
        success = len(verified) == len(projects) and all(verified)
        success = success and _replay(projects[0], stack.settings, console)
        _summarize(console, projects, outcomes, time.monotonic() - started)
        # Not earlier: the daemon's sensors would work on the same projects at the same time.
        stack.start_dagster()
        end = "Both servers end now." if exit_after else "Ctrl-C stops everything."
        _where_to_look(console, projects[0], stack.settings, stack.wait_for_ui(), end)
        if not exit_after:
            stack.watch(projects)
    return success


def _run(project: Project, settings: Settings, console: Console) -> RunOutcome:
    from rich.markup import escape

    from mlops_assets.cli.lifecycle import run_lifecycle

    outcome = run_lifecycle(project, settings, console=console)
    for step, text in outcome.failures.items():
        console.print(f"[red]{project.id} {step} failed[/]\n{escape(text)}", highlight=False)
    return outcome


def _verify(project: Project, settings: Settings, console: Console) -> bool:
    """Ask the live model over HTTP, as any client would, and compare with ONNX Runtime."""
    from mlops_assets.serving.verify import verify_live
    from resources.store import open_store

    check = verify_live(project, store=open_store(settings.store_uri), settings=settings)
    mark = "[green]✓[/]" if check.agrees else "[red]✗[/]"
    console.print(
        f"  {mark} {project.id}  [bold]prediction[/]  Triton {check.served:.6g}, "
        f"ONNX Runtime {check.expected:.6g}",
        highlight=False,
    )
    return check.agrees


def _replay(project: Project, settings: Settings, console: Console) -> bool:
    """Some weeks of history as live traffic; whether it retrained and noticed the bad data."""
    from mlops_assets.cli.replay import Plan, run_replay
    from mlops_assets.replay.injection import Injection, parse_moment

    start, end, fault = REPLAY
    console.print(
        f"\n[bold]{project.id} from {start} to {end} as live traffic[/], "
        f"one week without `carrier`: what happens by itself",
        highlight=False,
    )
    injected = Injection.parse(fault, project)
    plan = Plan(project, parse_moment(start, "demo"), parse_moment(end, "demo"), (injected,))
    story = run_replay(plan, settings, console)
    return story.promoted > 0 and story.bad_data > 0


def _summarize(
    console: Console, projects: list[Project], outcomes: list[RunOutcome], seconds: float
) -> None:
    from rich.table import Table

    table = Table("project", "test rows", "metric", "verdict", "live version", "trained on")
    for project, outcome in zip(projects, outcomes, strict=True):
        evaluation: dict[str, Any] = outcome.metadata.get("evaluation", {})
        model: dict[str, Any] = outcome.metadata.get("model", {})
        metric = project.spec.primary.metric
        value = evaluation.get(f"metric/{metric}")
        table.add_row(
            str(project.id),
            f"{evaluation.get('dagster/row_count', 0):,}",
            f"{metric} {value:.4g}" if value is not None else "–",
            str(evaluation.get("verdict", "failed")),
            str(outcome.metadata.get("deployment", {}).get("live_version", "–")),
            str(model.get("device", "–")),
        )
    console.print(table)
    console.print(f"{seconds:.0f} s in all", highlight=False)


def _where_to_look(
    console: Console, project: Project, settings: Settings, url: str, end: str
) -> None:
    from mlops_assets.serving.predict import example_row, live_bundle, render_request
    from mlops_assets.serving.target import Target
    from resources.store import open_store

    bundle, _ = live_bundle(project, open_store(settings.store_uri))
    predict_url = Target.of(project, settings).predict_url(project)
    curl = render_request(bundle, example_row(bundle), predict_url)
    console.print("\nAsk the model about a real flight:\n")
    console.print(curl, highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"\nWhy is it live? {url}/assets/{project.id}/deployment   "
        f"Triton: {settings.triton_http_url}   {end}",
        highlight=False,
        soft_wrap=True,
    )
