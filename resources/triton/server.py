"""The embedded Triton: started on loopback, remembered, stopped by its process group."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from mlops_assets.errors import EnvironmentProblemError
from resources.processes import HOST, ProcessRecord, free_port, log_tail, start_process, stop_group
from resources.settings import TRITON_RECORD, Settings
from resources.triton.backends import assemble_backends
from resources.triton.environment import (
    Say,
    ensure_environment,
    link_python_library,
    server_folder,
)

PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}
START_SECONDS = 60.0
START_ATTEMPTS = 3
LOCK_FILE = "start.lock"
ADMINISTRATION = "model-repository,shared-memory,logging,trace"
"""Closed over HTTP, where any web page that a browser on this machine shows could reach it; the
key is nobody's. Models are loaded over gRPC."""
BACKENDS = Path("triton_repo", "backends")
"""The engine's own backends in the checkout."""


@dataclass(frozen=True)
class TritonServer:
    """A running embedded Triton.

    Attributes:
        record: Its process group and ports.
        log: Its log file.
        identity: The name that it answers with.
        process: The process, when this one started it.
    """

    record: ProcessRecord
    log: Path
    identity: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def http_url(self) -> str:
        """Address for clients."""
        return f"http://{HOST}:{self.record.ports['http']}"

    @property
    def grpc_url(self) -> str:
        """Address for gRPC clients and for loading models."""
        return f"{HOST}:{self.record.ports['grpc']}"

    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self.record.is_alive()

    def is_ready(self) -> bool:
        """Whether it answers, and not another server on its port."""
        try:
            answer = requests.get(f"{self.http_url}/v2", timeout=2)
            return bool(answer.ok and answer.json()["name"] == self.identity)
        except (requests.RequestException, KeyError):
            return False

    def stop(self) -> None:
        """Stop it and its backend processes."""
        stop_group(self.record)
        if self.process is not None:
            self.process.wait()


def triton_folder(settings: Settings) -> Path:
    """Where the embedded Triton keeps its environments, log and record."""
    return settings.home / "triton"


def find_triton(settings: Settings) -> TritonServer | None:
    """The embedded Triton that runs now, if any."""
    record = ProcessRecord.load(settings.home / TRITON_RECORD)
    return TritonServer(record, _log(settings), _identity(settings)) if record else None


def ensure_triton(settings: Settings, *, say: Say) -> TritonServer:
    """The embedded Triton, started if it does not run; of two at once, one starts it.

    Raises:
        EnvironmentProblemError: It cannot be installed or does not start.
    """
    with _starting(settings, say):
        running = find_triton(settings)
        if running is not None:
            _wait(running)
            return running
        return start_triton(settings, ensure_environment(settings.triton_environments, say))


def start_triton(settings: Settings, environment: Path) -> TritonServer:
    """Start the server and wait until it answers; models are loaded by the reconciler.

    Raises:
        EnvironmentProblemError: It does not start.
    """
    settings.triton_repository.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, START_ATTEMPTS + 1):
        server = _launch(settings, environment, _choose_ports())
        try:
            _wait(server)
        except BaseException as error:
            server.stop()
            lost_port = isinstance(error, EnvironmentProblemError) and _is_taken(server.record)
            if attempt == START_ATTEMPTS or not lost_port:
                raise
        else:
            return server
    raise AssertionError("the last attempt returns or raises")


def _launch(settings: Settings, environment: Path, ports: dict[str, int]) -> TritonServer:
    """A server under way; it is remembered at once, so that a kill from here on loses none."""
    process, record = start_process(
        _command(settings, environment, ports),
        environment=_variables(environment),
        log=_log(settings),
        directory=settings.home,
        ports=ports,
    )
    record.save(settings.home / TRITON_RECORD)
    return TritonServer(record, _log(settings), _identity(settings), process)


@contextmanager
def _starting(settings: Settings, say: Say) -> Iterator[None]:
    """One process at a time starts a server; the lock ends with its process."""
    folder = triton_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process starts the embedded Triton; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_taken(record: ProcessRecord) -> bool:
    """Whether another server was faster on one of the ports."""
    return any(free_port(port) != port for port in record.ports.values())


def _identity(settings: Settings) -> str:
    """The server's name, by which it is told from another one on the same port."""
    return f"mlops-{hashlib.sha256(str(settings.home).encode()).hexdigest()[:12]}"


def _choose_ports() -> dict[str, int]:
    ports: dict[str, int] = {}
    last = PORTS["http"] - 1
    for name, preferred in PORTS.items():
        last = ports[name] = free_port(max(preferred, last + 1))
    return ports


def _command(settings: Settings, environment: Path, ports: dict[str, int]) -> list[str]:
    server = server_folder(environment)
    ours = settings.root / BACKENDS
    folder = triton_folder(settings) / "backends"
    command = [
        str(server / "bin" / "tritonserver"),
        f"--model-repository={settings.triton_repository}",
        f"--backend-directory={assemble_backends(environment, ours, folder)}",
        f"--cache-directory={server / 'caches'}",
        f"--id={_identity(settings)}",
        f"--http-restricted-api={ADMINISTRATION}:X-Key={secrets.token_hex(16)}",
        "--model-control-mode=explicit",
        "--disable-auto-complete-config",
        "--exit-timeout-secs=5",
        "--allow-gpu-metrics=false",
        "--metrics-config=summary_latencies=true",
    ]
    for name, port in ports.items():
        command += [f"--{name}-address={HOST}", f"--{name}-port={port}"]
    return command


def _variables(environment: Path) -> dict[str, str]:
    """The server's environment: no secrets, nothing of this Python's; PATH chooses its own."""
    passed = ("HOME", "LANG", "LC_ALL", "TMPDIR", "CUDA_VISIBLE_DEVICES")
    kept = {name: os.environ[name] for name in passed if name in os.environ}
    kept["PATH"] = f"{environment / 'bin'}:/usr/bin:/bin"
    library = link_python_library(environment)
    if library is not None:
        kept["LD_LIBRARY_PATH"] = str(library)
    return kept


def _wait(server: TritonServer) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.is_ready():
            return
        if not server.is_alive():
            break
        time.sleep(0.1)
    raise EnvironmentProblemError(
        "Triton did not start",
        where=server.log,
        found=log_tail(server.log),
        expected=f"an answer from {server.http_url} within {START_SECONDS:.0f} s",
        fix="read the log; a Python backend that cannot start often lacks libpython3.11",
    )


def _log(settings: Settings) -> Path:
    return triton_folder(settings) / "server.log"
