"""Does the live model really answer? A server whose backend died still says that it is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.errors import DeploymentError, ParityError, ServerUnavailableError
from mlops_assets.serving.apply import Plan, make_plan
from mlops_assets.serving.golden import compare_golden
from mlops_assets.serving.target import Target
from resources.triton.client import TritonClient

if TYPE_CHECKING:
    from mlops_assets.config.project import Project
    from mlops_assets.serving.site import Site
    from resources.ledger import LedgerState
    from resources.settings import Settings


def ensure_alive(site: Site) -> list[str]:
    """Ask the champion for its golden rows, as clients ask; bring it back if it cannot answer.

    Nothing but unloading and loading brings a dead backend back. A model that answers, but
    wrongly, is not unloaded: that is for a person to judge.

    Returns:
        What was done.

    Raises:
        DeploymentError: It still does not answer, or it answers wrongly.
        ServerUnavailableError: The server does not answer.
    """
    plan = make_plan(site.project, site.store, site.state())
    if plan is None:
        return []
    try:
        _ask(site, plan)
    except ServerUnavailableError:
        raise
    except DeploymentError as error:
        if isinstance(error.__cause__, ParityError):
            raise
        site.client.unload(site.model)
        site.client.load(site.model, plan.versions)
        _ask(site, plan)
        return [f"restarted, because it answered: {error.found or error.problem}"]
    return []


def _ask(site: Site, plan: Plan) -> None:
    try:
        compare_golden(site.client, site.project, plan.champion, site.model, None)
    except ParityError as error:
        raise DeploymentError(
            "the live model does not answer as it did when it was trained",
            where=f"{site.model} on {site.client.url}",
            found=error,
            fix="restart Triton, or go back to another version: `mlops rollback`",
        ) from error


def serving_state(project: Project, settings: Settings, state: LedgerState) -> str:
    """``ready``, ``not ready`` or ``unreachable``, for people."""
    if state.champion is None:
        return "nothing is live"
    try:
        with TritonClient(Target.of(project, settings).grpc_url) as client:
            ready = client.ready_versions(project.id.triton_model)
    except ServerUnavailableError:
        return "unreachable"
    except DeploymentError:
        return "not ready"
    return "ready" if state.champion.version in ready else "not ready"
