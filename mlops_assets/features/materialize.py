"""Make the features: run the query over the newest raw data, audit, publish."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets import __version__
from mlops_assets.config.project import Project
from mlops_assets.errors import StoreError
from mlops_assets.features.columns import check_values
from mlops_assets.features.sql import build_features, query_errors
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


@dataclass(frozen=True)
class FeaturesResult:
    """What a materialization did.

    Attributes:
        manifest: The newest version.
        profile: Its profile.
        reused: Whether nothing had changed, so that nothing was computed.
        raw_versions: Data version of each source that it was made from.
        seconds: How long it took.
    """

    manifest: Manifest
    profile: TableProfile
    reused: bool
    raw_versions: dict[str, str]
    seconds: float

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

    inputs = {name: store.files(manifest) for name, manifest in raw.items()}
    with store.staging(collection) as staged:
        query = project.text(spec.features.query)
        df = build_features(spark_factory(), spec, query, inputs, where=where)
        with query_errors(spec, where):
            table = stage_table(df, staged)
        metadata = {"raw_versions": versions, "code_version": code_version}
        target = TableTarget(store, collection, digest, spec.features.pii, metadata)
        manifest, profile = publish_table(table, staged, target, check=audit)
    return FeaturesResult(manifest, profile, False, versions, seconds_since(started))


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
