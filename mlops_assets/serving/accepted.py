"""Deploy what the newest evaluation accepted, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.config.project import Project
from mlops_assets.errors import DeploymentError
from mlops_assets.keys import ACCEPTED_VERDICTS
from mlops_assets.serving.deploy import deploy
from mlops_assets.serving.result import DeploymentResult
from mlops_assets.training.bundle import open_bundle

if TYPE_CHECKING:
    from resources.manifest import Manifest
    from resources.settings import Settings
    from resources.store import Store


def deploy_accepted(
    project: Project, *, store: Store, settings: Settings, evaluation: Manifest, run_id: str
) -> DeploymentResult:
    """Put the bundle of an evaluation live.

    The bundle is the one that was evaluated, not whichever is newest by now.

    Raises:
        DeploymentError: The evaluation did not accept it, or the deployment failed.
    """
    verdict = evaluation.metadata["verdict"]
    if verdict not in ACCEPTED_VERDICTS:
        raise DeploymentError(
            "the newest evaluation did not accept the model",
            where=str(project.id),
            found=f"verdict {verdict}",
            expected=" or ".join(sorted(ACCEPTED_VERDICTS)),
            fix="look at the `promotion` check of the `evaluation` asset; the live model goes on",
        )
    bundle_id = evaluation.metadata["bundle_id"]
    manifest = store.find(project.id.bundles_collection, bundle_id)
    if manifest is None:
        raise DeploymentError(
            "the evaluated bundle is gone",
            where=str(project.id),
            found=bundle_id,
            fix="materialize `model` and `evaluation` again",
        )
    return deploy(
        project,
        open_bundle(store.path(manifest)),
        store=store,
        settings=settings,
        run_id=run_id,
        reason=evaluation.metadata["reason"],
        evidence={"evaluation": evaluation.sequence, "verdict": verdict},
    )
