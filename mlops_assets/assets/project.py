"""All assets of one project as Dagster definitions."""

from __future__ import annotations

import dagster as dg

from mlops_assets.assets.deployment import build_deployment_asset
from mlops_assets.assets.evaluation import build_evaluation_asset
from mlops_assets.assets.features import build_features_asset
from mlops_assets.assets.model import build_model_asset
from mlops_assets.assets.raw import build_raw_asset
from mlops_assets.config.project import Project


def build_project_definitions(project: Project) -> dg.Definitions:
    """Raw data, features, model, evaluation and deployment of one project."""
    return dg.Definitions(
        assets=[
            *(build_raw_asset(project, source) for source in project.spec.sources),
            build_features_asset(project),
            build_model_asset(project),
            build_evaluation_asset(project),
            build_deployment_asset(project),
        ]
    )
