"""The sensor that takes new slices of growing sources: when there is enough, or it is time."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.assets.intake import intake_evaluation
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.partitions import partitions_by_time
from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError
from mlops_assets.keys import INTAKE_CHECK, LANDING_TAG
from sensors.bounded import answer_within
from sensors.looks import Look, read_looks, write_looks
from sensors.pace import pace
from sensors.requests import request, waits_for_decision

if TYPE_CHECKING:
    from mlops_assets.sources.incremental import Plan
    from resources.store import Store

DATA_VERSION_TAG = "dagster/data_version"
PASSED, FAILED = "SUCCEEDED", "FAILED"
"""Verdicts as Dagster keeps them; a run that was killed leaves neither."""
BUDGET_SECONDS = 40.0
"""Time for one tick; the sources that it did not reach come first in the next one."""
LONGEST_SECONDS = 50.0
"""Time for one tick, also where a source does not answer: Dagster forgets it after 60 seconds."""


def build_landing_sensor(team: str, projects: Sequence[Project]) -> dg.SensorDefinition | None:
    """One sensor for all growing sources of a team; None when there are none.

    Positions come from the slices in the store. A run's key holds the positions and the interval
    in which it was asked for: a killed daemon asks for the same run again, and a run that failed
    is repeated in the next interval. Partitions that cannot be taken are asked for again after
    longer and longer times, and at once when they change.

    A source that stays away gives no run that could fail: its check ``intake`` fails instead, and
    passes when all that is there was taken. In between its runs evaluate it.
    """
    growing = [(project, name) for project in projects for name in project.spec.growing]
    if not growing:
        return None

    @dg.sensor(
        name=f"{team}__landing",
        target=dg.AssetSelection.assets(
            *(p.id.landing_key(name) for p, name in growing),
            *(p.id.raw_key(name) for p, name in growing if name in p.spec.sources),
        ),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=pace(30),
        description="Takes what is new of growing sources, when there is enough or it is time.",
    )
    def landing(context: dg.SensorEvaluationContext, platform: PlatformResource) -> dg.SensorResult:
        known = read_looks(context.cursor)
        names = [f"{project.id}/{name}" for project, name in growing]
        looks = {name: known.get(name, Look()) for name in names}
        tick = _Tick(context, platform.store(), _verdicts(context.instance, growing))
        end = tick.began + BUDGET_SECONDS
        for project, name in sorted(growing, key=lambda s: looks[f"{s[0].id}/{s[1]}"].at):
            if time.monotonic() > end:
                tick.notes.append("the time budget ended; the rest follows in the next tick")
                break
            tick.look_at(project, name, looks[f"{project.id}/{name}"])
        reason = "; ".join([f"nothing due in {len(growing)} growing sources", *tick.notes])
        return dg.SensorResult(
            run_requests=tick.requests,
            skip_reason=None if tick.requests else reason,
            asset_events=tick.events,
            cursor=write_looks(looks),
        )

    return landing


@dataclass
class _Tick:
    """What one tick finds, source after source."""

    context: dg.SensorEvaluationContext
    store: Store
    verdicts: dict[dg.AssetKey, str]
    requests: list[dg.RunRequest] = field(default_factory=list)
    events: list[dg.AssetCheckEvaluation | dg.AssetObservation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def look_at(self, project: Project, source: str, look: Look) -> None:
        """Look at one source, and note what has to be done about it."""
        now, instance = datetime.now(UTC), self.context.instance
        if _was_just_looked_at(project, source, look, now):
            return
        is_taken = is_landing(instance, project, source)
        if is_taken:
            self.notes.append(f"{project.id} {source} is being taken")
            if partitions_by_time(project.spec.source(source)) is not None:
                return
        look.at = now.timestamp()
        try:
            wanted = answer_within(
                self.began + LONGEST_SECONDS - time.monotonic(),
                f"{project.id} {source}",
                lambda: landing_request(project, source, self.store, instance, now, look=look),
            )
        except MlopsError as error:
            self._note_failure(project, source, look, error)
            return
        look.failures = 0
        key = dg.AssetKey(project.id.landing_key(source))
        self._show_lag(project, source, look)
        if is_taken:
            return
        if wanted is not None:
            self.requests.append(wanted)
        elif look.is_empty and self.verdicts.get(key, PASSED) != PASSED:
            self.events.append(intake_evaluation(project, key))
        elif not look.is_empty and look.asked:
            self.notes.append(f"{project.id} {source} could not be taken and is tried again later")

    def _show_lag(self, project: Project, source: str, look: Look) -> None:
        """Show the lag in the UI when it is another than was shown."""
        intake = project.spec.source(source).slices
        if intake is None or not look.is_to_show(intake.every):
            return
        look.shown, look.shown_at = look.waiting or 0, look.at
        metadata = {"lag": look.shown, "oldest_wait_seconds": round(look.oldest_wait)}
        key = dg.AssetKey(project.id.landing_key(source))
        self.events.append(dg.AssetObservation(key, metadata=metadata))

    def _note_failure(self, project: Project, source: str, look: Look, error: MlopsError) -> None:
        self.notes.append(f"{project.id} {source}: {error.problem}")
        self.context.log.warning(str(error))
        look.failures += 1
        key = dg.AssetKey(project.id.landing_key(source))
        if look.is_away and self.verdicts.get(key) != FAILED:
            self.events.append(intake_evaluation(project, key, error))


def _verdicts(
    instance: dg.DagsterInstance, growing: Iterable[tuple[Project, str]]
) -> dict[dg.AssetKey, str]:
    """Whether each source could be taken when that was last judged; by its landing asset."""
    assets = [dg.AssetKey(project.id.landing_key(source)) for project, source in growing]
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(key, INTAKE_CHECK) for key in assets]
    )
    return {key.asset_key: record.status.value for key, record in latest.items()}


def _was_just_looked_at(project: Project, source: str, look: Look, now: datetime) -> bool:
    """Whether a source that is taken by time was looked at less than ``look_every`` ago."""
    rule = partitions_by_time(project.spec.source(source))
    age = now.timestamp() - look.at
    return rule is not None and age < rule.look_every.total_seconds()


def is_landing(instance: dg.DagsterInstance, project: Project, source: str) -> bool:
    """Whether a run that this sensor asked for still takes the source's slices."""
    tags = {LANDING_TAG: f"{project.id}/{source}"}
    records = instance.get_run_records(dg.RunsFilter(tags=tags), limit=1)
    return bool(records) and not records[0].dagster_run.is_finished


