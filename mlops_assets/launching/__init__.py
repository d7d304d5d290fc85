"""How runs are started: what a project's ``compute:`` asks for becomes run tags, and tags choose.

``dagster.yaml`` names :class:`TaggedRunLauncher` and :class:`ProjectRunCoordinator` from here.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ProjectRunCoordinator", "TaggedRunLauncher"]


def __getattr__(name: str) -> Any:
    """The two classes, imported when a Dagster instance asks for them (PEP 562)."""
    if name == "ProjectRunCoordinator":
        from mlops_assets.launching.coordinator import ProjectRunCoordinator

        return ProjectRunCoordinator
    if name == "TaggedRunLauncher":
        from mlops_assets.launching.launcher import TaggedRunLauncher

        return TaggedRunLauncher
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
