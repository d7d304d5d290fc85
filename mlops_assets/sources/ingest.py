"""Bring a source into the store: read, check, profile, audit, publish."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.config.project import Project
from mlops_assets.errors import SourceError
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.reading import reading
from mlops_assets.sources.registry import source_for
from mlops_assets.tables.contract import check_contract, require_columns, require_distinct_names
from mlops_assets.tables.profile import TableProfile
from mlops_assets.tables.publish import (
    Check,
    TableTarget,
    publish_table,
    reusable,
    seconds_since,
    stage_table,
    stored_profile,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from resources.store import Manifest, Store

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
        context = _context(project, source_name, Path(workspace))
        content = source_for(spec).digest(spec, context)
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
    started = time.perf_counter()
    collection = project.id.raw_collection(source_name)
    digest = source_digest(project, source_name)
    known = None if force else reusable(store, collection, digest)
    if known is not None:
        return IngestResult(known, stored_profile(known), True, (), seconds_since(started))
    spec = project.spec.sources[source_name]
    with store.staging(collection) as workspace, store.staging(collection) as staged:
        context = _context(project, source_name, workspace)
        source_for(spec).inspect(spec, context)
        spark = spark_factory()
        with reading(context.where):
            df = source_for(spec).read(spark, spec, context)
            added = _check_columns(df, project, source_name, store.latest(collection))
            table = stage_table(df, staged)
        if source_digest(project, source_name) != digest:
            raise _changed(context)
        target = TableTarget(store, collection, digest, spec.pii, {"added_columns": added})
        manifest, profile = publish_table(table, staged, target, check=check)
    return IngestResult(manifest, profile, False, tuple(added), seconds_since(started))


def _context(project: Project, name: str, workspace: Path) -> SourceContext:
    return SourceContext(project.id, project.directory, workspace, name)


def _check_columns(
    df: DataFrame, project: Project, name: str, previous: Manifest | None
) -> list[str]:
    """Hold the columns against the declared ones, or else against the version before."""
    spec = project.spec.sources[name]
    where = f"{project.id} {name}"
    found = {field.name: field.dataType.simpleString() for field in df.schema}
    require_distinct_names(df.columns, where)
    before = {c.name: c.type for c in previous.columns} if previous else {}
    check_contract(found, spec.columns or before, where)
    require_columns(spec.pii, found, where, "column under `pii`")
    require_columns([spec.time_column] if spec.time_column else [], found, where, "time_column")
    return [column for column in found if before and column not in before]


def _changed(context: SourceContext) -> SourceError:
    return SourceError(
        "the source changed while it was read",
        where=context.where,
        expected="files that are complete when they appear (write elsewhere, then rename)",
        fix="run again; nothing was published",
    )
