"""Put a bundle live: verified under a name of its own first, written into the ledger last."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_assets.config.project import Project
from mlops_assets.errors import (
    BundleError,
    DeploymentError,
    LedgerConflictError,
    MlopsError,
    ParityError,
    ServerUnavailableError,
)
from mlops_assets.serving.alive import ensure_alive
from mlops_assets.serving.apply import apply_plan, make_plan, restore
from mlops_assets.serving.candidate import verify_candidate
from mlops_assets.serving.golden import compare_golden
from mlops_assets.serving.report import report
from mlops_assets.serving.site import Site, open_site
from resources.ledger import Action, Entry, fold, is_dead, writer_identity

if TYPE_CHECKING:
    from mlops_assets.serving.result import DeploymentResult
    from mlops_assets.training.bundle import Bundle
    from resources.ledger import LedgerState
    from resources.settings import Settings
    from resources.store import Store

APPEND_ATTEMPTS = 5


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
    way, the champion before goes on serving and the ledger says why.

    Raises:
        ServerUnavailableError: Triton does not answer; worth another try.
        LedgerConflictError: Another run deploys.
        DeploymentError: Triton refused the candidate, its answers are wrong, or it is a model that
            was rolled back from.
    """
    started = time.monotonic()
    with open_site(project, store, settings) as site:
        before = site.state().champion
        if before is not None and before.bundle_id == bundle.id:
            _keep(site)
            return report(site, started=started, unchanged=True)
        claim = _claim(site, bundle, run_id, reason)
        try:
            golden = verify_candidate(site, bundle, claim.version)
            with site.lock():
                _join(site, claim)
                compare_golden(site.client, project, bundle, site.model, claim.version)
                _promote(site, claim, reason, evidence or {})
        except BaseException as error:
            _refuse(site, claim, error)
            if isinstance(error, ParityError):
                raise _wrong_answers(site, claim, error) from error
            raise
        with site.lock():
            site.prune()
        return report(
            site, started=started, golden=golden, before=before.version if before else None
        )


def _keep(site: Site) -> None:
    """Make sure that the champion serves, unless another run changes that right now."""
    with site.lock():
        if site.state().pending is None:
            restore(site)
            ensure_alive(site)


def _claim(site: Site, bundle: Bundle, run_id: str, reason: str) -> Entry:
    """Take the next version number, and with it the right to deploy."""
    state = site.state()
    _require_wanted(site, bundle, state)
    head = state.head
    if state.pending is not None:
        require_dead(site, state.pending, run_id)
        head = give_up(site, state.pending, expected_head=head).sequence
    return site.ledger.append(
        "deploy",
        version=state.next_version,
        bundle_id=bundle.id,
        run_id=run_id,
        reason=reason,
        evidence=writer_identity(),
        expected_head=head,
    )


def _require_wanted(site: Site, bundle: Bundle, state: LedgerState) -> None:
    """Refuse what a person took offline: no run puts it back on its own."""
    version = state.left.get(bundle.id)
    if version is not None:
        raise DeploymentError(
            "this model was rolled back from, so it is not deployed again by itself",
            where=f"{site.project.id} version {version}",
            found=bundle.id,
            expected="another model",
            fix=f"train a better one, or put it back: `mlops rollback {site.project.id} "
            f"--to {version}`",
        )


def require_dead(site: Site, pending: Entry, run_id: str | None = None) -> None:
    """Refuse to go on while another deployment is under way.

    Raises:
        LedgerConflictError: It is.
    """
    if not is_dead(pending, datetime.now(UTC), run_id):
        raise LedgerConflictError(
            "another deployment is under way",
            where=f"{site.project.id} version {pending.version}",
            found=f"run {pending.run_id}, since {pending.at:%Y-%m-%d %H:%M:%S} UTC",
            fix="wait for it; one whose process died is given up by the next deployment",
        )


def give_up(site: Site, pending: Entry, *, expected_head: int) -> Entry:
    """Write down that a deployment died.

    Raises:
        LedgerConflictError: Another run has written first.
    """
    return site.ledger.append(
        "abandon",
        version=pending.version,
        bundle_id=pending.bundle_id,
        run_id=pending.run_id,
        reason=f"run {pending.run_id} ended without a word",
        expected_head=expected_head,
    )


def _join(site: Site, claim: Entry) -> None:
    """Serve the candidate as the highest version of the model that clients call."""
    promoted = claim.model_copy(update={"action": "promote", "sequence": claim.sequence + 1})
    keep = site.project.spec.deployment.keep_versions
    entries = site.ledger.entries()
    plan = make_plan(site.project, site.store, fold([*entries, promoted], keep))
    if plan is None or entries[-1].sequence != claim.sequence:
        raise LedgerConflictError(
            "the deployment was overtaken",
            where=f"{site.project.id} version {claim.version}",
            found=f"{entries[-1].action} of version {entries[-1].version} by run "
            f"{entries[-1].run_id}",
            expected=f"entry {claim.sequence} to be the newest",
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


def _refuse(site: Site, claim: Entry, error: BaseException) -> None:
    """Write down why the candidate was refused, and make Triton serve the champion as before.

    What goes wrong here does not hide the first error; the reconciler finds it later.
    """
    try:
        _close(site, claim, error)
        with site.lock():
            restore(site, server_is_away=isinstance(error, ServerUnavailableError))
            site.prune()
    except MlopsError as second:
        error.add_note(f"while the live model was put back: {second}")


def _close(site: Site, claim: Entry, error: BaseException) -> None:
    """``quarantine`` when the candidate is at fault, else ``abandon``."""
    action: Action = "quarantine" if _is_at_fault(error) else "abandon"
    for attempt in range(APPEND_ATTEMPTS):
        state = site.state()
        if state.pending is None or state.pending.version != claim.version:
            return
        try:
            site.ledger.append(
                action,
                version=claim.version,
                bundle_id=claim.bundle_id,
                run_id=claim.run_id,
                reason=_reason(error),
                expected_head=state.head,
            )
        except LedgerConflictError:
            if attempt == APPEND_ATTEMPTS - 1:
                raise
        else:
            return


def _is_at_fault(error: BaseException) -> bool:
    """Whether the candidate is to blame: not a server that is away, another run or a full disk."""
    if isinstance(error, ServerUnavailableError | LedgerConflictError):
        return False
    refused = isinstance(error, DeploymentError | ParityError | BundleError)
    return refused and not isinstance(error.__cause__, OSError)


def _reason(error: BaseException) -> str:
    if not isinstance(error, MlopsError):
        return f"{type(error).__name__}: {error}"[:500]
    return f"{error.problem}: {error.found}" if error.found else error.problem


def _wrong_answers(site: Site, claim: Entry, error: ParityError) -> DeploymentError:
    return DeploymentError(
        "the served candidate does not answer as torch and ONNX Runtime did",
        where=f"{site.model} version {claim.version}",
        found=error,
        fix="the candidate is quarantined and the live model goes on; train again",
    )
