"""The sensor that notices new bytes in a source and ingests them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.storage.tags import SENSOR_NAME_TAG

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError
from mlops_assets.keys import CAUSE_TAG, ProjectId
from sensors.pace import pace
from sensors.repeats import repeats
from sensors.requests import waits_for_decision
from sensors.rounds import RESUME, Round

if TYPE_CHECKING:
    from resources.store import Store


@dataclass(frozen=True)
class SourceState:
    """What one tick learned about one source.

    Attributes:
        project: Its project.
        source: Its name.
        digest: Identity of its bytes now.
        ingested: Identity of the bytes that were ingested last, if any; not asked for while the
            bytes are those of the tick before.
        sequence: Number of the version published last, 0 if none or not asked for.
        is_snapshot: Whether the source may be written to while it is ingested, so that what is
            ingested need not be what a tick saw.
    """

    project: ProjectId
    source: str
    digest: str
    ingested: str | None
    sequence: int
    is_snapshot: bool = False

    @property
    def cursor_key(self) -> str:
        """Key of the source in the sensor's cursor."""
        return f"{self.project}/{self.source}"

    @property
    def asked(self) -> str:
        """What the cursor remembers: of a snapshot also the version that it was asked for after.

        Otherwise rows that change and change back would be missed, where an ingestion in between
        took what no tick saw.
        """
        return f"{self.digest} after {self.sequence}" if self.is_snapshot else self.digest


def build_new_data_sensor(team: str, projects: Sequence[Project]) -> dg.SensorDefinition | None:
    """One sensor for all sources of a team that are read whole; None when there are none.

    Its cursor holds each source's last seen digest; a run's key contains the digest and the
    version before it, so that a killed daemon neither loses nor repeats an ingestion. A source
    that cannot be read is reported as such and does not hold the others up. An ingestion that
    failed for a reason that may pass is asked for again. A table that is always written to is
    ingested again when the run before has ended.
    """
    reading = [project for project in projects if whole_sources(project)]
    if not reading:
        return None
    keys = [p.id.raw_key(name) for p in reading for name in whole_sources(p)]

    @dg.sensor(
        name=f"{team}__new_data",
        target=dg.AssetSelection.assets(*keys),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=pace(60),
        description="Ingests a source when its content changed.",
    )
    def new_data(
        context: dg.SensorEvaluationContext, platform: PlatformResource
    ) -> dg.SensorResult:
        seen: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
        turn = Round(reading, lambda project: str(project.id), seen.pop(RESUME, None))
        states, waiting, problems = scan(turn, seen, platform.store())
        problems += turn.notes
        for problem in problems:
            context.log.warning(problem)
        wanted = changed(states, seen)
        later = [s for s in wanted if s.is_snapshot and _is_ingesting(context.instance, team, s)]
        requests = build_run_requests(state for state in wanted if state not in later)
        requests += repeats(context.instance, f"{team}__new_data", datetime.now(UTC), requests)
        seen |= {state.cursor_key: state.asked for state in states if state not in later}
        cursor = json.dumps(seen | {RESUME: turn.resume}, sort_keys=True)
        if requests:
            return dg.SensorResult(run_requests=requests, cursor=cursor)
        reason = f"nothing new in {len(states)} of {len(keys) - waiting} sources"
        if waiting:
            reason += f"; {waiting} are read when a retrain is decided"
        if later:
            reason += f"; {len(later)} changed again while they are ingested"
        reason = "; ".join([reason, *problems])
        return dg.SensorResult(skip_reason=reason, cursor=cursor)

    return new_data


def whole_sources(project: Project) -> list[str]:
    """The sources that are read whole."""
    return [name for name, spec in project.spec.sources.items() if spec.slices is None]


def scan(
    projects: Iterable[Project], seen: Mapping[str, str], store: Store
) -> tuple[list[SourceState], int, list[str]]:
    """Look at the bytes of every source, and at nothing else where they are as they were seen.

    Returns:
        The states, how many sources are left until a retrain is decided, and one sentence for each
        project or source that could not be read.
    """
    states: list[SourceState] = []
    waiting = 0
    problems: list[str] = []
    for project in projects:
        names = whole_sources(project)
        try:
            if waits_for_decision(project, store):
                waiting += len(names)
                continue
        except MlopsError as error:
            problems.append(f"{project.id}: {error.problem}")
            continue
        for name in names:
            try:
                states.append(_state(project, name, seen, store))
            except MlopsError as error:
                problems.append(f"{project.id} {name}: {error.problem}")
    return states, waiting, problems


def _is_ingesting(instance: dg.DagsterInstance, team: str, state: SourceState) -> bool:
    """Whether a run that this sensor asked for still ingests the project's sources."""
    tags = {SENSOR_NAME_TAG: f"{team}__new_data", "project": state.project.name}
    records = instance.get_run_records(dg.RunsFilter(tags=tags), limit=1)
    return bool(records) and not records[0].dagster_run.is_finished


def _state(project: Project, name: str, seen: Mapping[str, str], store: Store) -> SourceState:
    from mlops_assets.sources.base import SnapshotSource
    from mlops_assets.sources.ingest import source_digest
    from mlops_assets.sources.registry import source_for

    digest = source_digest(project, name)
    is_snapshot = isinstance(source_for(project.spec.sources[name]), SnapshotSource)
    is_as_before = not is_snapshot and digest == seen.get(f"{project.id}/{name}")
    latest = None if is_as_before else store.latest(project.id.raw_collection(name))
    ingested = latest.inputs_digest if latest else None
    sequence = latest.sequence if latest else 0
    return SourceState(project.id, name, digest, ingested, sequence, is_snapshot)


def changed(states: Iterable[SourceState], seen: Mapping[str, str]) -> list[SourceState]:
    """The sources whose bytes were neither ingested nor asked for before."""
    return [
        state
        for state in states
        if state.digest != state.ingested and state.asked != seen.get(state.cursor_key)
    ]


def build_run_requests(states: Iterable[SourceState]) -> list[dg.RunRequest]:
    """One run for each project with changed sources."""
    requests = []
    ordered = sorted(states, key=lambda state: (state.project, state.source))
    for project, group in groupby(ordered, key=lambda state: state.project):
        members = list(group)
        causes = ",".join(f"{s.source}:{s.sequence}:{s.digest}" for s in members)
        requests.append(
            dg.RunRequest(
                run_key=f"new-data:{project}:{causes}",
                asset_selection=[dg.AssetKey(project.raw_key(s.source)) for s in members],
                tags={CAUSE_TAG: "new data", **project.run_tags},
            )
        )
    return requests
