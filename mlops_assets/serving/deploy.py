"""Put a bundle live: verified under a name of its own first, written into the ledger last."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_assets.config.project import Project
from mlops_assets.errors import (
    DeploymentError,
    LedgerConflictError,
    MlopsError,
    ParityError,
    ServerUnavailableError,
)
from mlops_assets.serving.apply import apply_plan, make_plan, restore
from mlops_assets.serving.candidate import verify_candidate
from mlops_assets.serving.golden import compare_golden
from mlops_assets.serving.report import report
from mlops_assets.serving.site import Site, open_site
from resources.ledger import Entry, fold, is_dead, writer_identity

if TYPE_CHECKING:
    from mlops_assets.serving.result import DeploymentResult
    from mlops_assets.training.bundle import Bundle
    from resources.settings import Settings
    from resources.store import Store


def deploy(
    project: Project,
    bundle: Bundle,
    *,
    store: Store,
    settings: Settings,
    run_id: str,
    reason: str,
    evidence: Mapping[str, Any] | None = None,
) -> DeploymentResult:
    """Serve a bundle as the next version and make it the champion.

    The version number is taken in the ledger first. Then the candidate is loaded under
    :attr:`ProjectId.triton_candidate` and its golden rows are compared; then it joins the model
    that clients call, is compared again, and the ledger says that it is live. Whatever fails on the
    way, the champion before goes on serving and the candidate is quarantined.

    Raises:
        ServerUnavailableError: Triton does not answer; worth another try.
        LedgerConflictError: Another run deploys.
        DeploymentError: Triton refused the candidate, or its answers are wrong.
    """
    started = time.monotonic()
    with open_site(project, store, settings) as site:
        before = site.state().champion
        if before is not None and before.bundle_id == bundle.id:
            restore(site)
            return report(site, started=started, unchanged=True)
        claim = _claim(site, bundle, run_id, reason)
        try:
            golden = verify_candidate(site, bundle, claim.version)
            _join(site, claim)
            compare_golden(site.client, project, bundle, site.model, claim.version)
            _promote(site, claim, reason, evidence or {})
        except MlopsError as error:
            _refuse(site, claim, error)
            if not isinstance(error, ParityError):
                raise
            raise DeploymentError(
                "the served candidate does not answer as torch and ONNX Runtime did",
                where=f"{site.model} version {claim.version}",
                found=error,
                fix="the candidate is quarantined and the live model goes on; train again",
            ) from error
        site.prune()
        return report(
            site, started=started, golden=golden, before=before.version if before else None
        )


def _claim(site: Site, bundle: Bundle, run_id: str, reason: str) -> Entry:
    """Take the next version number, and with it the right to deploy."""
    state = site.state()
    head = state.head
    if state.pending is not None:
        if not is_dead(state.pending, datetime.now(UTC), run_id):
            raise LedgerConflictError(
                "another deployment is under way",
                where=f"{site.project.id} version {state.pending.version}",
                found=f"run {state.pending.run_id}, since {state.pending.at:%Y-%m-%d %H:%M:%S} UTC",
                fix="wait for it; one whose process died is given up by the next deployment",
            )
        reason_dead = f"run {state.pending.run_id} ended without a word"
        head = close(site, state.pending, "abandon", reason_dead, expected_head=head).sequence
    return site.ledger.append(
        "deploy",
        version=state.next_version,
        bundle_id=bundle.id,
        run_id=run_id,
        reason=reason,
        evidence=writer_identity(),
        expected_head=head,
    )


def close(
    site: Site, claim: Entry, action: str, reason: str, *, expected_head: int | None = None
) -> Entry:
    """End a deployment that was begun: ``quarantine`` or ``abandon``."""
    return site.ledger.append(
        "abandon" if action == "abandon" else "quarantine",
        version=claim.version,
        bundle_id=claim.bundle_id,
        run_id=claim.run_id,
        reason=reason,
        expected_head=site.state().head if expected_head is None else expected_head,
    )


def _join(site: Site, claim: Entry) -> None:
    """Serve the candidate as the highest version of the model that clients call."""
    promoted = claim.model_copy(update={"action": "promote", "sequence": claim.sequence + 1})
    keep = site.project.spec.deployment.keep_versions
    plan = make_plan(site.project, site.store, fold([*site.ledger.entries(), promoted], keep))
    if plan is None or plan.versions[0] != claim.version:
        raise LedgerConflictError(
            "the deployment was overtaken", where=str(site.project.id), found="a newer entry"
        )
    apply_plan(site, plan)


def _promote(site: Site, claim: Entry, reason: str, evidence: Mapping[str, Any]) -> None:
    site.ledger.append(
        "promote",
        version=claim.version,
        bundle_id=claim.bundle_id,
        run_id=claim.run_id,
        reason=reason,
        evidence=dict(evidence),
        expected_head=claim.sequence,
    )


def _refuse(site: Site, claim: Entry, error: MlopsError) -> None:
    """Write down why the candidate was refused, and make Triton serve the champion as before."""
    away = isinstance(error, ServerUnavailableError)
    given_up = away or isinstance(error, LedgerConflictError)
    reason = f"{error.problem}: {error.found}" if error.found else error.problem
    close(site, claim, "abandon" if given_up else "quarantine", reason)
    if not away:
        restore(site)
    site.prune()
