"""What the UI shows in place of a project that cannot be loaded."""

from __future__ import annotations

import dagster as dg

from mlops_assets.keys import ProjectId


def build_broken_definitions(project: ProjectId, message: str) -> dg.Definitions:
    """A visible placeholder: the project's error is the asset's description.

    It cannot be materialized, so nothing downstream mistakes it for a working project.
    """
    return dg.Definitions(
        assets=[
            dg.AssetSpec(
                key=dg.AssetKey([project.team, project.name, "CONFIG_ERROR"]),
                group_name=project.group,
                description=f"**This project is disabled: its configuration has errors.**\n\n"
                f"```\n{message}\n```\n\nRun `mlops check {project}` after the repair.",
                kinds={"error"},
                tags={"team": project.team, "project": project.name},
            )
        ]
    )
