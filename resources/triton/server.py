"""The embedded Triton: started on loopback, remembered, stopped by its process group."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import requests

from mlops_assets.errors import EnvironmentProblemError
from resources.processes import HOST, ProcessRecord, free_port, log_tail, start_process, stop_group
from resources.settings import TRITON_RECORD, Settings
from resources.triton.environment import Say, ensure_environment, python_library, server_folder

PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}
START_SECONDS = 60.0
BACKEND = Path("backends", "onnxruntime", "model.py")
"""Our Python-based backend, inside the checked-out model repository's folder."""


@dataclass(frozen=True)
class TritonServer:
    """A running embedded Triton.

    Attributes:
        record: Its process group and ports.
        log: Its log file.
        process: The process, when this one started it.
    """

    record: ProcessRecord
    log: Path
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
        """Whether it answers."""
        try:
            return requests.get(f"{self.http_url}/v2/health/live", timeout=2).ok
        except requests.RequestException:
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
    return TritonServer(record, _log(settings)) if record else None


def ensure_triton(settings: Settings, *, say: Say) -> TritonServer:
    """The embedded Triton, started if it does not run.

    Raises:
        EnvironmentProblemError: It cannot be installed or does not start.
    """
    running = find_triton(settings)
    if running is not None:
        return running
    environment = ensure_environment(
        Path(os.environ.get("MLOPS_TRITON_ENVIRONMENTS", triton_folder(settings))), say
    )
    return start_triton(settings, environment)


def start_triton(settings: Settings, environment: Path) -> TritonServer:
    """Start the server and wait until it answers; models are loaded by the reconciler."""
    settings.triton_repository.mkdir(parents=True, exist_ok=True)
    ports = _choose_ports()
    process, record = start_process(
        _command(settings, environment, ports),
        environment=_variables(environment),
        log=_log(settings),
        directory=settings.home,
        ports=ports,
    )
    server = TritonServer(record, _log(settings), process)
    try:
        _wait(server)
    except EnvironmentProblemError:
        server.stop()
        raise
    record.save(settings.home / TRITON_RECORD)
    return server


def _choose_ports() -> dict[str, int]:
    ports: dict[str, int] = {}
    last = PORTS["http"] - 1
    for name, preferred in PORTS.items():
        last = ports[name] = free_port(max(preferred, last + 1))
    return ports


def _command(settings: Settings, environment: Path, ports: dict[str, int]) -> list[str]:
    server = server_folder(environment)
    command = [
        str(server / "bin" / "tritonserver"),
        f"--model-repository={settings.triton_repository}",
        f"--backend-directory={_install_backend(settings, environment)}",
        f"--cache-directory={server / 'caches'}",
        "--model-control-mode=explicit",
        "--disable-auto-complete-config",
        "--exit-timeout-secs=5",
        "--allow-gpu-metrics=false",
        "--metrics-config=summary_latencies=true",
    ]
    for name, port in ports.items():
        command += [f"--{name}-address={HOST}", f"--{name}-port={port}"]
    return command


def _install_backend(settings: Settings, environment: Path) -> Path:
    """The backend folder with the engine's own backend as it is now in the checkout."""
    folder = environment / "backends"
    source = settings.root / "triton_repo" / BACKEND
    target = folder / "onnxruntime" / "model.py"
    target.parent.mkdir(exist_ok=True)
    draft = target.with_suffix(f".{os.getpid()}")
    draft.write_bytes(source.read_bytes())
    draft.replace(target)
    return folder


def _variables(environment: Path) -> dict[str, str]:
    """The server's environment: no secrets, nothing of this Python's; PATH chooses its own."""
    passed = ("HOME", "LANG", "LC_ALL", "TMPDIR", "CUDA_VISIBLE_DEVICES")
    kept = {name: os.environ[name] for name in passed if name in os.environ}
    kept["PATH"] = f"{environment / 'bin'}:/usr/bin:/bin"
    library = python_library()
    if library is not None and library != Path():
        kept["LD_LIBRARY_PATH"] = str(library)
    return kept


def _wait(server: TritonServer) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if server.is_ready():
            return
        if server.process is not None and server.process.poll() is not None:
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
