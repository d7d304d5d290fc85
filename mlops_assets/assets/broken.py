"""What the UI shows in place of a project that cannot be loaded."""

from __future__ import annotations

import re

import dagster as dg


def build_broken_definitions(team: str, folder: str, message: str) -> dg.Definitions:
    """A visible placeholder: the error is the asset's description.

    It cannot be materialized, so nothing downstream mistakes it for a working project.

    Args:
        team: The team's folder name.
        folder: The project's folder name, usable or not.
        message: Why it was not loaded.
    """
    return dg.Definitions(
        assets=[
            dg.AssetSpec(
                key=dg.AssetKey([team, folder, "CONFIG_ERROR"]),
                group_name=re.sub(r"[^A-Za-z0-9_]", "_", f"{team}__{folder}"),
                description=f"**This project is disabled: it has errors.**\n\n"
                f"```\n{message}\n```\n\nRun `mlops check {team}/{folder}` after the repair.",
                kinds={"error"},
                tags={"team": team},
            )
        ]
    )
