"""Another machine takes part in jobs of runs that live, and only in those."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlops_assets.errors import TrainingError
from mlops_assets.training import heartbeat
from mlops_assets.training import join as module
from mlops_assets.training.claim import claimed
from mlops_assets.training.heartbeat import STALE_SECONDS, beating, seconds_since_beat
from mlops_assets.training.job import Job, make_job_folder
from mlops_assets.training.join import join
from mlops_assets.training.preprocessing import fit_preprocessing
from mlops_assets.training.train_bundle import _remove_killed_jobs

TWO = {"distributed": {"nodes": 2, "processes_per_node": 1, "rendezvous": "host:1"}}


@pytest.fixture
def write_job(make_project, table) -> Callable[[Path], Path]:
    """Write a job that wants two machines, as a run that lives."""

    def write(checkpoints: Path) -> Path:
        project = make_project(training=TWO)
        job = Job(
            model=project.spec.model,
            training=project.spec.training,
            preprocessing=fit_preprocessing(table, np.arange(600), project.spec, 4),
            directory=project.directory,
            files={},
            batch=32,
            per_node=1,
            train_rows=400,
            validation_rows=100,
            folder=make_job_folder(checkpoints),
        )
        with beating(job.folder):
            return job.save()

    return write


def _kill(path: Path, seconds: float = STALE_SECONDS + 1) -> None:
    """Leave the job as a run that was killed so long ago."""
    then = time.time() - seconds
    os.utime(path.parent / "heartbeat", (then, then))


def test_without_a_job_a_second_machine_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no training to join") as caught:
        join(tmp_path / "not yet there", wait_seconds=0)
    assert str(tmp_path) in str(caught.value)


def test_the_job_of_a_killed_run_is_not_joined(tmp_path: Path, write_job) -> None:
    killed = write_job(tmp_path / "old")
    _kill(killed)

    with pytest.raises(TrainingError, match="no job of a run that lives"):
        join(tmp_path, wait_seconds=0)
    living = write_job(tmp_path / "new")
    os.utime(killed)  # The newer file is no sign of life.
    assert module._wait_for_job(tmp_path, 0) == living


def test_a_machine_that_joined_a_killed_run_goes_on_to_the_next(
    tmp_path: Path, write_job, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_job(tmp_path / "training")
    joined = []

    def run_agent(_: Job, path: Path, on_poll: Callable[[], None]) -> None:
        joined.append(path)
        on_poll()
        if path != first:
            return
        _kill(first)
        write_job(tmp_path / "training")
        on_poll()
        raise AssertionError("the machine waits for a run that is gone")

    monkeypatch.setattr(module, "run_agent", run_agent)
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.0)
    join(tmp_path, wait_seconds=0)

    assert len(joined) == 2 and joined[0] == first


def test_a_run_beats_while_it_lives_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "_BEAT_SECONDS", 0.02)
    assert seconds_since_beat(tmp_path) is None
    with beating(tmp_path):
        _kill(tmp_path / "job.json")
        end = time.monotonic() + 20
        while (age := seconds_since_beat(tmp_path)) is None or age > STALE_SECONDS:
            assert time.monotonic() < end, "the next beat did not come"
            time.sleep(0.01)
    _kill(tmp_path / "job.json")
    time.sleep(0.1)
    age = seconds_since_beat(tmp_path)
    assert age is not None and age > STALE_SECONDS


def test_rows_of_killed_runs_are_removed_and_those_of_living_ones_kept(tmp_path: Path) -> None:
    killed, living = (make_job_folder(tmp_path / name) for name in ("killed", "living"))
    (killed / "train-numeric.npy").write_bytes(b"rows")
    checkpoint = tmp_path / "killed" / "epoch-000001.safetensors"
    checkpoint.touch()
    with claimed(tmp_path / "living"):
        _remove_killed_jobs(tmp_path)

    assert not killed.exists() and living.exists()
    assert checkpoint.exists(), "its training goes on from it"
