"""After any restart: make Triton serve what the ledger says, and only that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mlops_assets.config.project import Project
from mlops_assets.errors import DeploymentError, LedgerConflictError, ServerUnavailableError
from mlops_assets.serving.apply import Plan, make_plan, restore
from mlops_assets.serving.candidate import discard_candidate
from mlops_assets.serving.deploy import close
from mlops_assets.serving.golden import golden_feeds
from mlops_assets.serving.site import Site, open_site
from mlops_assets.serving.target import Target
from resources.ledger import Ledger, LedgerState, is_dead
from resources.triton.client import TritonClient

if TYPE_CHECKING:
    from mlops_assets.training.bundle import Bundle
    from resources.settings import Settings
    from resources.store import Store


@dataclass(frozen=True)
class Correction:
    """Something that was not as the ledger says, and what was done."""

    project: str
    done: str

    def __str__(self) -> str:
        return f"{self.project}: {self.done}"


def reconcile(
    projects: Sequence[Project],
    *,
    store: Store,
    settings: Settings,
) -> list[Correction]:
    """Repair every project's model: files, configuration, loaded versions, and dead backends.

    Every champion is asked for one real prediction, because a server whose backend died still
    says that it is ready.

    Args:
        projects: The projects.
        store: Bundles and ledgers.
        settings: Where the server is.

    Raises:
        ServerUnavailableError: Triton does not answer.
        DeploymentError: A model cannot be repaired; the others were.
    """
    corrections: list[Correction] = []
    problems: list[DeploymentError] = []
    for project in projects:
        try:
            done = reconcile_project(project, store, settings)
        except ServerUnavailableError:
            raise
        except DeploymentError as error:
            problems.append(error)
            continue
        corrections += [Correction(str(project.id), text) for text in done]
    if problems:
        raise problems[0]
    return corrections


def reconcile_project(project: Project, store: Store, settings: Settings) -> list[str]:
    """Repair one project's model; returns what was done.

    A model that is being deployed right now is left alone.
    """
    ledger = Ledger(store, project.id.ledger_prefix)
    state = ledger.state(project.spec.deployment.keep_versions)
    if state.head == 0 or (state.pending and not is_dead(state.pending, datetime.now(UTC))):
        return []
    with open_site(project, store, settings) as site:
        done = _close_pending(site, state)
        done += restore(site)
        plan = make_plan(project, store, state)
        if plan is not None:
            done += _revive_if_dead(site, plan)
        site.prune()
    return done


def _close_pending(site: Site, state: LedgerState) -> list[str]:
    """Write down that a deployment died, and remove what it left."""
    if state.pending is None:
        return []
    reason = f"run {state.pending.run_id} ended without a word"
    try:
        close(site, state.pending, "abandon", reason, expected_head=state.head)
    except LedgerConflictError:
        return []
    discard_candidate(site)
    site.target.repository.clear_staging()
    return [f"version {state.pending.version} given up, because {reason}"]


def _revive_if_dead(site: Site, plan: Plan) -> list[str]:
    """Unload and load a model whose backend died: nothing else brings it back."""
    try:
        _ask(site, plan.champion)
    except ServerUnavailableError:
        raise
    except DeploymentError as error:
        site.client.unload(site.model)
        site.client.load(site.model, plan.versions)
        _ask(site, plan.champion)
        return [f"restarted, because it answered: {error.found or error.problem}"]
    return []


def _ask(site: Site, champion: Bundle) -> None:
    feeds = golden_feeds(champion, 0, 1)
    site.client.infer(site.model, None, feeds, champion.schema.output_name)


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
