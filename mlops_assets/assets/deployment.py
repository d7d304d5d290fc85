"""The ``deployment`` asset: the model that passed, served and written into the ledger."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.assets.conditions import downstream_condition
from mlops_assets.assets.failures import redacted
from mlops_assets.assets.metadata import code, table
from mlops_assets.assets.outcomes import note_outcome
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.assets.settings import project_asset
from mlops_assets.assets.upstream import require_latest
from mlops_assets.assets.versions import code_version
from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError, ServerUnavailableError
from mlops_assets.keys import DEPLOY_POOL, DEPLOYMENT_CHECK

if TYPE_CHECKING:
    from mlops_assets.policy.decision import Outcome
    from mlops_assets.serving.result import DeploymentResult

RETRIES = 2
RETRY_SECONDS = 10


def build_deployment_asset(project: Project) -> dg.AssetsDefinition:
    """The asset that puts the newest accepted bundle live.

    A server that does not answer is tried again a bounded number of times; the champion goes on
    serving meanwhile.
    """

    key = dg.AssetKey(project.id.deployment_key)

    @project_asset(
        project,
        key.path,
        kinds={"triton", "onnx"},
        deps=[project.id.model_key, project.id.evaluation_key],
        description=f"`{project.id.triton_model}` on NVIDIA Triton: {project.spec.description}",
        code_version=code_version(project, "deployment"),
        condition=downstream_condition(),
        pool=DEPLOY_POOL,
        checks=[
            dg.AssetCheckSpec(
                DEPLOYMENT_CHECK, asset=key, description="The accepted model is live and answers."
            )
        ],
    )
    def deployment(context: dg.AssetExecutionContext, platform: PlatformResource) -> Iterator[Any]:
        from mlops_assets.serving.accepted import deploy_accepted

        store = platform.store()
        try:
            result = deploy_accepted(
                project,
                store=store,
                settings=platform.settings(),
                evaluation=require_latest(store, project.id.evaluations_collection, "evaluation"),
                run_id=context.run.run_id,
            )
        except MlopsError as error:
            if isinstance(error, ServerUnavailableError) and context.retry_number < RETRIES:
                context.log.warning(str(error))
                raise dg.RetryRequested(RETRIES, RETRY_SECONDS) from error
            note_outcome(context, project, store, "failed", error.problem)
            yield _check(key, passed=False, text=redacted(project, error.problem))
            raise
        outcome: Outcome = "unchanged" if result.unchanged else "promoted"
        note_outcome(context, project, store, outcome, f"version {result.version} is live")
        context.log.info(f"version {result.version} of {project.id.triton_model} is live")
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(result.bundle_id),
            metadata=_metadata(result),
            check_results=[_check(key, passed=True, text=f"version {result.version} is live")],
        )

    return deployment


def _check(key: dg.AssetKey, *, passed: bool, text: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=DEPLOYMENT_CHECK,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=text,
    )


def _metadata(result: "DeploymentResult") -> dict[str, Any]:
    return {
        "live_version": result.version,
        "version_before": result.champion_before or "none",
        "loaded_versions": ", ".join(str(version) for version in result.loaded),
        "unchanged": result.unchanged,
        "predict_url": dg.MetadataValue.url(result.predict_url),
        "model_url": dg.MetadataValue.url(result.model_url),
        "predict": code(result.curl),
        "golden_rows": dg.MetadataValue.json(result.golden),
        "ledger": table(result.ledger_rows),
        "bundle_id": result.bundle_id,
        "seconds": result.seconds,
    }
