"""``python -m mlops_assets.training.join <folder>``: another machine's part of a training.

With ``training.distributed.nodes`` of N, the run of the model asset is the first machine; each of
the N - 1 others runs this on the same shared folder, ``$MLOPS_HOME/checkpoints/<team>/<project>``.
It waits for a job that some run writes there, takes part in it, and ends with it. When the run is
killed, it waits for the next one's job.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

from mlops_assets.errors import TrainingError
from mlops_assets.training.heartbeat import STALE_SECONDS, seconds_since_beat
from mlops_assets.training.job import NAME, Job, job_folders
from mlops_assets.training.launch import run_agent

_POLL_SECONDS = 1.0
_log = logging.getLogger(__name__)


def join(folder: Path, *, wait_seconds: float) -> None:
    """Take part in the newest job under the folder that wants more machines and whose run lives.

    Args:
        folder: Where the project's checkpoints lie, shared with the first machine.
        wait_seconds: How long to wait for one.

    Raises:
        TrainingError: There is none, or a process of this machine failed.
        MlopsError: What a process raised on purpose.
    """
    while True:
        path = _wait_for_job(folder, wait_seconds)
        _log.info("joining %s", path)
        try:
            return run_agent(Job.load(path), path, _RunWatch(path.parent))
        except _RunGoneError:
            _log.warning("the run of %s is gone: waiting for another", path)


class _RunGoneError(Exception):
    """The run of the joined job was killed."""


class _RunWatch:
    """Ends this machine's part of a job whose run was killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._looked = self._seen = time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._looked < _POLL_SECONDS:
            return
        self._looked, age = now, seconds_since_beat(self._folder)
        if age is not None and age < STALE_SECONDS:
            self._seen = now
        # A run that ends removes its job while this machine's processes still end.
        elif age is not None or now - self._seen > STALE_SECONDS:
            raise _RunGoneError


def _wait_for_job(folder: Path, wait_seconds: float) -> Path:
    end = time.monotonic() + wait_seconds
    while True:
        newest = _newest_job(folder)
        if newest is not None:
            return newest
        if time.monotonic() >= end:
            raise TrainingError(
                "there is no training to join",
                where=folder,
                found=f"no job of a run that lives after {wait_seconds:.0f} seconds",
                expected=f"<training>/<job>/{NAME}, by a run of the model asset",
                fix="start the run, or look whether both machines see the same folder",
            )
        time.sleep(_POLL_SECONDS)


def _newest_job(folder: Path) -> Path | None:
    found: list[tuple[float, Path]] = []
    for job in job_folders(folder):
        age = seconds_since_beat(job)
        if age is None or age >= STALE_SECONDS:  # Its run was killed.
            continue
        path = job / NAME
        try:
            if Job.load(path).distributed.nodes > 1:
                found.append((path.stat().st_mtime, path))
        except FileNotFoundError:  # Its run has just begun, or ended.
            continue
    return max(found)[1] if found else None


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--wait-seconds", type=float, default=600.0)
    options = parser.parse_args()
    join(options.folder, wait_seconds=options.wait_seconds)
