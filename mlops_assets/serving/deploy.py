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
from mlops_assets.serving.apply import apply_plan, make_plan
from mlops_assets.serving.golden import compare_golden
from mlops_assets.serving.report import report
from mlops_assets.serving.result import DeploymentResult
from mlops_assets.serving.target import Target, model_config
from mlops_assets.training.bundle import Bundle
from resources.ledger import Entry, Ledger, LedgerState, fold, is_dead, writer_identity

if TYPE_CHECKING:
    from resources.settings import Settings
    from resources.store import Store
    from resources.triton.client import TritonClient


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
    target = Target.of(project, settings)
    ledger = Ledger(store, project.id.ledger_prefix)
    keep = project.spec.deployment.keep_versions
    with _client(target) as client:
        client.require_live()
        before = ledger.state(keep)
        if before.champion is not None and before.champion.bundle_id == bundle.id:
            restore(project, store, target, client)
            return report(project, store, target, started=started, unchanged=True)
        claim = _claim(ledger, before, bundle, run_id, reason)
        try:
            golden = _verify_candidate(project, bundle, claim.version, target, client)
            _join(project, store, ledger, claim, target, client)
            compare_golden(client, project, bundle, project.id.triton_model, claim.version)
            ledger.append(
                "promote",
                version=claim.version,
                bundle_id=bundle.id,
                run_id=run_id,
                reason=reason,
                evidence=dict(evidence or {}),
                expected_head=claim.sequence,
            )
        except MlopsError as error:
            _refuse(project, store, ledger, claim, target, client, error)
            if not isinstance(error, ParityError):
                raise
            raise DeploymentError(
                "the served candidate does not answer as torch and ONNX Runtime did",
                where=f"{project.id.triton_model} version {claim.version}",
                found=error,
                fix="the candidate is quarantined and the live model goes on; train again",
            ) from error
        restore(project, store, target, client)
    target.repository.prune(project.id.triton_model, ledger.state(keep).serving)
    return report(
        project, store, target, started=started, golden=golden, before=before.champion_version
    )


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
    target = Target.of(project, settings)
    ledger = Ledger(store, project.id.ledger_prefix)
    entries = ledger.entries()
    state = fold(entries, project.spec.deployment.keep_versions)
    chosen = _rollback_version(project, entries, state, version)
    with _client(target) as client:
        client.require_live()
        ledger.append(
            "rollback",
            version=chosen,
            bundle_id=state.bundles[chosen],
            run_id=run_id,
            reason=reason,
            evidence={"from": state.champion_version},
            expected_head=state.head,
        )
        restore(project, store, target, client)
    return report(project, store, target, started=started, before=state.champion_version)


def retire(project: Project, *, store: Store, settings: Settings, run_id: str, reason: str) -> None:
    """Take a project's model offline; its bundles and ledger stay.

    Raises:
        DeploymentError: Nothing is live.
        ServerUnavailableError: Triton does not answer; nothing was changed.
    """
    target = Target.of(project, settings)
    ledger = Ledger(store, project.id.ledger_prefix)
    state = ledger.state()
    if state.champion is None:
        raise DeploymentError("nothing is live", where=str(project.id))
    with _client(target) as client:
        client.require_live()
        ledger.append(
            "retire",
            version=state.champion.version,
            bundle_id=state.champion.bundle_id,
            run_id=run_id,
            reason=reason,
            expected_head=state.head,
        )
        client.unload(project.id.triton_model)
    target.repository.remove(project.id.triton_model)


def restore(project: Project, store: Store, target: Target, client: TritonClient) -> list[str]:
    """Make the model match the ledger as it is now; returns what was done."""
    ledger = Ledger(store, project.id.ledger_prefix)
    plan = make_plan(project, store, ledger.state(project.spec.deployment.keep_versions))
    if plan is None:
        if client.ready_versions(project.id.triton_model):
            client.unload(project.id.triton_model)
            return ["unloaded, because the ledger has no live version"]
        return []
    return apply_plan(project, plan, target, client)


def _client(target: Target) -> TritonClient:
    from resources.triton.client import TritonClient

    return TritonClient(target.grpc_url)


