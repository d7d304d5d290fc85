"""The project's own modules on the workers of a cluster, where they are not installed."""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PACKAGES = ("mlops_assets", "resources")
_ROOT = Path(__file__).parents[2]
_SHIPPED: WeakSet[SparkSession] = WeakSet()


def ship(spark: SparkSession) -> None:
    """Let a session's Python workers import this version of the engine, once for each session.

    They take it before one that is installed there, so that driver and workers are of one version.
    """
    if spark in _SHIPPED:
        return
    folder = Path(tempfile.mkdtemp(prefix="mlops-ship-"))
    archive = folder / "mlops_engine.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for package in _PACKAGES:
            for file in sorted((_ROOT / package).rglob("*.py")):
                packed.write(file, file.relative_to(_ROOT).as_posix())
    if is_connect(spark):
        spark.addArtifacts(str(archive), pyfile=True)
    else:
        before = list(sys.path)
        spark.sparkContext.addPyFile(str(archive))
        sys.path[:] = before  # this process has the modules with their data files
    _SHIPPED.add(spark)


def is_connect(spark: SparkSession) -> bool:
    """Whether a session is a client of Spark Connect."""
    return type(spark).__module__.startswith("pyspark.sql.connect.")
