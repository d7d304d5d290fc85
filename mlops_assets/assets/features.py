"""The ``features`` asset: one checked row for each entity and time."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg

from mlops_assets.assets.conditions import downstream_condition
from mlops_assets.assets.gate import QualityGate
from mlops_assets.assets.metadata import code, column_schema, location, table
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.assets.settings import is_forced, project_asset
from mlops_assets.assets.versions import code_version
from mlops_assets.checks import build_check_specs
from mlops_assets.config.project import FEATURES, Project


def build_features_asset(project: Project) -> dg.AssetsDefinition:
    """The asset that runs the project's query over its raw data."""
    key = dg.AssetKey(project.id.features_key)
    version = code_version(project, "features")

    @project_asset(
        project,
        key.path,
        kinds={"spark", "sql", "parquet"},
        deps=[project.id.raw_key(source) for source in project.spec.sources],
        description=f"{project.spec.description}\n\nOne row for each "
        f"`{project.spec.features.entity}` and `{project.spec.features.time}`.",
        code_version=version,
        condition=downstream_condition(refresh=not project.spec.retrains_on_decision),
        checks=build_check_specs(project, FEATURES, key),
        fresh_for=project.spec.monitoring.freshness.features,
    )
    def features(context: dg.AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from mlops_assets.features.materialize import materialize_features

        gate = QualityGate(project, FEATURES, key)
        with gate.reporting() as events:
            result = materialize_features(
                project,
                store=platform.store(),
                spark_factory=partial(platform.spark, project),
                check=gate.check,
                code_version=version,
                force=is_forced(context),
            )
            if result.reused:
                gate.recheck(result.manifest, platform)
        yield from events
        gate.raise_if_failed()
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(result.manifest.data_version),
            metadata=_metadata(project, result),
        )

    return features


def _metadata(project: Project, result: Any) -> dict[str, Any]:
    manifest = result.manifest
    return {
        "dagster/row_count": manifest.rows,
        "dagster/column_schema": column_schema(
            manifest.columns, project.spec.features.pii, describe_roles(project)
        ),
        "statistics": table(result.statistics),
        "query": code(project.text(project.spec.features.query), "sql"),
        "raw_versions": dg.MetadataValue.json(result.raw_versions),
        "version": manifest.sequence,
        "unchanged": result.reused,
        **({"computed": result.scope} if result.scope else {}),
        "location": location(manifest),
        "seconds": result.seconds,
    }


def describe_roles(project: Project) -> dict[str, str]:
    """What each declared column is for the model."""
    features = project.spec.features
    roles = dict.fromkeys(project.spec.evaluation.slices, "slice")
    roles |= dict.fromkeys(features.inputs.numeric, "model input, numeric")
    roles |= dict.fromkeys(features.inputs.categorical, "model input, categorical")
    return roles | {
        features.entity: "entity",
        features.time: "time at which the features are known",
        features.label.column: f"label ({project.spec.task})",
    }