def _claim(ledger: Ledger, state: LedgerState, bundle: Bundle, run_id: str, reason: str) -> Entry:
    """Take the next version number, and with it the right to deploy."""
    head = state.head
    if state.pending is not None:
        if not is_dead(state.pending, datetime.now(UTC), run_id):
            raise LedgerConflictError(
                "another deployment is under way",
                where=f"version {state.pending.version}",
                found=f"run {state.pending.run_id}, since {state.pending.at:%Y-%m-%d %H:%M:%S} UTC",
                fix="wait for it; one whose process died is given up by the next deployment",
            )
        head = _abandon(ledger, state.pending, run_id, "its run ended without a word").sequence
    return ledger.append(
        "deploy",
        version=state.next_version,
        bundle_id=bundle.id,
        run_id=run_id,
        reason=reason,
        evidence=writer_identity(),
        expected_head=head,
    )


def _abandon(ledger: Ledger, pending: Entry, run_id: str, reason: str) -> Entry:
    return ledger.append(
        "abandon",
        version=pending.version,
        bundle_id=pending.bundle_id,
        run_id=run_id,
        reason=reason,
        expected_head=ledger.state().head,
    )


def _verify_candidate(
    project: Project, bundle: Bundle, version: int, target: Target, client: TritonClient
) -> dict[str, Any]:
    """Load the candidate where no client looks, compare its golden rows, and unload it."""
    name = project.id.triton_candidate
    try:
        target.repository.publish(name, version, bundle.onnx_path)
        target.repository.write_config(model_config(project, bundle.schema, (version,), name=name))
        client.load(name, (version,))
        return compare_golden(client, project, bundle, name, version)
    finally:
        discard_candidate(project, target, client)


def discard_candidate(project: Project, target: Target, client: TritonClient) -> None:
    """Unload and remove the candidate, as far as the server answers."""
    try:
        client.unload(project.id.triton_candidate)
    except ServerUnavailableError:
        return
    finally:
        target.repository.remove(project.id.triton_candidate)


def _join(
    project: Project,
    store: Store,
    ledger: Ledger,
    claim: Entry,
    target: Target,
    client: TritonClient,
) -> None:
    """Serve the candidate as the highest version of the model that clients call."""
    promoted = claim.model_copy(update={"action": "promote", "sequence": claim.sequence + 1})
    state = fold([*ledger.entries(), promoted], project.spec.deployment.keep_versions)
    plan = make_plan(project, store, state)
    if plan is None:
        raise DeploymentError("the candidate has no plan", where=str(project.id))
    apply_plan(project, plan, target, client)


def _refuse(
    project: Project,
    store: Store,
    ledger: Ledger,
    claim: Entry,
    target: Target,
    client: TritonClient,
    error: MlopsError,
) -> None:
    """Write down why the candidate was refused, and make Triton serve the champion as before."""
    away = isinstance(error, ServerUnavailableError)
    given_up = away or isinstance(error, LedgerConflictError)
    ledger.append(
        "abandon" if given_up else "quarantine",
        version=claim.version,
        bundle_id=claim.bundle_id,
        run_id=claim.run_id,
        reason=f"{error.problem}: {error.found}" if error.found else error.problem,
        expected_head=ledger.state().head,
    )
    if not away:
        restore(project, store, target, client)
    target.repository.prune(
        project.id.triton_model, ledger.state(project.spec.deployment.keep_versions).serving
    )


def _rollback_version(
    project: Project, entries: list[Entry], state: LedgerState, version: int | None
) -> int:
    lived = sorted({e.version for e in entries if e.action in {"promote", "rollback"}})
    current = state.champion_version
    earlier = [v for v in lived if current is None or v < current]
    chosen = version if version is not None else (earlier[-1] if earlier else None)
    if chosen is None or chosen not in lived or chosen == current:
        raise DeploymentError(
            "there is no such version to go back to",
            where=str(project.id),
            found=f"version {chosen}" if chosen else "no version was live before",
            expected="one of the versions that were live: "
            + (", ".join(str(v) for v in lived if v != current) or "none"),
            fix="`mlops status` shows what is loaded",
        )
    return chosen
