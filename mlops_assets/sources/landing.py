"""Take what is new of a growing source into the store, slice by slice, each exactly once.

A slice is published under its series and start, which only one writer can have. The next slice
begins where the newest one ends. So a killed or doubled ingestion neither loses nor repeats
anything, and no position is kept anywhere but in the slices themselves.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.config.partitions import partitions_by_time
from mlops_assets.config.project import Project
from mlops_assets.config.source_base import Intake
from mlops_assets.errors import AlreadyExistsError, MlopsError, StoreError
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.columns import columns_of
from mlops_assets.sources.incremental import (
    DEAD_LETTERS,
    LATEST,
    PLANNED,
    REJECTED,
    REJECTED_SO_FAR,
    SLICE,
    Gap,
    Plan,
    Slice,
)
from mlops_assets.sources.partitioned import plan_partitions
from mlops_assets.sources.registry import incremental_source_for
from mlops_assets.sources.revisions import Slices, slice_of, version_of

if TYPE_CHECKING:
    from resources.manifest import Manifest
    from resources.store import Store

_log = logging.getLogger(__name__)

MAX_ROUNDS = 50
"""Plans of one ingestion; a source that grows faster than it is taken goes on in the next one."""


@dataclass(frozen=True)
class Landing:
    """What one ingestion took.

    Attributes:
        slices: New slices.
        rows: Their rows.
        rejected: Messages of them that could not be read.
        waiting: What is left, where the source says; it grew meanwhile.
        gaps: Everything that was ever lost, oldest first.
        series: Newest position by series.
    """

    slices: tuple[Manifest, ...]
    rows: int
    rejected: int
    waiting: int | None
    gaps: tuple[Gap, ...]
    series: dict[str, str]


@dataclass(frozen=True)
class Waiting:
    """What one look at a source finds.

    Attributes:
        plan: What is there and was not taken.
        is_due: Whether it is time to take it.
        version: Identity of the slices that were taken, as :attr:`Slices.version`.
        last: When the newest slice was taken; None when that is not asked for, or none was.
    """

    plan: Plan
    is_due: bool
    version: str | None
    last: datetime | None = None


def land(project: Project, source_name: str, store: Store) -> Landing:
    """Take everything that is there now.

    Raises:
        SourceError: The source is away; slices taken before that stay.
        SchemaError: The rows do not fit the declared columns.
        StoreError: The store cannot be written.
    """
    spec = project.spec.source(source_name)
    source = incremental_source_for(spec)
    collection = project.id.landing_collection(source_name)
    published: list[Manifest] = []
    waiting: int | None = None
    taken: dict[str, Slice] = {}
    for _ in range(MAX_ROUNDS):
        with store.staging(collection) as workspace:
            context = SourceContext.of(project, source_name, workspace)
            before = newest(project, source_name, store)
            plan = source.plan(spec, _slices(before), context)
            _record(plan.gaps, project, source_name, store)
            new = _take(plan, spec, context, store, _rejected(before, store))
            taken = _slices(newest(project, source_name, store))
            try:
                source.show(spec, taken, context)
            except MlopsError as error:  # nothing depends on it, and the slices are taken
                _log.warning("%s", error)
        published += new
        waiting = None if plan.waiting is None else max(plan.waiting - _taken(new), 0)
        if not new or not waiting:
            break
    return Landing(
        slices=tuple(published),
        rows=sum(manifest.rows or 0 for manifest in published),
        rejected=sum(manifest.metadata[REJECTED] for manifest in published),
        waiting=waiting,
        gaps=tuple(gaps(project, source_name, store)),
        series={name: part.end for name, part in taken.items()},
    )


def landed(project: Project, source_name: str, store: Store) -> list[Manifest]:
    """All slices, each in its newest revision, in the order of their names.

    Raises:
        StoreError: Two slices overlap.
    """
    places = Slices(project, source_name, store).newest()
    found = store.named_all(places[name] for name in sorted(places))
    ends: dict[str, str] = {}
    for manifest in found:
        part = slice_of(manifest)
        if part.start < ends.get(part.series, ""):
            raise StoreError(
                "two slices overlap",
                where=f"{project.id} {source_name}",
                found=f"{part.name} begins before {ends[part.series]}",
                fix="keep one of them; slices are never changed by the engine. Where the length of "
                "partitions was changed, give the source another name, so that it starts anew",
            )
        ends[part.series] = part.end
    return found


def newest(
    project: Project, source_name: str, store: Store, names: Iterable[str] | None = None
) -> list[Manifest]:
    """The newest slice of each series; the others are not read.

    Args:
        project: The project.
        source_name: Which of its sources.
        store: Where the slices lie.
        names: Names of all slices, for callers that have listed them.
    """
    collection = project.id.landing_collection(source_name)
    every = store.names(collection) if names is None else sorted(names)
    last = {name.rpartition("-")[0]: name for name in every}
    return store.named_all((collection, name) for name in last.values())


def gaps(project: Project, source_name: str, store: Store) -> list[Gap]:
    """Everything that was lost before it was taken, in the order in which it was noticed."""
    keys = store.keys(project.id.gaps_prefix(source_name))
    found = [Gap(**json.loads(body)) for body in store.read_all(keys)]
    return sorted(found, key=lambda gap: gap.at or "")


def dead_letters(slices: Sequence[Manifest], store: Store, limit: int = 20) -> list[dict[str, Any]]:
    """The first messages of some slices that could not be read, with position and reason."""
    found: list[dict[str, Any]] = []
    for manifest in slices:
        if not manifest.metadata[REJECTED]:
            continue
        folder = store.path(manifest)
        with (folder / DEAD_LETTERS).open(encoding="utf-8") as lines:
            for line in lines:
                if len(found) == limit:
                    return found
                found.append(json.loads(line))
    return found


def rejected_so_far(project: Project, source_name: str, store: Store) -> int:
    """How many messages could not be read when they were first taken."""
    if partitions_by_time(project.spec.source(source_name)) is not None:
        return 0
    return sum(_rejected(newest(project, source_name, store), store).values())


def _rejected(last: Sequence[Manifest], store: Store) -> dict[str, int]:
    """Dead letters by series, by its last slice; by all, where an older engine took that."""
    found = {}
    for manifest in last:
        count = manifest.metadata.get(REJECTED_SO_FAR)
        series = slice_of(manifest).series
        if count is None:
            collection = manifest.collection
            names = (n for n in store.names(collection) if n.rpartition("-")[0] == series)
            every = store.named_all((collection, name) for name in names)
            count = sum(one.metadata[REJECTED] for one in every)
        found[series] = int(count)
    return found


def look_at(
    project: Project,
    source_name: str,
    store: Store,
    now: datetime,
    asked: Collection[str] = (),
) -> Waiting:
    """What is waiting, and whether it is time to take it: there is enough, or it waited long.

    Names of slices are listed once: a sensor asks every half minute.

    Args:
        project: The project.
        source_name: Which of its sources.
        store: Where the slices lie.
        now: The present.
        asked: Starts of partitions by time that were to be taken.

    Raises:
        SourceError: The source is away.
    """
    spec = project.spec.source(source_name)
    places = Slices(project, source_name, store).newest()
    version = version_of(places)
    if partitions_by_time(spec) is not None:
        plan = plan_partitions(project, source_name, store, now, places, asked=asked)
        return Waiting(plan, bool(plan.slices), version)
    taken = newest(project, source_name, store, places)
    context = SourceContext.of(project, source_name, Path())
    plan = incremental_source_for(spec).plan(spec, _slices(taken), context)
    last = max((manifest.created_at for manifest in taken), default=None)
    return Waiting(plan, _is_due(plan, spec.slices, last, now), version, last)


def _is_due(plan: Plan, intake: Intake | None, last: datetime | None, now: datetime) -> bool:
    if intake is None or not (plan.slices or plan.gaps):
        return False
    is_time = last is None or now - last >= intake.every
    is_much = plan.waiting is not None and plan.waiting >= intake.waiting
    return is_time or is_much or bool(plan.gaps)


def _take(
    plan: Plan, spec: Any, context: SourceContext, store: Store, rejected: dict[str, int]
) -> list[Manifest]:
    """Publish a plan's slices; a series ends where another ingestion was first.

    ``rejected`` counts each series' dead letters until then, and goes on counting.
    """
    from resources.manifest import Draft

    source = incremental_source_for(spec)
    collection = context.project.landing_collection(context.name)
    lost: set[str] = set()
    published = []
    planned = {part.series: part.end for part in plan.slices}  # the last one of each
    for part in plan.slices:
        if part.series in lost:
            continue
        with store.staging(collection) as folder:
            written = source.write(spec, part, folder, context)
            detail = {**part.detail, LATEST: written.latest}
            so_far = rejected.get(part.series, 0) + written.rejected
            metadata = {
                SLICE: asdict(replace(part, detail=detail)),
                REJECTED: written.rejected,
                REJECTED_SO_FAR: so_far,
                PLANNED: planned,
                **columns_of(folder),
            }
            draft = Draft(
                data_version=f"{part.name}-{part.end}", rows=written.rows, metadata=metadata
            )
            try:
                published.append(store.publish_as(collection, part.name, folder, draft))
                rejected[part.series] = so_far
            except AlreadyExistsError:
                lost.add(part.series)
    return published


def _slices(manifests: Iterable[Manifest]) -> dict[str, Slice]:
    """Slices by series."""
    return {part.series: part for part in map(slice_of, manifests)}


def _record(found: Sequence[Gap], project: Project, source_name: str, store: Store) -> None:
    """Remember a loss for ever: the source will not say it again."""
    now = datetime.now(UTC).isoformat()
    for gap in found:
        key = f"{project.id.gaps_prefix(source_name)}/{gap.series}-{gap.start}.json"
        try:
            store.create(key, json.dumps(asdict(replace(gap, at=now))).encode())
        except AlreadyExistsError:
            continue


def _taken(slices: Sequence[Manifest]) -> int:
    """Rows and messages of some slices."""
    return sum((manifest.rows or 0) + manifest.metadata[REJECTED] for manifest in slices)
