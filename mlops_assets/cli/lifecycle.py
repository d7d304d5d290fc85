"""Run one project's lifecycle in this process, recorded in the Dagster instance."""

from __future__ import annotations

import fcntl
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console

from mlops_assets.config.project import Project
from mlops_assets.errors import ConfigError
from mlops_assets.keys import CAUSE_TAG

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.config.compute import ComputeSpec
    from mlops_assets.keys import ProjectId
    from resources.settings import Settings

STAGES = ("raw", "features", "model", "evaluation", "deployment")
POLL_SECONDS = 0.2


@dataclass
class RunOutcome:
    """What came of one run.

    Attributes:
        run_id: Dagster run.
        success: Whether every step succeeded.
        failures: Step name to error text.
        metadata: Stage to the metadata of its materialization.
    """

    run_id: str
    success: bool
    failures: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)


def run_lifecycle(
    project: Project,
    settings: Settings,
    *,
    console: Console,
    stages: Sequence[str] = STAGES,
    force: bool = False,
    assets: Sequence[dg.AssetKey] | None = None,
    tags: Mapping[str, str] | None = None,
) -> RunOutcome:
    """Materialize the chosen stages of one project; no other project is loaded.

    Args:
        project: What to run.
        settings: Where state is kept.
        console: Where progress is shown.
        stages: Some of :data:`STAGES`, in any order.
        force: Compute again even when nothing changed.
        assets: These, instead of the stages'.
        tags: Further run tags.
    """
    from mlops_assets.assets import build_project_definitions
    from mlops_assets.assets.settings import FORCE_TAG
    from mlops_assets.cli.progress import RunProgress
    from mlops_assets.definitions import compose
    from mlops_assets.launching.command_line import settle_dead_runs, worker_tag

    for line in compute_notes(project.id, project.spec.compute):
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    parts = [build_project_definitions(project)]
    definitions = compose(parts, [], project.id.team, settings.root)
    job = definitions.resolve_implicit_global_asset_job_def()
    run_id = str(uuid.uuid4())
    own = {**project.id.run_tags, CAUSE_TAG: "command line"}
    own |= worker_tag() | dict(tags or {}) | ({FORCE_TAG: "true"} if force else {})
    with (
        open_instance(settings) as instance,
        RunProgress(console, str(project.id)) as progress,
        _following(instance, run_id, progress),
    ):
        settle_dead_runs(instance)
        job.execute_in_process(
            run_id=run_id,
            instance=instance,
            asset_selection=select_assets(project, stages) if assets is None else assets,
            tags=own,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
    return RunOutcome(run_id, progress.succeeded, progress.failures, progress.metadata)


def compute_notes(project: ProjectId, compute: ComputeSpec) -> list[str]:
    """What to say of wishes in ``compute:`` that a run in this process cannot follow."""
    if compute.is_default:
        return []
    asked = compute.model_dump(mode="json", exclude_defaults=True)
    shown = ", ".join(f"{name}: {value}" for name, value in asked.items())
    return [
        f"{project}: `compute:` ({shown}) is not followed by this command, which works in its own "
        "process; runs of the Dagster instance, by hand or by automation, follow it"
    ]


def select_assets(project: Project, stages: Sequence[str]) -> list[dg.AssetKey]:
    """Asset keys of the chosen stages.

    Raises:
        ConfigError: A stage does not exist.
    """
    import dagster as dg

    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        raise ConfigError(
            "no such stage", found=", ".join(unknown), expected=f"some of {', '.join(STAGES)}"
        )
    single = {
        "features": project.id.features_key,
        "model": project.id.model_key,
        "evaluation": project.id.evaluation_key,
        "deployment": project.id.deployment_key,
    }
    paths = project.source_keys if "raw" in stages else []
    return [dg.AssetKey(path) for path in (*paths, *(single[s] for s in single if s in stages))]


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of the settings; the one under the home folder is made on first use.

    Two processes that create its SQLite files at once would leave them unusable, so one waits.
    """
    import dagster as dg

    from resources.dagster_home import ensure_dagster_home

    if settings.dagster_home is not None:
        with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
            yield instance
        return
    home = ensure_dagster_home(settings)
    with (home / "created.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        opened = dg.DagsterInstance.from_config(str(home))
    with opened as instance:
        yield instance


@contextmanager
def _following(instance: dg.DagsterInstance, run_id: str, progress: Any) -> Iterator[None]:
    """Hand every new event of a run to ``progress`` while the block runs, and the rest after."""
    done = threading.Event()

    def follow() -> None:
        cursor: str | None = None
        while True:
            last = done.wait(POLL_SECONDS)
            connection = instance.get_records_for_run(run_id, cursor=cursor)
            cursor = connection.cursor
            for record in connection.records:
                progress.handle(record.event_log_entry)
            if last and not connection.has_more:
                return

    thread = threading.Thread(target=follow, name="run-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
