"""``mlops replay``: history as live traffic, with the real server, sensors and runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlops_assets.cli.variables import variables

if TYPE_CHECKING:
    from rich.console import Console

    from mlops_assets.cli.ticking import FinishedRun, Ticker
    from mlops_assets.config.project import Project
    from mlops_assets.replay.world import World
    from resources.settings import Settings
    from resources.store import Store

PICTURE = "replay.png"


@click.command("replay")
@click.argument("project", metavar="TEAM/PROJECT")
@click.option("--from", "start", required=True, metavar="DATE", help="First day of live traffic.")
@click.option("--to", "end", required=True, metavar="DATE", help="Day after the last one.")
@click.option(
    "--inject",
    "injections",
    multiple=True,
    metavar="CHANGE",
    help="shift:temp+15@2013-07-01 (the world changes) or nulls:carrier@2013-08-01..2013-08-08 "
    "(requests lose a value). May be given several times.",
)
def replay(project: str, start: str, end: str, injections: tuple[str, ...]) -> None:
    """Play a project's history through its own lifecycle, months in minutes.

    The first model is trained on what was known at --from. Then every window's requests go to a
    real Triton, labels arrive when they became final, and the project's own sensors decide.
    Everything happens in a folder of its own: the real project is not touched.
    """
    from rich.console import Console

    from mlops_assets.cli.projects import choose_projects
    from mlops_assets.replay.injection import Injection, parse_span
    from resources.settings import Settings

    settings = Settings.from_environment()
    (chosen,) = choose_projects((project,), settings.root)
    plan = Plan(
        chosen,
        *parse_span(start, end),
        tuple(Injection.parse(text, chosen) for text in injections),
    )
    run_replay(plan, settings, Console())


@dataclass(frozen=True)
class Plan:
    """What is to be replayed.

    Attributes:
        project: The real project.
        start: First moment of live traffic.
        end: Moment after the last request.
        injections: Faults and shifts.
    """

    project: Project
    start: datetime
    end: datetime
    injections: tuple[Any, ...] = ()


@dataclass
class Story:
    """What happened in a replay.

    Attributes:
        folder: Where everything of it is kept.
        requests: Number of predictions.
        runs: Runs that the sensors started.
        events: Decisions that were more than ``wait``, with what became of them.
        picture: The timeline.
        promoted: Retrains that went live.
    """

    folder: Path
    requests: int = 0
    runs: list[FinishedRun] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    picture: Path | None = None
    promoted: int = 0

    @property
    def bad_data(self) -> int:
        """Windows whose data were bad, so that people were told and nothing was retrained."""
        return sum(event["cause"] == "bad_data" for event in self.events)


def run_replay(plan: Plan, settings: Settings, console: Console) -> Story:
    """Prepare the world, train the first model, live through history, and tell the story."""
    from mlops_assets.cli.history import ensure_history
    from mlops_assets.cli.lifecycle import open_instance, run_lifecycle
    from mlops_assets.cli.ticking import Ticker
    from mlops_assets.replay.world import make_world
    from resources.settings import Settings
    from resources.store import open_store
    from resources.triton.server import ensure_triton

    folder = _new_folder(settings, plan)
    ensure_history(plan.project, settings, console)
    world = make_world(
        plan.project, open_store(settings.store_uri), folder / "root", plan.injections
    )
    for name, source in plan.project.spec.sources.items():
        if source.time_column is None:
            note = f"  source {name} has no time_column: all of it is known from the start"
            console.print(note, highlight=False)
    # Triton's ONNX Runtime backend is part of a project root.
    backends = Path("triton_repo", "backends")
    shutil.copytree(settings.root / backends, world.root / backends)
    story = Story(folder)
    with _own_environment(settings, folder) as before:
        server = ensure_triton(before, say=lambda text: console.print(f"  {text}"))
        own = Settings.from_environment(root=world.root)
        try:
            world.reveal(None, plan.start)
            first = run_lifecycle(world.project, own, console=console)
            _require(first.success, "the first model could not be trained", plan)
            with open_instance(own) as instance:
                ticker = Ticker(world.project, own, instance)
                _live(world, plan, ticker, story, console)
        finally:
            server.stop()
        store = open_store(own.store_uri)
        _tell(world, store, story, console)
    return story


def _live(world: World, plan: Plan, ticker: Ticker, story: Story, console: Console) -> None:
    """Window by window: requests, labels, sources, sensors."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from mlops_assets.replay.steps import steps
    from mlops_assets.replay.traffic import deliver_labels, send
    from resources.store import open_store

    settings = ticker.settings
    store = open_store(settings.store_uri)
    windows = list(steps(plan.start, plan.end, world.project.spec.monitoring.window.every))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("replay", total=len(windows))
        for step in windows:
            progress.update(task, description=f"{step.start:%Y-%m-%d}")
            for start, end in ((step.start, step.early), (step.early, step.end)):
                story.requests += send(world, start, end, store, settings)
                deliver_labels(world, start, end)
                world.reveal(start, end)
                if end == step.early:
                    runs = ticker.settle()
                    story.runs += runs
            for line in _news(world, store, story, runs):
                progress.console.print(f"  {line}", highlight=False)
            progress.advance(task)


