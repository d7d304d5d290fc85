"""One run at a time in a training's folder."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlops_assets.errors import EnvironmentProblemError
from mlops_assets.training.claim import claimed, claimed_if_free, lock_path
from mlops_assets.training.job import make_job_folder
from mlops_assets.training.split import split_rows
from mlops_assets.training.trainer import train

HOLD_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from mlops_assets.training.claim import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


class Waiting(logging.Handler):
    """Knows when a run has said that it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.is_told = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "waiting for its end" in record.getMessage():
            self.is_told.set()


@pytest.fixture
def waiting() -> Waiting:
    handler = Waiting()
    logger = logging.getLogger("mlops_assets.training.claim")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_a_second_run_of_a_training_waits_and_takes_up_what_the_first_left(
    make_project, table, tmp_path: Path, waiting: Waiting
) -> None:
    project = make_project(training={"epochs": 4, "early_stopping": 0})
    split, folder = split_rows(table, project.spec), tmp_path / "run"
    epochs: list[str] = []

    def second():
        return train(
            table, split, project, checkpoints=folder, on_epoch=lambda _: epochs.append("second")
        )

    with ThreadPoolExecutor(1) as pool:
        futures = []

        def start_the_second(epoch) -> None:
            epochs.append("first")
            if epoch.epoch == 2:
                futures.append(pool.submit(second))
                assert waiting.is_told.wait(30), "the second run says that it waits"

        first = train(table, split, project, checkpoints=folder, on_epoch=start_the_second)
        again = futures[0].result(60)

    assert epochs == ["first"] * 4
    assert (first.resumed_from, again.resumed_from) == (None, 4)
    assert again.history == first.history


def test_the_lock_goes_with_the_folder_and_those_who_waited_still_take_turns(
    tmp_path: Path, waiting: Waiting
) -> None:
    folder = tmp_path / "run"
    inside: list[int] = []

    def enter() -> None:
        with claimed(folder):
            inside.append(1)
            assert len(inside) == 1
            inside.pop()

    with ThreadPoolExecutor(4) as pool:
        with claimed(folder):
            futures = [pool.submit(enter) for _ in range(4)]
            assert waiting.is_told.wait(30)
        for future in futures:
            future.result(30)
    assert not lock_path(folder).exists(), "without checkpoints there is nothing to protect"


def test_a_killed_run_gives_its_folder_back(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLD_UNTIL_KILLED, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with claimed_if_free(folder) as is_held:
            assert not is_held
        other.send_signal(signal.SIGKILL)
        other.wait()
    with claimed_if_free(folder) as is_held:
        assert is_held


def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(EnvironmentProblemError, match="No locks available") as caught,
        claimed(tmp_path / "run"),
    ):
        pass
    assert "NFS v4" in str(caught.value)


def test_each_run_has_a_job_folder_of_its_own(tmp_path: Path) -> None:
    first, second = make_job_folder(tmp_path), make_job_folder(tmp_path)

    assert first != second
    assert first.stat().st_mode & 0o077 == 0, "it will hold rows"
