"""Serve an earlier version again, or none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mlops_assets.config.project import Project
from mlops_assets.errors import DeploymentError, ParityError, ServerUnavailableError
from mlops_assets.serving.alive import ensure_alive
from mlops_assets.serving.apply import restore, stored_bundle
from mlops_assets.serving.candidate import verify_candidate
from mlops_assets.serving.deploy import require_dead
from mlops_assets.serving.golden import compare_golden
from mlops_assets.serving.report import report
from mlops_assets.serving.site import Site, open_site

if TYPE_CHECKING:
    from mlops_assets.serving.result import DeploymentResult
    from mlops_assets.training.bundle import Bundle
    from resources.ledger import LedgerState
    from resources.settings import Settings
    from resources.store import Store


def rollback(
    project: Project,
    *,
    version: int | None,
    store: Store,
    settings: Settings,
    run_id: str,
    reason: str,
) -> DeploymentResult:
    """Make another version that was live before the champion again.

    Its golden rows are compared first: where it is still loaded, or else under the candidate's
    name. Only then does the ledger say so. A deployment that is under way loses against it.

    Args:
        project: The project.
        version: Which one; by default the one that was live before.
        store: Bundles and ledger.
        settings: Where the server is.
        run_id: Who asks.
        reason: Kept in the ledger.

    Raises:
        DeploymentError: There is no such version, it was never live, or it does not answer as it
            should; nothing was changed.
        StoreError: Its bundle is gone; nothing was changed.
        ServerUnavailableError: Triton does not answer; nothing was changed.
    """
    started = time.monotonic()
    with open_site(project, store, settings) as site, site.lock():
        state = site.state()
        chosen = choose_version(project, state, version)
        bundle = stored_bundle(project, store, state.bundles[chosen])
        golden = _prove(site, bundle, chosen, state)
        site.ledger.append(
            "rollback",
            version=chosen,
            bundle_id=bundle.id,
            run_id=run_id,
            reason=reason,
            evidence={"from": state.champion_version, "golden_rows": golden},
            expected_head=state.head,
        )
        restore(site)
        ensure_alive(site)
        site.prune()
        return report(site, started=started, golden=golden, before=state.champion_version)


def retire(project: Project, *, store: Store, settings: Settings, run_id: str, reason: str) -> int:
    """Take a project's model offline; its bundles and ledger stay.

    Returns:
        The version that was live.

    Raises:
        DeploymentError: Nothing is live.
        ServerUnavailableError: Triton does not answer; nothing was changed.
    """
    with open_site(project, store, settings) as site, site.lock():
        state = site.state()
        if state.champion is None:
            raise DeploymentError("nothing is live", where=str(project.id))
        site.ledger.append(
            "retire",
            version=state.champion.version,
            bundle_id=state.champion.bundle_id,
            run_id=run_id,
            reason=reason,
            expected_head=state.head,
        )
        restore(site)
        return state.champion.version


def choose_version(project: Project, state: LedgerState, version: int | None) -> int:
    """The version to go back to.

    Args:
        project: The project, for the message.
        state: Its ledger's state.
        version: The wanted one; None is the one that was live before the champion.

    Raises:
        DeploymentError: There is none, or it was never live.
    """
    chosen = version if version is not None else next(iter(state.earlier), None)
    if chosen is None or chosen not in state.lived or chosen == state.champion_version:
        others = ", ".join(str(v) for v in sorted(state.lived - {state.champion_version}))
        raise DeploymentError(
            "there is no such version to go back to",
            where=str(project.id),
            found=f"version {chosen}" if chosen is not None else "no version was live before",
            expected=f"one of the versions that were live: {others or 'none'}",
            fix="`mlops status` shows what is loaded",
        )
    return chosen


def _prove(site: Site, bundle: Bundle, version: int, state: LedgerState) -> dict[str, Any]:
    """Compare golden rows before anything is changed; a loaded version is asked where it is."""
    if version in site.client.ready_versions(site.model):
        try:
            return compare_golden(site.client, site.project, bundle, site.model, version)
        except ServerUnavailableError:
            raise
        except (DeploymentError, ParityError):
            pass  # its backend died: it is loaded anew below
    if state.pending is not None:
        require_dead(site, state.pending)
    try:
        return verify_candidate(site, bundle, version)
    except ParityError as error:
        raise DeploymentError(
            "that version does not answer as it did when it was trained",
            where=f"{site.model} version {version}",
            found=error,
            fix="go back to another version: `mlops rollback --to`",
        ) from error
