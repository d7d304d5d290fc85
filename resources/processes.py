"""Server processes that the engine starts: each in its own group, remembered, stopped by group."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PID_SPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class ProcessRecord:
    """A started process, as a later command finds it again.

    Attributes:
        pid: Process id, also the id of its process group.
        start_ticks: Start time in clock ticks since boot; tells it from a later process that got
            the same id.
        ports: Port by name.
    """

    pid: int
    start_ticks: int
    ports: dict[str, int] = field(default_factory=dict)

    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        return start_ticks(self.pid) == self.start_ticks

    def save(self, path: Path) -> None:
        """Write the record, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{uuid.uuid4().hex}")
        draft.write_text(json.dumps(asdict(self)), encoding="utf-8")
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> ProcessRecord | None:
        """The record of a process that still runs, if there is one."""
        try:
            record = cls(**json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return record if record.is_alive() else None


def start_process(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    log: Path,
    directory: Path,
    ports: Mapping[str, int] | None = None,
) -> tuple[subprocess.Popen[bytes], ProcessRecord]:
    """Start a process in a group of its own, with its output in a log file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    ticks = start_ticks(process.pid) or 0
    return process, ProcessRecord(process.pid, ticks, dict(ports or {}))


def machine_identity() -> str:
    """Short name of that within which a process id means one process: a boot, and a container.

    Host names do not tell: containers share their host's, and machines may have the same.
    """
    try:
        boot = BOOT_ID.read_text(encoding="utf-8").strip()
    except OSError:
        boot = socket.gethostname()
    try:
        space = str(PID_SPACE.readlink())
    except OSError:
        space = ""
    return hashlib.sha256(f"{boot} {space}".encode()).hexdigest()[:12]


def start_ticks(pid: int) -> int | None:
    """Start time of a running process in clock ticks since boot (``/proc/<pid>/stat``, field 22).

    None when there is no such process, or only its remains.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def stop_group(record: ProcessRecord, *, grace_seconds: float = 10.0) -> None:
    """Stop a process and everything it started: politely, then by force."""
    if not record.is_alive():
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(record.pid, number)
        except ProcessLookupError:
            return
        end = time.monotonic() + grace_seconds
        while time.monotonic() < end:
            if not _group_runs(record.pid):
                return
            time.sleep(0.1)


def _group_runs(group: int) -> bool:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] not in {"Z", "X"}:
            return True
    return False


def free_port(preferred: int) -> int:
    """The preferred loopback port, or the next free one after it."""
    for port in range(preferred, preferred + 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port from {preferred} to {preferred + 199}")


def log_tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log file."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
