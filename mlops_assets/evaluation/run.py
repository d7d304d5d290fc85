"""Evaluate the newest bundle against the live one, and publish the result."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from mlops_assets.config.project import Project
from mlops_assets.errors import BundleError, StoreError
from mlops_assets.evaluation.verdict import EvaluationResult, evaluate
from mlops_assets.training.bundle import Bundle, open_bundle
from mlops_assets.training.split import split_rows
from mlops_assets.training.table import load_table
from resources.ledger import Ledger

if TYPE_CHECKING:
    from resources.manifest import Manifest
    from resources.store import Store

RESULT_FILE = "evaluation.json"


def evaluate_latest(
    project: Project, *, store: Store, features: Manifest, model: Manifest
) -> tuple[Manifest, EvaluationResult]:
    """Judge a bundle on the newest rows of a feature version.

    Args:
        project: The project.
        store: Where features, bundles, ledger and results are.
        features: The feature version whose newest rows are the test rows.
        model: The bundle to judge.

    Returns:
        The published result: its manifest, and what it says.
    """
    bundle = open_bundle(store.path(model))
    table = load_table(store.files(features))
    champion, version, problem = load_champion(project, store)
    result = evaluate(
        project,
        bundle,
        table,
        split_rows(table, project.spec),
        champion,
        champion_version=version,
        champion_problem=problem,
    )
    inputs = [bundle.id, features.data_version, champion.id if champion else problem or ""]
    return _publish(project, store, result, model, inputs), result


def load_champion(project: Project, store: Store) -> tuple[Bundle | None, int | None, str | None]:
    """The live bundle, its served version and, when it cannot be read, why not."""
    entry = Ledger(store, project.id.ledger_prefix).state().champion
    if entry is None:
        return None, None, None
    try:
        manifest = store.find(project.id.bundles_collection, entry.bundle_id)
        if manifest is None:
            return None, entry.version, f"its bundle {entry.bundle_id} is not in the store"
        return open_bundle(store.path(manifest)), entry.version, None
    except (StoreError, BundleError) as error:
        return None, entry.version, error.problem


def load_result(store: Store, manifest: Manifest) -> EvaluationResult:
    """Read a published evaluation."""
    document = json.loads((store.path(manifest) / RESULT_FILE).read_text(encoding="utf-8"))
    return EvaluationResult.from_dict(document)


def _publish(
    project: Project, store: Store, result: EvaluationResult, model: Manifest, inputs: list[str]
) -> Manifest:
    from resources.manifest import Draft

    body = json.dumps(result.to_dict(), sort_keys=True, allow_nan=False).encode()
    collection = project.id.evaluations_collection
    with store.staging(collection) as staged:
        (staged / RESULT_FILE).write_bytes(body)
        draft = Draft(
            data_version=f"sha256:{hashlib.sha256(body).hexdigest()}",
            inputs_digest=f"sha256:{hashlib.sha256(json.dumps(inputs).encode()).hexdigest()}",
            rows=result.rows,
            columns=(),
            metadata={
                "verdict": result.verdict,
                "reason": result.reason,
                "bundle_id": model.data_version,
                "bundle_sequence": model.sequence,
            },
        )
        return store.publish(collection, staged, draft)
