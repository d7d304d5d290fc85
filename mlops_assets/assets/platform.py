"""The platform as a Dagster resource: settings, store, Spark and Triton, opened when used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from mlops_assets.config.project import Project
    from resources.settings import Settings
    from resources.store import Store


class PlatformResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where the engine keeps its state and finds its servers.

    Everything comes from the environment (``MLOPS_HOME``, ``MLOPS_STORE_URI``, …) when an asset
    runs, never when definitions load.
    """

    root: str | None = None
    """Project root; by default found from the working directory."""

    def settings(self) -> Settings:
        """The settings as of now."""
        from resources.settings import Settings

        root = Path(self.root) if self.root else None
        return Settings.from_environment(root=root)

    def store(self) -> Store:
        """The store of data sets, bundles and the ledger."""
        from resources.store import open_store

        return open_store(self.settings().store_uri)

    def spark(self, project: Project) -> SparkSession:
        """The process's one Spark session, where the project or its team wants it.

        Raises:
            ConfigError: The team's settings are wrong.
            EnvironmentProblemError: It does not start.
        """
        from mlops_assets.config.team import team_spark
        from resources.spark import spark_session

        settings = self.settings()
        spec = project.spec.spark or team_spark(project.id.team, settings.root, os.environ)
        return spark_session(home=settings.home, spec=spec)
