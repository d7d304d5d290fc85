"""``raw/<source>`` assets: immutable, checked copies of a project's sources."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg

from mlops_assets.assets.conditions import downstream_condition, raw_condition
from mlops_assets.assets.gate import QualityGate
from mlops_assets.assets.metadata import column_schema, location, table
from mlops_assets.assets.partitions import partitions_of
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.assets.settings import is_forced, project_asset
from mlops_assets.assets.versions import code_version
from mlops_assets.checks import build_check_specs
from mlops_assets.config.project import Project


def build_raw_asset(project: Project, source: str) -> dg.AssetsDefinition:
    """The asset that ingests one source.

    Data that fail an expectation with severity ``error`` are never published: readers go on
    with the version before.
    """
    spec = project.spec.sources[source]
    key = dg.AssetKey(project.id.raw_key(source))
    refresh = not project.spec.retrains_on_decision
    grows = spec.slices is not None

    @project_asset(
        project,
        key.path,
        deps=[project.id.landing_key(source)] if grows else [],
        description=spec.description or f"Raw data of source `{source}` ({spec.type}).",
        kinds={"spark", "parquet", spec.type},
        code_version=code_version(project, "raw", source),
        # A live model that decisions retrain gets its new slices with the retraining.
        condition=downstream_condition(
            refresh=True, partitioned=partitions_of(project, source) is not None
        )
        if grows and refresh
        else raw_condition(refresh=refresh),
        checks=build_check_specs(project, source, key),
        fresh_for=project.spec.monitoring.freshness.raw,
    )
    def raw(context: dg.AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from mlops_assets.sources.ingest import ingest

        gate = QualityGate(project, source, key)
        with gate.reporting() as events:
            result = ingest(
                project,
                source,
                store=platform.store(),
                spark_factory=partial(platform.spark, project),
                check=gate.check,
                force=is_forced(context),
            )
            if result.reused:
                gate.recheck(result.manifest, platform)
        yield from events
        gate.raise_if_failed()
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(result.manifest.data_version),
            metadata=_metadata(project, source, result),
        )

    return raw


def _metadata(project: Project, source: str, result: Any) -> dict[str, Any]:
    manifest = result.manifest
    pii = project.spec.sources[source].pii
    return {
        "dagster/row_count": manifest.rows,
        "dagster/column_schema": column_schema(manifest.columns, pii),
        "statistics": table(result.statistics),
        "version": manifest.sequence,
        "unchanged": result.reused,
        "location": location(manifest),
        "source_digest": manifest.inputs_digest,
        "seconds": result.seconds,
    }
