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
    """Ask every served version for its golden rows, and load those anew that cannot answer.

    A backend that died is not started again by itself. A graph with a new time stamp makes the
    next load replace just that version, so the others go on answering meanwhile.

    Returns:
        What was done.

    Raises:
        DeploymentError: A version still does not answer, or still answers wrongly.
        ServerUnavailableError: The server does not answer.
    """
    plan = make_plan(site.project, site.store, site.state())
    if plan is None:
        return []
    dead = {}
    for version in plan.versions:
        try:
            _ask(site, plan, version)
        except ServerUnavailableError:
            raise
        except DeploymentError as error:
            dead[version] = error
    if not dead:
        return []
    for version in dead:
        site.target.repository.touch(site.model, version)
    site.client.load(site.model, plan.versions)
    for version in dead:
        _ask(site, plan, version)
    return [
        f"version {version} restarted, because it answered: {error.found or error.problem}"
        for version, error in dead.items()
    ]


def _ask(site: Site, plan: Plan, version: int) -> None:
    named = None if version == plan.versions[0] else version  # the champion as clients ask it
    try:
        compare_golden(site.client, site.project, plan.bundles[version], site.model, named)
    except ParityError as error:
        raise DeploymentError(
            "a served model does not answer as it did when it was trained",
            where=f"{site.model} version {version} on {site.client.url}",
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
