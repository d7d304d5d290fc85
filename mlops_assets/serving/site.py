"""A project's place on its model server while the engine works on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.config.project import Project
from mlops_assets.serving.target import Target
from resources.ledger import Ledger, LedgerState
from resources.triton.repository import LOCK_SECONDS

if TYPE_CHECKING:
    from resources.settings import Settings
    from resources.store import Store
    from resources.triton.client import TritonClient


@dataclass(frozen=True)
class Site:
    """Everything that a deployment touches.

    Attributes:
        project: The project.
        store: Bundles and ledger.
        target: Addresses and model repository.
        client: The server, which has answered.
    """

    project: Project
    store: Store
    target: Target
    client: TritonClient

    @property
    def ledger(self) -> Ledger:
        """The project's ledger."""
        return Ledger(self.store, self.project.id.ledger_prefix)

    @property
    def model(self) -> str:
        """The name that clients call."""
        return self.project.id.triton_model

    def state(self) -> LedgerState:
        """What the ledger says now."""
        return self.ledger.state(self.project.spec.deployment.keep_versions)

    def lock(self, *, wait_seconds: float = LOCK_SECONDS) -> AbstractContextManager[None]:
        """Hold this while what clients get is changed.

        Raises:
            LedgerConflictError: Another process holds it for too long.
        """
        return self.target.repository.lock(self.model, wait_seconds=wait_seconds)

    def prune(self) -> None:
        """Remove the files of versions that are no longer served, and of killed writers."""
        self.target.repository.prune(self.model, self.state().serving)
        self.target.repository.clear_staging(self.model)


@contextmanager
def open_site(project: Project, store: Store, settings: Settings) -> Iterator[Site]:
    """Connect to the project's server.

    Raises:
        ServerUnavailableError: It does not answer.
    """
    from resources.triton.client import TritonClient

    target = Target.of(project, settings)
    with TritonClient(target.grpc_url) as client:
        client.require_live()
        yield Site(project, store, target, client)
