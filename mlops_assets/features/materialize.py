"""Make the features: run the query over the newest raw data, audit, publish."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets import __version__
from mlops_assets.config.project import Project
from mlops_assets.errors import StoreError
from mlops_assets.features.columns import check_values
from mlops_assets.features.increment import INPUTS, Increment, plan_increment
from mlops_assets.features.row_wise import row_wise
from mlops_assets.features.sql import build_features, query_errors
from mlops_assets.tables.executors import read_version, uses_executors
from mlops_assets.tables.profile import TableProfile
from mlops_assets.tables.publish import (
    Check,
    Part,
    TableTarget,
    extend_table,
    publish_table,
    reusable,
    seconds_since,
    stage_table,
    stored_profile,
    table_staging,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from resources.manifest import Manifest
    from resources.store import Store


@dataclass(frozen=True)
class FeaturesResult:
    """What a materialization did.

    Attributes:
        manifest: The newest version.
        profile: Its profile.
        reused: Whether nothing had changed, so that nothing was computed.
        raw_versions: Data version of each source that it was made from.
        seconds: How long it took.
        scope: For people: which rows were computed, and why not fewer.
    """

    manifest: Manifest
    profile: TableProfile
    reused: bool
    raw_versions: dict[str, str]
    seconds: float
    scope: str = ""

    @property
    def statistics(self) -> list[dict[str, Any]]:
        """The profile's statistics, one dictionary for each column."""
        return [asdict(item) for item in self.profile.statistics]


def features_digest(project: Project, raw_versions: Mapping[str, str]) -> str:
    """Identity of features: raw content, query, declared columns, task and engine."""
    spec = project.spec
    parts = [
        __version__,
        sorted(raw_versions.items()),
        project.text(spec.features.query),
        spec.features.model_dump(mode="json"),
        spec.task,
        list(spec.evaluation.slices),
    ]
    return f"sha256:{hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()}"


def materialize_features(
    project: Project,
    *,
    store: Store,
    spark_factory: Callable[[], SparkSession],
    check: Check,
    code_version: str,
    force: bool = False,
) -> FeaturesResult:
    """Make the query's answer over the newest raw data the newest feature version.

    Args:
        project: The project.
        store: Where the raw data are and the features go.
        spark_factory: Starts Spark; not called when nothing changed.
        check: Judges the staged features; raises QualityError to refuse their publication.
        code_version: What a person wrote that decides the result; kept in the manifest.
        force: Compute even if nothing changed.

    Raises:
        StoreError: A source has no version yet, or the store cannot be read or written.
        ConfigError: The query is wrong.
        SchemaError: Its columns do not fit the declared ones.
        EmptyDataError: It returns no rows.
        QualityError: The check refused the features.
    """
    started = time.perf_counter()
    collection = project.id.features_collection
    raw = {name: _newest_raw(project, name, store) for name in project.spec.sources}
    versions = {name: manifest.data_version for name, manifest in raw.items()}
    digest = features_digest(project, versions)
    known = None if force else reusable(store, collection, digest)
    if known is not None:
        return FeaturesResult(known, stored_profile(known), True, versions, seconds_since(started))
    spec = project.spec
    where = f"{project.id} {spec.features.query}"

    def audit(staged_table: DataFrame, found: TableProfile) -> Mapping[str, Any] | None:
        check_values(staged_table, found, spec, where)
        return check(staged_table, found)

    metadata = {"raw_versions": versions, "code_version": code_version}
    target = TableTarget(store, collection, digest, spec.features.pii, metadata)
    spark = spark_factory()
    if uses_executors(spark, store):
        manifest, profile = _compute_by_executors(project, raw, target, spark, audit)
        scope = "all rows: the cluster reads the store itself"
        seconds = seconds_since(started)
        return FeaturesResult(manifest, profile, False, versions, seconds, scope)
    files = {name: store.files(manifest) for name, manifest in raw.items()}
    base = features_digest(project, {})
    increment = plan_increment(project, store, raw, base, anew=force)
    with store.staging(collection) as staged:
        table, increment, scope = _compute(project, files, increment, spark, staged)
        if increment is None:
            manifest, profile = publish_table(table, staged, target, check=audit)
        else:
            part = _part(project, increment, staged)
            manifest, profile = extend_table(table, part, target, check=audit)
    seconds = seconds_since(started)
    return FeaturesResult(manifest, profile, False, versions, seconds, scope)


def _compute_by_executors(
    project: Project,
    raw: Mapping[str, Manifest],
    target: TableTarget,
    spark: SparkSession,
    check: Check,
) -> tuple[Manifest, TableProfile]:
    """The query's answer over everything; no file comes to this machine."""
    spec = project.spec
    where = f"{project.id} {spec.features.query}"
    inputs = {name: read_version(spark, target.store, version) for name, version in raw.items()}
    df = build_features(spark, spec, project.text(spec.features.query), inputs, where=where)
    with table_staging(target.store, target.collection, spark) as staged:
        with query_errors(spec, where):
            table = stage_table(df, staged)
        return publish_table(table, staged, target, check=check)


def _compute(
    project: Project,
    files: Mapping[str, Sequence[Path]],
    increment: Increment | None,
    spark: SparkSession,
    staged: Path,
) -> tuple[DataFrame, Increment | None, str]:
    """Write the query's answer over the new slices, or over everything where it must be.

    Returns:
        All rows, the increment if there is one, and which rows were computed.
    """
    spec = project.spec
    where = f"{project.id} {spec.features.query}"
    query = project.text(spec.features.query)
    scope = "all rows"
    if increment is not None and not increment.slices:
        table = spark.read.parquet(*map(str, increment.kept_files))
        return table, increment, "no rows: slices were taken away"
    if increment is not None:
        inputs = {**files, increment.source: increment.files}
        df = build_features(spark, spec, query, inputs, where=where)
        found = row_wise(df, query, inputs)
        if increment.source in found.sources:
            with query_errors(spec, where):
                stage_table(df, staged)
            paths = [*increment.kept_files, *sorted(staged.glob("*.parquet"))]
            table = spark.read.parquet(*map(str, paths))
            of = f"{len(increment.slices):,} of {increment.total:,} slices of {increment.source}"
            return table, increment, of
        scope += f": {found.obstacle or f'{increment.source} is read more than once'}"
    df = build_features(spark, spec, query, files, where=where)
    with query_errors(spec, where):
        return stage_table(df, staged), None, scope


def _part(project: Project, increment: Increment, staged: Path) -> Part:
    """The staged rows as the newest part."""
    import pyarrow.parquet as pq

    from resources.manifest import Draft

    rows = sum(pq.read_metadata(path).num_rows for path in staged.glob("*.parquet"))
    draft = Draft(
        data_version=increment.inputs_digest,
        rows=rows,
        metadata={"base": increment.base, INPUTS: list(increment.slices)},
    )
    return Part(staged, project.id.feature_parts_collection, draft, increment.kept)


def _newest_raw(project: Project, source: str, store: Store) -> Manifest:
    manifest = store.latest(project.id.raw_collection(source))
    if manifest is None:
        raise StoreError(
            "the source was not ingested yet",
            where=f"{project.id} {source}",
            expected="at least one raw version",
            fix=f"materialize raw/{source} first, or run the whole lifecycle with `mlops run`",
        )
    return manifest
