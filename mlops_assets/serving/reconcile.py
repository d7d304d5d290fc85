"""After any restart: make Triton serve what the ledger says, and only that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mlops_assets.config.project import Project
from mlops_assets.errors import LedgerConflictError, MlopsError, ServerUnavailableError
from mlops_assets.serving.alive import ensure_alive, serving_state
from mlops_assets.serving.apply import restore
from mlops_assets.serving.candidate import discard_candidate
from mlops_assets.serving.deploy import give_up
from mlops_assets.serving.site import Site, open_site
from mlops_assets.serving.target import Target
from resources.ledger import Ledger, is_dead

if TYPE_CHECKING:
    from resources.settings import Settings
    from resources.store import Store

__all__ = ["Correction", "reconcile", "reconcile_project", "serving_state"]


@dataclass(frozen=True)
class Correction:
    """Something that was not as the ledger says, and what was done."""

    project: str
    done: str

    def __str__(self) -> str:
        return f"{self.project}: {self.done}"


def reconcile(
    projects: Iterable[Project],
    *,
    store: Store,
    settings: Settings,
) -> list[Correction]:
    """Repair every project's model: files, configuration, loaded versions, and dead backends.

    Every champion is asked for its golden rows, because a server whose backend died still says
    that it is ready. One model that cannot be repaired does not keep the others from it.

    Args:
        projects: The projects.
        store: Bundles and ledgers.
        settings: Where the server is.

    Raises:
        ServerUnavailableError: A server does not answer.
        MlopsError: A model cannot be repaired; the others were.
    """
    corrections: list[Correction] = []
    problems: list[MlopsError] = []
    away: set[str] = set()
    for project in projects:
        url = Target.of(project, settings).grpc_url
        if url in away:
            continue
        try:
            done = reconcile_project(project, store, settings)
        except MlopsError as error:
            problems.append(error)
            if isinstance(error, ServerUnavailableError):
                away.add(url)
            continue
        corrections += [Correction(str(project.id), text) for text in done]
    if problems:
        first = problems[0]
        for other in [*problems[1:], *corrections]:
            first.add_note(str(other))
        raise first
    return corrections


def reconcile_project(project: Project, store: Store, settings: Settings) -> list[str]:
    """Repair one project's model; returns what was done.

    A model that is being changed right now is left alone.
    """
    if Ledger(store, project.id.ledger_prefix).is_empty():
        return []
    with open_site(project, store, settings) as site:
        try:
            with site.lock(wait_seconds=0):
                return _repair(site)
        except LedgerConflictError:
            return []


def _repair(site: Site) -> list[str]:
    state = site.state()
    done = []
    if state.pending is not None:
        if not is_dead(state.pending, datetime.now(UTC)):
            return []
        entry = give_up(site, state.pending, expected_head=state.head)
        done.append(f"version {entry.version} given up, because {entry.reason}")
    if discard_candidate(site):
        done.append("a candidate that was left behind was removed")
    done += restore(site)
    done += ensure_alive(site)
    site.prune()
    return done
