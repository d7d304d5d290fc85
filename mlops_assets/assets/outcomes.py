"""What became of a retrain, written for the policy by the run that carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.config.project import Project
from mlops_assets.keys import DECISION_TAG

if TYPE_CHECKING:
    from mlops_assets.policy.decision import Outcome
    from resources.store import Store


def note_outcome(
    context: dg.AssetExecutionContext,
    project: Project,
    store: Store,
    outcome: Outcome,
    reason: str,
) -> None:
    """Record the outcome if this run carries out a retrain decision; the first one stays."""
    from mlops_assets.policy.run import record_outcome

    decision = context.run.tags.get(DECISION_TAG)
    if decision is not None:
        record_outcome(project, store, decision.rpartition(":")[2], outcome, reason)
