"""``mlops status``: what is live, how old everything is, what failed last."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from mlops_assets.cli.growing import GrowingStatus, read_growing
from mlops_assets.config.project import Project
from mlops_assets.keys import (
    DATA_QUALITY_CHECK,
    DEAD_LETTERS_CHECK,
    DEPLOYMENT_CHECK,
    DRIFT_CHECK,
    GAPS_CHECK,
    INTAKE_CHECK,
    LABELS_CHECK,
    NEEDS_PEOPLE_CHECK,
    PERFORMANCE_CHECK,
    PROMOTION_CHECK,
)

if TYPE_CHECKING:
    from dagster import AssetCheckKey, DagsterInstance

    from resources.settings import Settings
    from resources.store import Store
    from sensors.looks import Look


@dataclass(frozen=True)
class ProjectStatus:
    """What is known of one project.

    Attributes:
        project: ``team/name``.
        error: Why the project is disabled; nothing else is known of it then.
        champion: Live version, if any.
        versions: Loaded versions, newest first.
        live_since: When the champion was promoted (ISO 8601).
        raw: Age in seconds of each source's newest version.
        features: Age in seconds of the newest features.
        model: Age in seconds of the newest bundle.
        verdict: Verdict of the newest evaluation.
        decision: Newest retrain decision and why, where traffic is logged.
        failed_checks: ``asset: check`` of every check whose newest result is a failure.
        serving: ``ready``, ``not ready`` or ``unreachable``; None when nothing is live.
        growing: Every source that is taken in slices.
    """

    project: str
    error: str | None = None
    champion: int | None = None
    versions: tuple[int, ...] = ()
    live_since: str | None = None
    raw: dict[str, float | None] = field(default_factory=dict)
    features: float | None = None
    model: float | None = None
    verdict: str | None = None
    decision: str | None = None
    failed_checks: tuple[str, ...] = ()
    serving: str | None = None
    growing: tuple[GrowingStatus, ...] = ()


@click.command("status")
@click.argument("projects", nargs=-1, metavar="[TEAM/PROJECT…]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(projects: tuple[str, ...], as_json: bool) -> None:
    """Show champion, versions, ages and last checks of every project, or of the named ones.

    A project with errors is shown as disabled, and the exit code is 1.
    """
    from mlops_assets.cli.lifecycle import open_instance
    from mlops_assets.cli.projects import load_each
    from mlops_assets.config.loader import discover
    from resources.settings import Settings
    from resources.store import open_store
    from sensors.looks import looks_of

    settings = Settings.from_environment()
    names = projects or tuple(str(project) for project in discover(settings.root))
    chosen = load_each(names, settings.root)
    store = open_store(settings.store_uri)
    with open_instance(settings) as instance:
        looks = looks_of(instance)
        found = [
            read_status(project, store, settings, instance, looks)
            if isinstance(project, Project)
            else ProjectStatus(str(name), error=project.problem)
            for name, project in chosen
        ]
    if as_json:
        click.echo(json.dumps([asdict(item) for item in found], indent=2))
    else:
        _show(found)
    if any(item.error for item in found):
        sys.exit(1)


def read_status(
    project: Project,
    store: Store,
    settings: Settings,
    instance: DagsterInstance,
    looks: Mapping[str, Look],
) -> ProjectStatus:
    """What store, ledger, model server, sensors and Dagster know of a project now."""
    from mlops_assets.serving.reconcile import serving_state
    from resources.ledger import Ledger

    state = Ledger(store, project.id.ledger_prefix).state(project.spec.deployment.keep_versions)
    evaluation = store.latest(project.id.evaluations_collection)
    return ProjectStatus(
        project=str(project.id),
        champion=state.champion_version,
        versions=state.serving,
        live_since=state.champion.at.isoformat() if state.champion else None,
        raw={s: _age(store, project.id.raw_collection(s)) for s in project.spec.sources},
        features=_age(store, project.id.features_collection),
        model=_age(store, project.id.bundles_collection),
        verdict=evaluation.metadata["verdict"] if evaluation else None,
        decision=newest_decision(project, store),
        failed_checks=tuple(failed_checks(project, instance)),
        serving=serving_state(project, settings, state) if state.champion else None,
        growing=tuple(read_growing(project, store, looks)),
    )


def failed_checks(project: Project, instance: DagsterInstance) -> list[str]:
    """``asset: check`` of every check whose newest evaluation is a failure."""
    import dagster as dg

    failed = []
    keys = check_keys(project)
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    for key in keys:
        record = latest.get(key)
        if record is None or record.event is None:
            continue
        event = record.event.dagster_event
        if event is None or event.event_type != dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        if not event.asset_check_evaluation_data.passed:
            stage = "/".join(key.asset_key.path[2:])
            failed.append(f"{stage}: {key.name}")
    return failed


def check_keys(project: Project) -> list[AssetCheckKey]:
    """Every check of a project: those of its data, its model and its live traffic."""
    import dagster as dg

    from mlops_assets.checks import build_check_specs
    from mlops_assets.config.project import FEATURES

    targets = {name: project.id.raw_key(name) for name in project.spec.sources}
    targets[FEATURES] = project.id.features_key
    keys = [
        spec.key
        for target, path in targets.items()
        for spec in build_check_specs(project, target, dg.AssetKey(path))
    ]
    others = [
        (project.id.evaluation_key, PROMOTION_CHECK),
        (project.id.deployment_key, DEPLOYMENT_CHECK),
    ]
    for name in project.spec.growing:
        checks = (GAPS_CHECK, DEAD_LETTERS_CHECK, INTAKE_CHECK)
        others += [(project.id.landing_key(name), check) for check in checks]
    if project.spec.is_monitored:
        watched = (DATA_QUALITY_CHECK, DRIFT_CHECK, PERFORMANCE_CHECK, LABELS_CHECK)
        others += [(project.id.monitoring_key, name) for name in watched]
        others.append((project.id.retrain_decision_key, NEEDS_PEOPLE_CHECK))
    return [*keys, *(dg.AssetCheckKey(dg.AssetKey(path), name) for path, name in others)]


def newest_decision(project: Project, store: Store) -> str | None:
    """``verdict: reason`` of the newest window."""
    from mlops_assets.monitoring.records import Records
    from mlops_assets.policy.run import DECISIONS

    found = Records(store, project.id, DECISIONS).last(1)
    return f"{found[0]['verdict']}: {found[0]['reason']}" if found else None


def _age(store: Store, collection: str) -> float | None:
    manifest = store.latest(collection)
    if manifest is None:
        return None
    return (datetime.now(UTC) - manifest.created_at).total_seconds()


def _show(found: list[ProjectStatus]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("project", "live", "loaded", "serving", "model", "features", "raw", "verdict")
    for item in found:
        oldest = max((age for age in item.raw.values() if age is not None), default=None)
        table.add_row(
            item.project,
            _live(item),
            ", ".join(str(version) for version in item.versions) or "–",
            item.serving or "–",
            _age_text(item.model),
            _age_text(item.features),
            _age_text(oldest),
            item.verdict or "–",
        )
    console = Console()
    console.print(table)
    for item in found:
        if item.error:
            advice = f"{item.error} (see `mlops check {item.project}`)"
            console.print(f"[red]disabled[/] {item.project}  {escape(advice)}", highlight=False)
        for source in item.growing:
            console.print(f"landing {item.project}  {source.sentence}", highlight=False)
        if item.decision:
            console.print(f"retrain? {item.project}  {item.decision}", highlight=False)
        for check in item.failed_checks:
            console.print(f"[red]failed check[/] {item.project}  {check}", highlight=False)


def _live(item: ProjectStatus) -> str:
    if item.error:
        return "disabled"
    return f"version {item.champion}" if item.champion else "nothing"


def _age_text(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
