"""The state of a deployment, for people: addresses, a curl, the ledger's newest entries."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import DeploymentError
from mlops_assets.serving.apply import stored_bundle
from mlops_assets.serving.predict import example_row, render_request
from mlops_assets.serving.result import DeploymentResult
from resources.ledger import Entry

if TYPE_CHECKING:
    from mlops_assets.serving.site import Site

SHOWN_ENTRIES = 20


def report(
    site: Site,
    *,
    started: float,
    unchanged: bool = False,
    golden: dict[str, Any] | None = None,
    before: int | None = None,
) -> DeploymentResult:
    """What is live now.

    Args:
        site: The project's place, with a live version.
        started: ``time.monotonic()`` at the beginning.
        unchanged: Whether nothing had to be done.
        golden: Comparison of golden rows, if one was made.
        before: The version that was live before.
    """
    entries = site.ledger.entries()
    state = site.state()
    if state.champion is None:
        raise DeploymentError("nothing is live", where=str(site.project.id))
    bundle = stored_bundle(site.project, site.store, state.champion.bundle_id)
    predict_url = site.target.predict_url(site.project)
    return DeploymentResult(
        version=state.champion.version,
        bundle_id=bundle.id,
        champion_before=state.champion.version if unchanged else before,
        loaded=state.serving,
        unchanged=unchanged,
        predict_url=predict_url,
        model_url=site.target.model_url(site.project),
        curl=render_request(bundle, example_row(bundle), predict_url),
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
