"""What all assets of a project share: group, owners, tags, kinds."""

from __future__ import annotations

from typing import Any

import dagster as dg

from mlops_assets.config.project import Project

FORCE_TAG = "mlops/force"
"""Run tag: compute again even when nothing changed."""


def asset_settings(project: Project, key: dg.AssetKey, kinds: set[str]) -> dict[str, Any]:
    """Arguments of ``@dg.asset`` that every asset of the project has."""
    return {
        "key": key,
        "group_name": project.id.group,
        "owners": list(project.spec.owners),
        "tags": {"team": project.id.team, "project": project.id.name, **project.spec.tags},
        "kinds": kinds,
    }


def is_forced(context: dg.AssetExecutionContext) -> bool:
    """Whether this run was asked to compute again even when nothing changed."""
    return context.run.tags.get(FORCE_TAG) == "true"
