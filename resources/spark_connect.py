"""A session of Spark Connect: a server somewhere else has the driver and its executors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlops_assets.config.spark import SparkSpec
from mlops_assets.errors import EnvironmentProblemError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MODE = ("SPARK_CONNECT_MODE_ENABLED", "SPARK_REMOTE", "SPARK_LOCAL_REMOTE")
"""What PySpark leaves in the environment of a process that has used a server."""
_SETTINGS = (
    *("spark.sql.session.timeZone", "spark.sql.parquet.", "spark.sql.runSQLOnFiles"),
    "spark.sql.variable.substitute",
)
"""Beginnings of the options that decide results, and are a session's own on a server."""
_RUNNING: dict[str, SparkSession] = {}


def remote_session(spec: SparkSpec, app_name: str, options: Mapping[str, str]) -> SparkSession:
    """The process's one session on a server; one on another server is closed first.

    Args:
        spec: Where the server is, and the project's settings.
        app_name: Name of the session.
        options: Those of a session on this machine; what decides results is taken from them.

    Raises:
        EnvironmentProblemError: The server does not answer, or refuses the settings.
    """
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    identity = spec.model_dump_json()
    if identity in _RUNNING:
        return _RUNNING[identity]
    close_remote_session()
    wanted = {k: v for k, v in options.items() if k.startswith(_SETTINGS)} | spec.settings
    try:
        session = SparkSession.builder.remote(spec.master).appName(app_name).getOrCreate()
        for name, value in wanted.items():
            session.conf.set(name, value)
    except (PySparkException, ImportError, RuntimeError, OSError) as error:
        _leave_mode()
        raise EnvironmentProblemError(
            "the Spark Connect server cannot be used",
            where=spec.master,
            found=" ".join(str(error).split())[:500],
            expected="a server of the same Spark version that accepts the settings",
            fix="look whether the server runs and can be reached, and at the extra `connect` of "
            "pyspark",
        ) from error
    _RUNNING[identity] = session
    return session


def close_remote_session() -> None:
    """Close the process's session on a server, if there is one."""
    while _RUNNING:
        _, session = _RUNNING.popitem()
        try:
            session.stop()
        finally:
            _leave_mode()


def _leave_mode() -> None:
    for name in _MODE:
        os.environ.pop(name, None)