def _news(world: World, store: Store, story: Story, runs: Sequence[FinishedRun]) -> Iterator[str]:
    """One line for each decision that was more than waiting, and for each retrain's outcome."""
    from mlops_assets.monitoring.records import Records

    known = {event["decision"] for event in story.events}
    outcomes = Records(store, world.project.id, "outcomes")
    told = False
    for name in Records(store, world.project.id, "decisions").names():
        if name in known:
            continue
        record = Records(store, world.project.id, "decisions").read(name)
        story.events.append(record)
        if record["verdict"] in ("wait", "insufficient_data"):
            continue
        day = record["window"]["start"][:10]
        yield f"{day}  {record['verdict']}: {record['reason']}"
        if name in outcomes.names():
            outcome = outcomes.read(name)
            told = True
            yield f"            {outcome['outcome']}: {outcome['reason']}"
    for run in runs:
        if not run.success and not told:
            yield f"            the run for {run.cause} failed ({run.run_id[:8]})"


def _tell(world: World, store: Store, story: Story, console: Console) -> None:
    from rich.table import Table

    from mlops_assets.monitoring.records import Records
    from mlops_assets.monitoring.timeline import draw_timeline, load_timeline

    project = world.project
    timeline = load_timeline(project, store)
    story.picture = story.folder / PICTURE
    story.picture.write_bytes(draw_timeline(timeline, str(project.id)))
    outcomes = Records(store, project.id, "outcomes")
    known = set(outcomes.names())
    table = Table("window", "verdict", "cause", "outcome", "why")
    for event in story.events:
        if event["verdict"] in ("retrain", "blocked"):
            name = event["decision"]
            outcome = outcomes.read(name)["outcome"] if name in known else "–"
            story.promoted += outcome == "promoted"
            table.add_row(
                event["window"]["start"][:10],
                event["verdict"],
                event["cause"],
                outcome,
                event["reason"],
            )
    console.print(table)
    verdicts = [event["verdict"] for event in story.events]
    console.print(
        f"{story.requests:,} predictions in {len(timeline.windows)} windows: "
        f"{verdicts.count('retrain')} retrains, {verdicts.count('blocked')} times people were "
        f"told, {verdicts.count('wait')} times nothing was needed",
        highlight=False,
    )
    console.print(f"picture  {story.picture}", highlight=False, soft_wrap=True)


def _new_folder(settings: Settings, plan: Plan) -> Path:
    stamp = f"{datetime.now():%Y%m%dT%H%M%S}-{os.getpid()}"
    folder = settings.home / "replay" / f"{plan.project.id.group}-{stamp}"
    folder.mkdir(parents=True)
    return folder


@contextmanager
def _own_environment(settings: Settings, folder: Path) -> Iterator[Settings]:
    """Settings of the copy, in this process's environment while the block runs."""
    from resources.settings import Settings

    is_local = "://" not in settings.store_uri
    own = {
        "MLOPS_ROOT": str(folder / "root"),
        "MLOPS_HOME": str(folder / "home"),
        "MLOPS_STORE_URI": None if is_local else f"{settings.store_uri}-replays/{folder.name}",
        "MLOPS_TRITON_REPOSITORY": str(folder / "triton_repo"),
        "MLOPS_TRITON_ENVIRONMENTS": str(settings.triton_environments),
        "MLOPS_TRITON_GRPC_URL": None,
        "MLOPS_TRITON_HTTP_URL": None,
        "MLOPS_DAGSTER_HOME": None,
    }
    with variables(own):
        yield Settings.from_environment(root=folder / "root")


def _require(condition: bool, problem: str, plan: Plan) -> None:
    from mlops_assets.errors import MlopsError

    if not condition:
        raise MlopsError(problem, where=str(plan.project.id), fix="see the messages above")
