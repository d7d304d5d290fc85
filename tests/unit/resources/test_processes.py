"""Managed processes, with real ones."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from resources.processes import (
    HOST,
    ProcessRecord,
    free_port,
    start_process,
    start_ticks,
    stop_group,
)

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True)"


def start(tmp_path: Path, program: str) -> tuple[ProcessRecord, str]:
    log = tmp_path / "log"
    _process, record = start_process(
        [sys.executable, "-c", program], environment=os.environ, log=log, directory=tmp_path
    )
    end = time.monotonic() + 20
    while time.monotonic() < end and not log.read_text().strip():
        time.sleep(0.02)
    return record, log.read_text().strip()


def test_stopping_a_group_stops_what_it_started(tmp_path: Path) -> None:
    record, child = start(tmp_path, PARENT)
    assert record.is_alive()
    assert start_ticks(int(child)) is not None
    stop_group(record)
    assert not record.is_alive()
    assert start_ticks(int(child)) is None


def test_a_process_that_ignores_a_polite_request_is_ended_by_force(tmp_path: Path) -> None:
    record, _ = start(tmp_path, DEAF + "\ntime.sleep(60)")
    stop_group(record, grace_seconds=0.5)
    assert not record.is_alive()


def test_a_later_process_with_the_same_id_is_not_taken_for_ours() -> None:
    mine = start_ticks(os.getpid())
    assert mine is not None
    stranger = ProcessRecord(os.getpid(), mine - 1)
    assert not stranger.is_alive()
    stop_group(stranger)  # must not end this very test


def test_a_record_is_found_again_only_while_its_process_runs(tmp_path: Path) -> None:
    record, _ = start(tmp_path, "import time; print('on', flush=True); time.sleep(60)")
    record.save(tmp_path / "server.json")
    assert ProcessRecord.load(tmp_path / "server.json") == record
    os.killpg(record.pid, signal.SIGKILL)
    os.waitpid(record.pid, 0)
    assert ProcessRecord.load(tmp_path / "server.json") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_record_means_no_process(tmp_path: Path, content: str) -> None:
    (tmp_path / "server.json").write_text(content)
    assert ProcessRecord.load(tmp_path / "server.json") is None


def test_a_taken_port_is_not_chosen() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
