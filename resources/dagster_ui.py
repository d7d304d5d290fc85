"""Dagster's web server, daemon and code servers as one managed process group."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import requests

from mlops_assets.errors import EnvironmentProblemError
from resources.dagster_home import ensure_dagster_home
from resources.processes import HOST, ProcessRecord, free_port, log_tail, start_process, stop_group
from resources.settings import Settings

DEFAULT_PORT = 3000
START_SECONDS = 180.0


@dataclass(frozen=True)
class DagsterServer:
    """A running Dagster.

    Attributes:
        record: Its process group.
        log: Its log file.
        process: The process, when this one started it.
    """

    record: ProcessRecord
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of the UI."""
        return f"http://{HOST}:{self.record.ports['http']}"

    def wait_until_ready(self, timeout_seconds: float = START_SECONDS) -> None:
        """Wait for the UI to answer.

        Raises:
            EnvironmentProblemError: It ended or did not answer in time; the log's end is shown.
        """
        end = time.monotonic() + timeout_seconds
        while time.monotonic() < end:
            if self.process is not None and self.process.poll() is not None:
                break
            try:
                if requests.get(f"{self.url}/server_info", timeout=2).ok:
                    return
            except requests.RequestException:
                time.sleep(0.5)
        raise EnvironmentProblemError(
            "Dagster did not start",
            where=self.log,
            found=log_tail(self.log),
            expected=f"an answer from {self.url} within {timeout_seconds:.0f} s",
            fix="read the log; `mlops check` shows configuration errors",
        )

    def stop(self) -> None:
        """Stop the web server, the daemon and the code servers."""
        stop_group(self.record)
        if self.process is not None:
            self.process.wait()


def find_dagster(settings: Settings) -> DagsterServer | None:
    """The Dagster that an earlier command started and that still runs, if any."""
    record = ProcessRecord.load(_record_path(settings))
    return None if record is None else DagsterServer(record, _log_path(settings))


def start_dagster(settings: Settings, port: int = DEFAULT_PORT) -> DagsterServer:
    """Start ``dagster dev`` on loopback; it does not wait for it to be ready.

    Raises:
        EnvironmentProblemError: The settings name an instance that somebody else runs.
    """
    if settings.dagster_home is not None:
        raise EnvironmentProblemError(
            "a Dagster of its own would run beside the one that is there",
            found=f"MLOPS_DAGSTER_HOME={settings.dagster_home}",
            expected="no MLOPS_DAGSTER_HOME",
            fix="unset it, or use the instance that runs (see docs/production.md)",
        )
    chosen = free_port(port)
    command = [sys.executable, "-m", "dagster", "dev"]
    command += ["--workspace", str(settings.root / "workspace.yaml")]
    command += ["--host", HOST, "--port", str(chosen)]
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(ensure_dagster_home(settings)),
        "MLOPS_ROOT": str(settings.root),
        "MLOPS_HOME": str(settings.home),
        "PYTHONUNBUFFERED": "1",
    }
    log = _log_path(settings)
    process, record = start_process(
        command, environment=environment, log=log, directory=settings.root, ports={"http": chosen}
    )
    record.save(_record_path(settings))
    return DagsterServer(record, log, process)


def _record_path(settings: Settings) -> Path:
    return settings.home / "dagster" / "server.json"


def _log_path(settings: Settings) -> Path:
    return settings.home / "dagster" / "server.log"
