"""Run requests that several sensors make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from mlops_assets.config.project import Project
from mlops_assets.keys import CAUSE_TAG

if TYPE_CHECKING:
    from resources.store import Store


def lifecycle_keys(project: Project) -> list[dg.AssetKey]:
    """Raw data to deployment of one project."""
    own = project.id
    paths = project.source_keys
    paths += [own.features_key, own.model_key, own.evaluation_key, own.deployment_key]
    return [dg.AssetKey(path) for path in paths]


def monitoring_keys(project: Project) -> list[dg.AssetKey]:
    """The assets that watch the live model."""
    own = project.id
    paths = [own.inference_log_key]
    paths += [own.labels_key] if project.spec.monitoring.labels is not None else []
    paths += [own.monitoring_key, own.retrain_decision_key]
    return [dg.AssetKey(path) for path in paths]


def request(
    project: Project,
    keys: list[dg.AssetKey],
    *,
    run_key: str,
    cause: str,
    tags: dict[str, str] | None = None,
) -> dg.RunRequest:
    """A run of one project; the same key never starts a second one.

    Args:
        project: The project.
        keys: What to materialize.
        run_key: Identity of the cause.
        cause: Why, for people.
        tags: Further run tags.
    """
    own = {CAUSE_TAG: cause, **project.id.run_tags}
    return dg.RunRequest(run_key=run_key, asset_selection=keys, tags=own | (tags or {}))


def waits_for_decision(project: Project, store: Store) -> bool:
    """Whether new data alone start nothing: a model is live and decisions retrain it."""
    from resources.ledger import Ledger

    if not project.spec.retrains_on_decision:
        return False
    return Ledger(store, project.id.ledger_prefix).is_live()
