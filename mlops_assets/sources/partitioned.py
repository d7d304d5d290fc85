"""Take a source by time: each hour, day, week or month is a slice of its own.

A partition is taken when it has ended and is there, and taken again when it changed, as a new
revision: nothing that was published is ever changed. Raw data are the newest revision of each.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.config.partitions import TimePartitions, Window, partitions_by_time
from mlops_assets.config.project import Project
from mlops_assets.errors import AlreadyExistsError, MlopsError, NoFilesError, SourceError
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.columns import columns_of
from mlops_assets.sources.incremental import DIGEST, REJECTED, SLICE, Plan, Slice
from mlops_assets.sources.opened import opened
from mlops_assets.sources.reading import reading
from mlops_assets.sources.registry import source_for
from mlops_assets.sources.revisions import Slices, Taken, slice_of
from mlops_assets.tables.contract import check_columns
from mlops_assets.tables.publish import stage_table, staged_rows, table_staging

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from resources.manifest import Column
    from resources.s3_folder import S3Folder
    from resources.store import Store

SERIES = "time"
"""All partitions of a source follow one another in one series."""
LAYOUT = 1
"""Raised when the way of storing a partition changes, so that it is taken again."""
_WORD = "%Y%m%dT%H"
_PARALLEL = 16
_MAX_LOOKS = 500
"""Partitions never taken that one look asks for; each look asks for others of them."""

Places = Mapping[str, tuple[str, str]]


def slice_of_window(window: Window) -> Slice:
    """A partition as a slice."""
    return Slice(SERIES, window.start.strftime(_WORD), window.end.strftime(_WORD))


def plan_partitions(
    project: Project,
    source: str,
    store: Store,
    now: datetime,
    places: Places | None = None,
    *,
    asked: Collection[str] = (),
) -> Plan:
    """The partitions that are there and were not taken, or changed not long ago.

    Each slice's detail holds the ``digest`` of what is there for it now.

    Cheap: a sensor asks every few minutes. Only partitions within ``look_back`` and some of those
    never taken are looked at: others each time.

    Args:
        project: The project.
        source: Which of its sources.
        store: Where the partitions lie.
        now: The present (UTC).
        places: What :meth:`Slices.newest` found, for callers that have asked.
        asked: Starts of partitions that were to be taken; they are looked at before others.

    Raises:
        SourceError: The source is away.
    """
    slices = Slices(project, source, store)
    known = slices.newest() if places is None else places
    changed = _changed(slices, known, now, limit=_MAX_LOOKS, asked=asked)
    return Plan(
        tuple(
            replace(slice_of_window(window), detail={DIGEST: digest}) for window, digest in changed
        )
    )


def holes(project: Project, source: str, names: Collection[str]) -> list[str]:
    """Keys of the partitions that are missing before the newest that was taken.

    Args:
        project: The project.
        source: Which of its sources.
        names: Names of the slices that were taken.
    """
    rule = partitions_by_time(project.spec.sources[source])
    if rule is None:
        return []
    due = rule.due(datetime.now(UTC))
    is_taken = [slice_of_window(window).name in names for window in due]
    newest = max((at for at, taken in enumerate(is_taken) if taken), default=0)
    return [due[at].key for at in range(newest) if not is_taken[at]]


def take_partitions(
    project: Project,
    source: str,
    keys: Sequence[str] | None,
    store: Store,
    spark_factory: Callable[[], SparkSession],
    *,
    force: bool = False,
) -> Iterator[Taken]:
    """Take partitions, oldest first; one that cannot be taken does not stop the others.

    Args:
        project: The project.
        source: Which of its sources.
        keys: Partitions to take, or to take again when they changed; None for all that are due
            and were not taken or changed not long ago.
        store: Where they go.
        spark_factory: Starts Spark; not called when nothing changed.
        force: Read again what did not change.

    Yields:
        What became of each partition, as soon as it is known.

    Raises:
        SourceError: Without keys: the source is away.
        ValueError: A key is none of a partition.
    """
    slices = Slices(project, source, store)
    places = slices.newest()
    if keys is None:
        windows = [window for window, _ in _changed(slices, places, datetime.now(UTC))]
    else:
        rule = _rule(project, source)
        windows = sorted((rule.window(key) for key in keys), key=lambda window: window.start)
    for window in windows:
        try:
            taken = _take(slices, window, places, spark_factory, force=force)
        except MlopsError as error:
            taken = Taken(window.key, problem=error)
        places |= {
            slice_of(manifest).name: (manifest.collection, str(manifest.name))
            for manifest in taken.manifests
        }
        yield taken


def _changed(
    slices: Slices,
    places: Places,
    now: datetime,
    *,
    limit: int | None = None,
    asked: Collection[str] = (),
) -> list[tuple[Window, str]]:
    """The partitions that are there and differ from what was taken, with digest, oldest first."""
    project, source, store = slices.project, slices.source, slices.store
    rule = _rule(project, source)
    due = rule.due(now)
    new = [window for window in due if slice_of_window(window).name not in places]
    if limit is not None and len(new) > limit:
        # Not by turns of the clock: a sensor whose ticks keep time with them would skip the same.
        first = random.Random(now.timestamp()).randrange(len(new))  # noqa: S311
        turned = new[first:] + new[:first]
        new = sorted(turned, key=lambda w: slice_of_window(w).start not in asked)[:limit]
    recent = now - rule.after - rule.look_back
    looked = sorted({*new, *(w for w in due if w.end >= recent)}, key=lambda w: w.start)

    def changed(window: Window) -> str | None:
        try:
            digest = _digest(project, source, window)
        except NoFilesError:
            return None
        known = places.get(slice_of_window(window).name)
        is_new = known is None or store.named(*known).metadata[DIGEST] != digest
        return digest if is_new else None

    with ThreadPoolExecutor(_PARALLEL) as pool:
        found = list(pool.map(changed, looked))
    return [(window, digest) for window, digest in zip(looked, found, strict=True) if digest]


def _take(
    slices: Slices,
    window: Window,
    places: Places,
    spark_factory: Callable[[], SparkSession],
    *,
    force: bool,
) -> Taken:
    project, source, store = slices.project, slices.source, slices.store
    part = slice_of_window(window)
    known = store.named(*places[part.name]) if part.name in places else None
    digest = _digest(project, source, window)
    if known is not None and known.metadata[DIGEST] == digest and not force:
        return Taken(window.key, (known,))
    collection = project.id.landing_collection(source)
    spec = project.spec.sources[source]
    with store.staging(collection) as workspace:
        context = SourceContext.of(project, source, workspace, window)
        with (
            opened(spec, context, store, collection, spark_factory) as found,
            table_staging(store, collection, found.df.sparkSession) as staged,
        ):
            with reading(context.where):
                known_columns = _contract(slices, part, places, found.df.columns)
                check_columns(found.df, spec, known_columns, context.where)
                table = stage_table(found.df, staged)
            if found.digest is not None:  # others may write on: this is what was read
                digest = _identity(spec, found.digest)
            elif _digest(project, source, window) != digest:
                raise _changed_while_read(context)
            draft = _draft(part, digest, table, staged)
            try:
                manifest = slices.publish(part, staged, draft, after=known)
            except AlreadyExistsError:  # another run took it at the same time
                return Taken(window.key, (store.named(*slices.newest()[part.name]),))
    return Taken(window.key, (manifest,), is_new=True)


def _contract(
    slices: Slices, part: Slice, places: Places, found: Collection[str]
) -> tuple[Column, ...]:
    """The columns that a partition must have: those of the one before it.

    The first must agree with the one after it in the types of the columns that it has.
    """
    earlier = [name for name in places if name < part.name]
    if earlier:
        return slices.store.named(*places[max(earlier)]).columns
    later = [name for name in places if name > part.name]
    after = slices.store.named(*places[min(later)]).columns if later else ()
    return tuple(column for column in after if column.name in found)


def _draft(part: Slice, digest: str, table: DataFrame, staged: Path | S3Folder) -> Any:
    from resources.manifest import Column, Draft

    metadata: dict[str, Any] = {SLICE: asdict(part), REJECTED: 0, DIGEST: digest}
    if isinstance(staged, Path):
        metadata |= columns_of(staged)
    return Draft(
        data_version=f"{part.name}-{digest.removeprefix('sha256:')[:32]}",
        rows=staged_rows(staged),
        columns=tuple(Column(name=f.name, type=f.dataType.simpleString()) for f in table.schema),
        metadata=metadata,
    )


def _digest(project: Project, source: str, window: Window) -> str:
    """Identity of what is there for a partition, and of how it would be stored."""
    spec = project.spec.sources[source]
    context = SourceContext.of(project, source, Path(), window)
    return _identity(spec, source_for(spec).digest(spec, context))


def _identity(spec: Any, content: str) -> str:
    parts = json.dumps([LAYOUT, content, dict(spec.columns)], sort_keys=True)
    return f"sha256:{hashlib.sha256(parts.encode()).hexdigest()}"


def _rule(project: Project, source: str) -> TimePartitions:
    rule = partitions_by_time(project.spec.sources[source])
    if rule is None:
        raise ValueError("the source is not taken by time")
    return rule


def _changed_while_read(context: SourceContext) -> SourceError:
    return SourceError(
        "the partition changed while it was read",
        where=context.where,
        expected="files that are complete when they appear (write elsewhere, then rename)",
        fix="run again; nothing of it was published",
    )
