"""Scratch folders in a place that machines share: each removes its own dead processes' only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resources import processes
from resources.processes import machine_identity, start_ticks
from resources.scratch import KEPT, scratch_folder


@pytest.fixture
def another_machine(monkeypatch: pytest.MonkeyPatch) -> str:
    """What this process takes for its machine from now on."""
    monkeypatch.setattr("resources.scratch.machine_identity", lambda: "0123456789ab")
    return "0123456789ab"


def test_a_folder_is_the_processes_own(tmp_path: Path) -> None:
    made = scratch_folder(tmp_path / "spark")
    assert made.is_dir()
    assert made.name == f"{machine_identity()}-{os.getpid()}-{start_ticks(os.getpid())}"
    assert scratch_folder(tmp_path / "spark") == made


def test_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from resources.scratch import scratch_folder;"
        "(scratch_folder(Path(sys.argv[1])) / 'spill').touch()"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    (left,) = tmp_path.iterdir()
    assert scratch_folder(tmp_path) != left
    assert not left.exists()


def test_another_machines_folder_stays_whatever_runs_here(
    tmp_path: Path, another_machine: str
) -> None:
    theirs = tmp_path / f"ba9876543210-{os.getpid()}-1"
    theirs.mkdir()
    mine = scratch_folder(tmp_path)
    assert mine.name.startswith(another_machine)
    assert theirs.is_dir()


def test_another_machines_folder_goes_when_it_is_very_old(tmp_path: Path) -> None:
    theirs = tmp_path / "ba9876543210-7-1"
    theirs.mkdir()
    (theirs / "spill").touch()
    long_ago = theirs.stat().st_mtime - KEPT.total_seconds() - 60
    os.utime(theirs, (long_ago, long_ago))
    scratch_folder(tmp_path)
    assert theirs.is_dir()  # a file in it is young
    os.utime(theirs / "spill", (long_ago, long_ago))
    scratch_folder(tmp_path)
    assert not theirs.exists()


@pytest.mark.parametrize("name", ["notes-old", "12-34", "a-b-c", ".hidden-1-2", "x"])
def test_other_folders_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    os.utime(tmp_path / name, (0, 0))
    scratch_folder(tmp_path)
    assert (tmp_path / name).is_dir()


def test_a_machine_is_one_boot_and_one_space_of_process_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {machine_identity()}
    boot, space = processes.BOOT_ID, processes.PID_SPACE
    other = tmp_path / "boot_id"
    other.write_text("another boot\n")
    (tmp_path / "pid").symlink_to("pid:[1]")
    for paths in [(other, space), (boot, tmp_path / "pid"), (tmp_path / "none", space)]:
        monkeypatch.setattr(processes, "BOOT_ID", paths[0])
        monkeypatch.setattr(processes, "PID_SPACE", paths[1])
        names.add(machine_identity())
    assert len(names) == 4
    assert all(len(name) == 12 for name in names)
