"""A training in several processes, as seen by the run that asks for it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mlops_assets
from mlops_assets.errors import TrainingError
from mlops_assets.training.asked import Asked, Trained
from mlops_assets.training.failures import failure, is_final
from mlops_assets.training.heartbeat import beating
from mlops_assets.training.job import (
    EPOCHS,
    Job,
    make_job_folder,
    read_array,
    remove_jobs,
    write_rows,
)
from mlops_assets.training.placement import read_placement
from mlops_assets.training.processes import Processes
from mlops_assets.training.result import EpochResult
from mlops_assets.training.schedule import batch_size
from resources.processes import log_tail, start_process, stop_group

LOG = "torchrun.log"
_POLL_SECONDS = 0.1
_SHOWN_LINES = 5


def train_in_processes(
    asked: Asked, processes: Processes, on_epoch: Callable[[EpochResult], None] | None
) -> Trained:
    """Train by torchrun, and take up the result from its last checkpoint.

    The rows are written for the processes, each of which reads its shard alone; they are removed
    in the end. The caller holds the folder of the checkpoints by ``claimed``.

    Raises:
        TrainingError: There are fewer rows than processes, or a process failed for good.
        MlopsError: What a process raised on purpose.
    """
    from mlops_assets.training.checkpoint import latest_checkpoint

    _require_rows(asked, processes)
    before = latest_checkpoint(asked.checkpoints)
    remove_jobs(asked.checkpoints)
    folder = make_job_folder(asked.checkpoints)
    try:
        job = _write_job(asked, processes, folder)
        with beating(folder):
            run_agent(job, job.save(), _EpochTeller(folder, on_epoch).tell_new)
        return _trained(asked, job, before.epoch or None if before else None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_rows(asked: Asked, processes: Processes) -> None:
    fewest = min(len(asked.split.train), len(asked.split.validation))
    if fewest < processes.total:
        raise TrainingError(
            "there are fewer rows than processes",
            where="training.distributed",
            found=f"{len(asked.split.train)} training and {len(asked.split.validation)} "
            f"validation rows for {processes.total} processes",
            expected="at least one row of each for each process",
            fix="take fewer processes",
        )


def _write_job(asked: Asked, processes: Processes, folder: Path) -> Job:
    spec, split = asked.project.spec, asked.split
    for name, rows in (("train", split.train), ("validation", split.validation)):
        write_rows(folder, name, asked.table, rows, asked.preprocessing)
    return Job(
        model=spec.model,
        training=spec.training,
        preprocessing=asked.preprocessing,
        directory=asked.project.directory,
        files=dict(asked.project.files),
        batch=batch_size(spec.training, len(split.train)),
        per_node=processes.per_node,
        train_rows=len(split.train),
        validation_rows=len(split.validation),
        folder=folder,
    )


def run_agent(job: Job, path: Path, on_poll: Callable[[], None]) -> None:
    """Run this machine's processes of a job to their end; none is left, whatever happens.

    Args:
        job: The job.
        path: Its file.
        on_poll: Called again and again meanwhile, and once in the end; what it raises ends the
            processes.

    Raises:
        MlopsError: What a process raised on purpose.
        TrainingError: A process died more often than it may.
    """
    package = str(Path(mlops_assets.__file__).parents[1])
    paths = [package, os.environ.get("PYTHONPATH", "")]
    log = job.folder / f"{os.getpid()}-{LOG}"
    process, record = start_process(
        [sys.executable, "-m", "mlops_assets.training.agent", path, str(os.getpid())],
        environment={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        log=log,
        directory=job.folder,
    )
    try:
        while process.poll() is None:
            on_poll()
            time.sleep(_POLL_SECONDS)
        on_poll()
    finally:
        stop_group(record)
    if process.returncode == 0 and not is_final(job.folder):
        return
    raise failure(job.folder, job.distributed) or TrainingError(
        "torchrun failed",
        where="training.distributed",
        found=f"exit status {process.returncode}: {log_tail(log, _SHOWN_LINES)}",
    )


class _EpochTeller:
    """Tells each epoch once, also one that was done again after a restart."""

    def __init__(self, folder: Path, on_epoch: Callable[[EpochResult], None] | None) -> None:
        self._path = folder / EPOCHS
        self._on_epoch = on_epoch
        self._told = 0

    def tell_new(self) -> None:
        """Tell the epochs after the last one told."""
        if self._on_epoch is None or not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8").split("\n")[:-1]:
            result = EpochResult(**json.loads(line))
            if result.epoch > self._told:
                self._told = result.epoch
                self._on_epoch(result)


def _trained(asked: Asked, job: Job, resumed_from: int | None) -> Trained:
    import torch

    from mlops_assets.training.agreement import read_last
    from mlops_assets.training.checkpoint import under
    from mlops_assets.training.core import build_core

    checkpoint = read_last(job.checkpoints, job.folder)
    core = build_core(asked.project, asked.preprocessing)
    core.network.load_state_dict(under("best", checkpoint.tensors))
    state = checkpoint.state
    return Trained(
        core=core.eval(),
        history=tuple(EpochResult(**result) for result in state["history"]),
        best_epoch=state["best_epoch"],
        batch_size=state["batch"],
        resumed_from=resumed_from,
        categorical=torch.from_numpy(read_array(job.folder, "train", "categorical")),
        placement=read_placement(job.folder, job.distributed.nodes),
    )
