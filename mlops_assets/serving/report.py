"""The state of a deployment, for people: addresses, a curl, the ledger's newest entries."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mlops_assets.config.project import Project
from mlops_assets.serving.apply import stored_bundle
from mlops_assets.serving.predict import example_row, render_request
from mlops_assets.serving.result import DeploymentResult
from mlops_assets.serving.target import Target
from resources.ledger import Entry, Ledger, fold

if TYPE_CHECKING:
    from resources.store import Store

SHOWN_ENTRIES = 20


def report(
    project: Project,
    store: Store,
    target: Target,
    *,
    started: float,
    unchanged: bool = False,
    golden: dict[str, Any] | None = None,
    before: int | None = None,
) -> DeploymentResult:
    """What is live now.

    Args:
        project: The project, with a live version.
        store: Bundles and ledger.
        target: Where it is served.
        started: ``time.monotonic()`` at the beginning.
        unchanged: Whether nothing had to be done.
        golden: Comparison of golden rows, if one was made.
        before: The version that was live before.
    """
    entries = Ledger(store, project.id.ledger_prefix).entries()
    state = fold(entries, project.spec.deployment.keep_versions)
    assert state.champion is not None
    bundle = stored_bundle(project, store, state.champion.bundle_id)
    return DeploymentResult(
        version=state.champion.version,
        bundle_id=bundle.id,
        champion_before=state.champion.version if unchanged else before,
        loaded=state.serving,
        unchanged=unchanged,
        predict_url=target.predict_url(project),
        model_url=target.model_url(project),
        curl=render_request(bundle, example_row(bundle), target.predict_url(project)),
        golden=golden or {},
        ledger_rows=[ledger_row(entry) for entry in reversed(entries[-SHOWN_ENTRIES:])],
        seconds=round(time.monotonic() - started, 3),
    )


def ledger_row(entry: Entry) -> dict[str, Any]:
    """One ledger entry as a table row."""
    return {
        "entry": entry.sequence,
        "when": f"{entry.at:%Y-%m-%d %H:%M:%S}",
        "action": entry.action,
        "version": entry.version,
        "reason": entry.reason,
        "run": entry.run_id,
    }
