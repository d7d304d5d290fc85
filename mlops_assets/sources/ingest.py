"""Bring a source into the store: read, check, profile, audit, publish."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.config.partitions import partitions_by_time
from mlops_assets.config.project import Project
from mlops_assets.errors import EmptyDataError, SourceError, first_few
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.columns import representatives
from mlops_assets.sources.executor_files import merged
from mlops_assets.sources.executor_objects import footers
from mlops_assets.sources.landing import landed
from mlops_assets.sources.opened import opened
from mlops_assets.sources.partitioned import holes
from mlops_assets.sources.reading import reading
from mlops_assets.sources.registry import source_for
from mlops_assets.sources.revisions import slice_of
from mlops_assets.tables.contract import check_columns
from mlops_assets.tables.executors import (
    read_remote,
    remote_files,
    uses_executors,
)
from mlops_assets.tables.profile import TableProfile
from mlops_assets.tables.publish import (
    Check,
    TableTarget,
    combine_tables,
    publish_table,
    reusable,
    seconds_since,
    stage_table,
    stored_profile,
    table_staging,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from mlops_assets.tables.executor_tasks import RemoteFile
    from resources.manifest import Column, Manifest
    from resources.store import Store

LAYOUT = 1
"""Raised when the way of storing raw data changes, so that they are ingested again."""


@dataclass(frozen=True)
class IngestResult:
    """What an ingestion did.

    Attributes:
        manifest: The newest version.
        profile: Its profile.
        reused: Whether the source was unchanged, so that nothing was read.
        added_columns: Columns that the version before did not have.
        seconds: How long it took.
    """

    manifest: Manifest
    profile: TableProfile
    reused: bool
    added_columns: tuple[str, ...]
    seconds: float

    @property
    def statistics(self) -> list[dict[str, Any]]:
        """The profile's statistics, one dictionary for each column."""
        return [asdict(item) for item in self.profile.statistics]


def source_digest(project: Project, source_name: str) -> str:
    """Identity of a source's bytes now and of everything that decides how they are stored.

    Equal to the ``inputs_digest`` of the newest version as long as there is nothing to ingest.

    Raises:
        SourceError: The source is away.
    """
    spec = project.spec.sources[source_name]
    with tempfile.TemporaryDirectory(prefix="mlops-digest-") as workspace:
        context = SourceContext.of(project, source_name, Path(workspace))
        return _digest(spec, source_for(spec).digest(spec, context))


def _digest(spec: Any, content: Any) -> str:
    parts = [LAYOUT, content, dict(spec.columns), sorted(spec.pii), spec.time_column]
    return f"sha256:{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()}"


def ingest(
    project: Project,
    source_name: str,
    *,
    store: Store,
    spark_factory: Callable[[], SparkSession],
    check: Check,
    force: bool = False,
) -> IngestResult:
    """Make the source's present content the newest raw version.

    An unchanged source is not read, and Spark is not started for it.

    Args:
        project: The project.
        source_name: Which of its sources.
        store: Where the data go.
        spark_factory: Starts Spark.
        check: Judges the staged data; raises QualityError to refuse their publication.
        force: Read the source even if it is unchanged.

    Raises:
        SourceError: The source is away, corrupt, or changed while it was read.
        SchemaError: Its columns are not those of the contract.
        EmptyDataError: It has no rows.
        QualityError: The check refused the data.
        StoreError: The store cannot be written.
    """
    if project.spec.sources[source_name].slices is not None:
        return _combine(project, source_name, store, spark_factory, check, force=force)
    started = time.perf_counter()
    collection = project.id.raw_collection(source_name)
    digest = source_digest(project, source_name)
    known = None if force else reusable(store, collection, digest)
    if known is not None:
        return IngestResult(known, stored_profile(known), True, (), seconds_since(started))
    spec = project.spec.sources[source_name]
    with store.staging(collection) as workspace:
        context = SourceContext.of(project, source_name, workspace)
        with (
            opened(spec, context, store, collection, spark_factory) as source,
            table_staging(store, collection, source.df.sparkSession) as staged,
        ):
            with reading(context.where):
                known_columns = _columns(store.latest(collection))
                added = check_columns(source.df, spec, known_columns, context.where)
                table = stage_table(source.df, staged)
            if source.digest is not None:  # others may write on: this is what was read
                digest = _digest(spec, source.digest)
            elif source_digest(project, source_name) != digest:
                raise _changed(context)
            target = TableTarget(store, collection, digest, spec.pii, {"added_columns": added})
            manifest, profile = publish_table(table, staged, target, check=check)
    return IngestResult(manifest, profile, False, tuple(added), seconds_since(started))


