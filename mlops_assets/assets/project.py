"""All assets of one project as Dagster definitions."""

from __future__ import annotations

import dagster as dg

from mlops_assets.assets.deployment import build_deployment_asset
from mlops_assets.assets.evaluation import build_evaluation_asset
from mlops_assets.assets.features import build_features_asset
from mlops_assets.assets.landing import build_landing_asset
from mlops_assets.assets.landing_by_time import build_landing_by_time
from mlops_assets.assets.model import build_model_asset
from mlops_assets.assets.monitoring import build_monitoring_asset
from mlops_assets.assets.raw import build_raw_asset
from mlops_assets.assets.retrain_decision import build_retrain_decision_asset
from mlops_assets.assets.streams import build_stream_assets
from mlops_assets.config.partitions import partitions_by_time
from mlops_assets.config.project import Project


def build_project_definitions(project: Project) -> dg.Definitions:
    """Raw data to deployment of one project and, where traffic is logged, the way back."""
    return dg.Definitions(
        assets=[
            *_landing(project),
            *(build_raw_asset(project, source) for source in project.spec.sources),
            build_features_asset(project),
            build_model_asset(project),
            build_evaluation_asset(project),
            build_deployment_asset(project),
            *_monitoring(project),
        ]
    )


def _landing(project: Project) -> list[dg.AssetsDefinition]:
    return [
        build_landing_by_time(project, name)
        if partitions_by_time(project.spec.source(name))
        else build_landing_asset(project, name)
        for name in project.spec.growing
    ]


def _monitoring(project: Project) -> list[dg.AssetsDefinition]:
    if not project.spec.is_monitored:
        return []
    return [
        *build_stream_assets(project),
        build_monitoring_asset(project),
        build_retrain_decision_asset(project),
    ]