def landing_request(
    project: Project,
    source: str,
    store: Store,
    instance: dg.DagsterInstance,
    now: datetime,
    *,
    look: Look,
) -> dg.RunRequest | None:
    """The run that takes what is waiting, if it is due.

    A run that was killed after it took slices has told nobody of them; another one does.

    Args:
        project: The project.
        source: Which of its sources.
        store: Where the slices lie.
        instance: Where runs are known.
        now: The present.
        look: What was asked for before; a request is noted in it.

    Raises:
        SourceError: The source is away.
    """
    from mlops_assets.sources.landing import look_at

    spec = project.spec.source(source)
    intake = spec.slices
    if intake is None:
        return None
    found = look_at(project, source, store, now, look.starts)
    plan = found.plan
    look.is_empty = not plan.slices
    waiting = len(plan.slices) if partitions_by_time(spec) is not None else plan.waiting
    look.saw(waiting, found.last.timestamp() if found.last else 0.0)
    if found.is_due:
        parts = _partitions(plan)
        if parts and not look.may_ask(parts, now.timestamp()):
            return None
        look.note(parts, now.timestamp())
        identity = _identity(plan)
        cause = _cause(plan, is_by_time=partitions_by_time(spec) is not None)
    elif untold := _untold(project, source, found.version, instance):
        identity, cause = untold, "slices that a killed run took"
    else:
        return None
    keys = [project.id.landing_key(source)]
    is_raw = source in project.spec.sources
    if is_raw and project.spec.retrains_on_decision and not waits_for_decision(project, store):
        keys.append(project.id.raw_key(source))  # otherwise there would never be a first model
    interval = int(now.timestamp() // max(intake.every.total_seconds(), 1.0))
    return request(
        project,
        [dg.AssetKey(key) for key in keys],
        run_key=f"landing:{project.id}/{source}:{identity}:{interval}",
        cause=cause,
        tags={LANDING_TAG: f"{project.id}/{source}"},
    )


def _untold(
    project: Project, source: str, version: str | None, instance: dg.DagsterInstance
) -> str | None:
    """Identity of the slices, when the newest materialization does not know of all of them."""
    if version is None:
        return None
    key = dg.AssetKey(project.id.landing_key(source))
    event = instance.get_latest_materialization_event(key)
    told = event.asset_materialization if event else None
    known = (told.tags or {}).get(DATA_VERSION_TAG) if told else None
    return version if known != version else None


def _cause(plan: Plan, *, is_by_time: bool) -> str:
    if is_by_time:
        return f"{len(plan.slices):,} partitions are new or changed"
    return "new rows" if plan.waiting is None else f"{plan.waiting:,} rows wait"


def _partitions(plan: Plan) -> list[str]:
    """Partitions by time and what is there for each; none for other sources."""
    from mlops_assets.sources.incremental import DIGEST

    found = ((part.start, part.detail.get(DIGEST)) for part in plan.slices)
    return [f"{start}:{digest}" for start, digest in found if digest]


def _identity(plan: Plan) -> str:
    """Where slices and losses begin: they move on when they are taken; what partitions hold."""
    starts = sorted(
        {(part.series, part.start) for part in plan.slices}
        | {(gap.series, gap.start) for gap in plan.gaps}
    )
    starts += [("", part) for part in _partitions(plan)]
    return hashlib.sha256(json.dumps(starts).encode()).hexdigest()[:16]
