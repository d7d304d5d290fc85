"""A project's history: its raw data and features, made when they are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.errors import MlopsError

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

    from mlops_assets.config.project import Project
    from resources.settings import Settings


def ensure_history(project: Project, settings: Settings, console: Console) -> None:
    """Make the raw data and the features of the real project, as far as they changed.

    Raises:
        MlopsError: They could not be made.
    """
    from mlops_assets.cli.lifecycle import run_lifecycle

    outcome = run_lifecycle(project, settings, console=console, stages=("raw", "features"))
    if not outcome.success:
        raise MlopsError(
            "the features could not be made",
            where=str(project.id),
            found="; ".join(outcome.failures.values()),
            fix=f"repair it, then try `mlops run {project.id}`",
        )


def load_history(project: Project, settings: Settings, console: Console) -> pa.Table:
    """Every feature row of the project."""
    from mlops_assets.training.table import load_table
    from resources.store import open_store

    ensure_history(project, settings, console)
    store = open_store(settings.store_uri)
    manifest = store.latest(project.id.features_collection)
    if manifest is None:
        raise MlopsError("there are no features", where=str(project.id))
    return load_table(store.files(manifest))
