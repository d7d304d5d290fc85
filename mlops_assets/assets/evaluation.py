"""The ``evaluation`` asset: the challenger against gates and champion, and the verdict."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.conditions import downstream_condition
from mlops_assets.assets.metadata import picture, table
from mlops_assets.assets.outcomes import note_outcome
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.assets.settings import project_asset
from mlops_assets.assets.upstream import require_latest
from mlops_assets.assets.versions import code_version
from mlops_assets.config.project import Project
from mlops_assets.keys import ACCEPTED_VERDICTS, PROMOTION_CHECK

if TYPE_CHECKING:
    from mlops_assets.evaluation.verdict import EvaluationResult


def build_evaluation_asset(project: Project) -> dg.AssetsDefinition:
    """The asset that judges the newest bundle on the newest rows it has not seen."""
    key = dg.AssetKey(project.id.evaluation_key)

    @project_asset(
        project,
        key.path,
        kinds={"python", "onnx"},
        deps=[project.id.features_key, project.id.model_key],
        description=f"Is the newest model good enough to go live? Decided by "
        f"`{project.spec.primary.metric}` on the newest rows.",
        code_version=code_version(project, "evaluation"),
        condition=downstream_condition(),
        checks=[
            dg.AssetCheckSpec(
                PROMOTION_CHECK,
                asset=key,
                blocking=True,
                description="Gates kept, and not inferior to the live model on the same rows.",
            )
        ],
    )
    def evaluation(
        context: dg.AssetExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.MaterializeResult[Any]]:
        from mlops_assets.evaluation.run import evaluate_latest

        store = platform.store()
        features = require_latest(store, project.id.features_collection, "features")
        model = require_latest(store, project.id.bundles_collection, "model")
        manifest, result = evaluate_latest(project, store=store, features=features, model=model)
        context.log.info(f"{result.verdict}: {result.reason}")
        if result.verdict not in ACCEPTED_VERDICTS:
            note_outcome(context, project, store, "rejected", result.reason)
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(manifest.data_version),
            metadata=_metadata(project, result),
            check_results=[_promotion(key, result)],
        )

    return evaluation


def _promotion(key: dg.AssetKey, result: "EvaluationResult") -> dg.AssetCheckResult:
    from mlops_assets.evaluation import tables

    return dg.AssetCheckResult(
        asset_key=key,
        check_name=PROMOTION_CHECK,
        passed=result.verdict in ACCEPTED_VERDICTS,
        severity=dg.AssetCheckSeverity.ERROR,
        description=result.reason,
        metadata={
            "verdict": result.verdict,
            "champion_vs_challenger": table(tables.comparison_rows(result)),
            "gates": table(tables.gate_rows(result)),
            "rows": result.rows,
        },
    )


def _metadata(project: Project, result: "EvaluationResult") -> dict[str, Any]:
    from mlops_assets.evaluation import plots, tables

    metadata: dict[str, Any] = {
        "verdict": result.verdict,
        "reason": result.reason,
        "dagster/row_count": result.rows,
        "metrics": table(tables.metric_rows(result)),
        "champion_vs_challenger": table(tables.comparison_rows(result)),
        "gates": table(tables.gate_rows(result)),
        "slices": table(tables.slice_rows(result)),
        f"metric/{project.spec.primary.metric}": result.metrics[project.spec.primary.metric],
    }
    for name, png in plots.evaluation_pictures(result).items():
        metadata[name] = picture(png, name)
    return {name: value for name, value in metadata.items() if not _is_empty(value)}


def _is_empty(value: Any) -> bool:
    return isinstance(value, dg.TableMetadataValue) and not value.records
