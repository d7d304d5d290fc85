"""Serve an earlier version again, or none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mlops_assets.config.project import Project
from mlops_assets.errors import DeploymentError
from mlops_assets.serving.apply import restore
from mlops_assets.serving.report import report
from mlops_assets.serving.site import Site, open_site
from resources.ledger import LIVE_ACTIONS

if TYPE_CHECKING:
    from mlops_assets.serving.result import DeploymentResult
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
    """Make an earlier version the champion again.

    Args:
        project: The project.
        version: Which one; by default the one that was live before.
        store: Bundles and ledger.
        settings: Where the server is.
        run_id: Who asks.
        reason: Kept in the ledger.

    Raises:
        DeploymentError: There is no such version, or it was never live.
        ServerUnavailableError: Triton does not answer; nothing was changed.
    """
    started = time.monotonic()
    with open_site(project, store, settings) as site:
        state = site.state()
        chosen = _choose(site, version)
        site.ledger.append(
            "rollback",
            version=chosen,
            bundle_id=state.bundles[chosen],
            run_id=run_id,
            reason=reason,
            evidence={"from": state.champion_version},
            expected_head=state.head,
        )
        restore(site)
        return report(site, started=started, before=state.champion_version)


def retire(project: Project, *, store: Store, settings: Settings, run_id: str, reason: str) -> int:
    """Take a project's model offline; its bundles and ledger stay.

    Returns:
        The version that was live.

    Raises:
        DeploymentError: Nothing is live.
        ServerUnavailableError: Triton does not answer; nothing was changed.
    """
    with open_site(project, store, settings) as site:
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
        site.target.repository.remove(site.model)
        return state.champion.version


def _choose(site: Site, version: int | None) -> int:
    lived = sorted({e.version for e in site.ledger.entries() if e.action in LIVE_ACTIONS})
    current = site.state().champion_version
    earlier = [v for v in lived if current is None or v < current]
    chosen = version if version is not None else (earlier[-1] if earlier else None)
    if chosen is None or chosen not in lived or chosen == current:
        others = ", ".join(str(v) for v in lived if v != current)
        raise DeploymentError(
            "there is no such version to go back to",
            where=str(site.project.id),
            found=f"version {chosen}" if chosen else "no version was live before",
            expected=f"one of the versions that were live: {others or 'none'}",
            fix="`mlops status` shows what is loaded",
        )
    return chosen