def _combine(
    project: Project,
    source_name: str,
    store: Store,
    spark_factory: Callable[[], SparkSession],
    check: Check,
    *,
    force: bool,
) -> IngestResult:
    """Make all slices of a growing source, without copying them, the newest raw version."""
    started = time.perf_counter()
    spec = project.spec.sources[source_name]
    collection = project.id.raw_collection(source_name)
    found = landed(project, source_name, store)
    _refuse_holes(project, source_name, found)
    slices = [manifest for manifest in found if manifest.rows]
    digest = _digest(spec, [manifest.data_version for manifest in slices])
    known = None if force else reusable(store, collection, digest)
    if known is not None:
        return IngestResult(known, stored_profile(known), True, (), seconds_since(started))
    where = f"{project.id} {source_name}"
    if not slices:
        raise EmptyDataError(
            "there are no rows yet",
            where=where,
            expected="at least one row in a slice",
            fix=f"materialize landing/{source_name}, and look at the source",
        )
    spark = spark_factory()
    paths: Sequence[Path] | Sequence[RemoteFile]
    entries = [e for m in slices for e in m.entries if _is_table(e.path)]
    with reading(where), table_staging(store, collection, spark) as staged:
        if uses_executors(spark, store):
            lent = [(m, [f for f in remote_files(store, m) if _is_table(f.key)]) for m in slices]
            paths = remote = [file for _, files in lent for file in files]
            schemas = footers(representatives(lent), where)
            has_grown = any(not schema.equals(schemas[0]) for schema in schemas)
            df = read_remote(spark, remote, merged(schemas))
        else:
            here = [(m, [p for p in store.files(m) if _is_table(p.name)]) for m in slices]
            paths = local = [path for _, files in here for path in files]
            has_grown = _has_grown(representatives(here))
            reader = spark.read.option("mergeSchema", str(has_grown).lower())
            df = reader.parquet(*map(str, local))
        added = check_columns(df, spec, _columns(store.latest(collection)), where)
        metadata = {"added_columns": added, "slices": len(slices)}
        target = TableTarget(store, collection, digest, spec.pii, metadata)
        if has_grown:  # one version's files have the same columns
            table = stage_table(df, staged)
            manifest, profile = publish_table(table, staged, target, check=check)
        else:
            manifest, profile = combine_tables(df, paths, entries, target, check=check)
    return IngestResult(manifest, profile, False, tuple(added), seconds_since(started))


def _refuse_holes(project: Project, source_name: str, slices: Sequence[Manifest]) -> None:
    """Data with a missing hour or day are not published, unless the YAML says so."""
    rule = partitions_by_time(project.spec.sources[source_name])
    if rule is None or rule.missing == "warn":
        return
    missing = holes(project, source_name, {slice_of(manifest).name for manifest in slices})
    if missing:
        raise SourceError(
            "partitions are missing",
            where=f"{project.id} {source_name}",
            found=f"{len(missing):,} not taken, though later ones were: {first_few(missing)}",
            expected=f"every {rule.every} from {rule.first:%Y-%m-%d} on; the version before stays",
            fix=f"back-fill them in landing/{source_name}; where there are none, move `start`, or "
            "write `missing: warn`",
        )


def _is_table(path: str) -> bool:
    return path.endswith(".parquet")


def _has_grown(paths: Sequence[Path]) -> bool:
    """Whether files differ in their columns."""
    import pyarrow.parquet as pq

    if len(paths) == 1:
        return False
    first = pq.read_schema(paths[0])
    return any(not pq.read_schema(path).equals(first) for path in paths[1:])


def _columns(manifest: Manifest | None) -> tuple[Column, ...]:
    return manifest.columns if manifest else ()


def _changed(context: SourceContext) -> SourceError:
    return SourceError(
        "the source changed while it was read",
        where=context.where,
        expected="files that are complete when they appear (write elsewhere, then rename)",
        fix="run again; nothing was published",
    )
