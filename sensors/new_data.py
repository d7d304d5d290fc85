"""The sensor that notices new bytes in a source and ingests them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import dagster as dg

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError
from mlops_assets.keys import CAUSE_TAG, ProjectId
from sensors.requests import waits_for_decision

BUDGET_SECONDS = 40.0
"""Time for one tick; the sources that it did not reach come first in the next one."""


@dataclass(frozen=True)
class SourceState:
    """What one tick learned about one source.

    Attributes:
        project: Its project.
        source: Its name.
        digest: Identity of its bytes now.
        ingested: Identity of the bytes that were ingested last, if any.
        sequence: Number of the version published last, 0 if none.
    """

    project: ProjectId
    source: str
    digest: str
    ingested: str | None
    sequence: int

    @property
    def cursor_key(self) -> str:
        """Key of the source in the sensor's cursor."""
        return f"{self.project}/{self.source}"


def build_new_data_sensor(team: str, projects: Sequence[Project]) -> dg.SensorDefinition | None:
    """One sensor for all sources of a team that are read whole; None when there are none.

    Its cursor holds each source's last seen digest; a run's key contains the digest and the
    version before it, so that a killed daemon neither loses nor repeats an ingestion. A source
    that cannot be read is reported as such and does not hold the others up.
    """
    sources = [
        (project, name)
        for project in projects
        for name, spec in project.spec.sources.items()
        if spec.slices is None
    ]
    if not sources:
        return None

    @dg.sensor(
        name=f"{team}__new_data",
        target=dg.AssetSelection.assets(*(p.id.raw_key(name) for p, name in sources)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=60,
        description="Ingests a source when its content changed.",
    )
    def new_data(
        context: dg.SensorEvaluationContext, platform: PlatformResource
    ) -> dg.SensorResult:
        seen: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
        store = platform.store()
        wanted = [item for item in sources if not waits_for_decision(item[0], store)]
        states, problems = scan(wanted, seen, platform)
        for problem in problems:
            context.log.warning(problem)
        requests = build_run_requests(changed(states, seen))
        cursor = json.dumps(seen | {s.cursor_key: s.digest for s in states}, sort_keys=True)
        if requests:
            return dg.SensorResult(run_requests=requests, cursor=cursor)
        reason = f"nothing new in {len(states)} of {len(wanted)} sources"
        if len(wanted) < len(sources):
            reason += f"; {len(sources) - len(wanted)} are read when a retrain is decided"
        reason = "; ".join([reason, *problems])
        return dg.SensorResult(skip_reason=reason, cursor=cursor)

    return new_data


def scan(
    sources: Iterable[tuple[Project, str]], seen: Mapping[str, str], platform: PlatformResource
) -> tuple[list[SourceState], list[str]]:
    """Look at every source that the time budget reaches, those never seen first.

    Returns:
        The states, and one sentence for each source that could not be read.
    """
    from mlops_assets.sources.ingest import source_digest

    store = platform.store()
    end = time.monotonic() + BUDGET_SECONDS
    states: list[SourceState] = []
    problems: list[str] = []
    for project, name in sorted(sources, key=lambda item: f"{item[0].id}/{item[1]}" in seen):
        if time.monotonic() > end:
            problems.append("the time budget ended; the rest follows in the next tick")
            break
        try:
            digest = source_digest(project, name)
            latest = store.latest(project.id.raw_collection(name))
        except MlopsError as error:
            problems.append(f"{project.id} {name}: {error.problem}")
            continue
        ingested = latest.inputs_digest if latest else None
        sequence = latest.sequence if latest else 0
        states.append(SourceState(project.id, name, digest, ingested, sequence))
    return states, problems


def changed(states: Iterable[SourceState], seen: Mapping[str, str]) -> list[SourceState]:
    """The sources whose bytes were neither ingested nor asked for before."""
    return [
        state
        for state in states
        if state.digest != state.ingested and state.digest != seen.get(state.cursor_key)
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
                tags={CAUSE_TAG: "new data", "team": project.team, "project": project.name},
            )
        )
    return requests
