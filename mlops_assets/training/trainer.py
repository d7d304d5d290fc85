"""Trains a project's model on its features."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.project import Project
from mlops_assets.models import numeric_bins
from mlops_assets.training.asked import Asked, Trained
from mlops_assets.training.claim import claimed
from mlops_assets.training.device import (
    choose_compute,
    device_name,
    torch_threads,
    usable_cores,
)
from mlops_assets.training.launch import train_in_processes
from mlops_assets.training.placement import Placement
from mlops_assets.training.preprocessing import Preprocessing, fit_preprocessing
from mlops_assets.training.processes import process_count
from mlops_assets.training.result import EpochResult, TrainingResult
from mlops_assets.training.schedule import batch_size
from mlops_assets.training.split import Split

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["EpochResult", "OnEpoch", "TrainingResult", "train", "train_claimed"]

OnEpoch = Callable[[EpochResult], None]


def train(
    table: pa.Table,
    split: Split,
    project: Project,
    *,
    checkpoints: Path,
    on_epoch: OnEpoch | None = None,
) -> TrainingResult:
    """Fit preprocessing and weights on the training rows.

    A checkpoint in the folder is taken up: the result is that of an uninterrupted training. While
    another run trains in the folder, this one waits. The caller's torch random state stays as it
    is.

    Args:
        table: Features.
        split: Its division into rows; test rows are not looked at.
        project: The project.
        checkpoints: A folder for this training alone, such as one named by its training key.
        on_epoch: Called after each epoch of this call.

    Raises:
        TrainingError: The loss is not finite, memory runs out, there is no CUDA device where one
            is asked for, the labels cannot be learnt from, or a training process dies again and
            again.
        SchemaError: A column is missing or of the wrong type.
        ConfigError: A custom model's file is unusable.
        EnvironmentProblemError: The folder's file system has no locks.
    """
    with claimed(checkpoints):
        return train_claimed(table, split, project, checkpoints=checkpoints, on_epoch=on_epoch)


def train_claimed(
    table: pa.Table,
    split: Split,
    project: Project,
    *,
    checkpoints: Path,
    on_epoch: OnEpoch | None = None,
) -> TrainingResult:
    """As :func:`train`, for a caller that holds the folder by ``claimed``."""
    started = time.perf_counter()
    spec = project.spec.training
    compute = choose_compute(spec)
    with _private_randomness(spec.seed), torch_threads(usable_cores()):
        preprocessing = fit_preprocessing(
            table, split.train, project.spec, numeric_bins(project.spec.model)
        )
        asked = Asked(table, split, project, preprocessing, compute, checkpoints)
        processes = process_count(spec, compute)
        trained = (
            train_in_processes(asked, processes, on_epoch)
            if processes.total > 1
            else _train_here(asked, on_epoch)
        )
        _fill_untrained(trained, preprocessing)
    return TrainingResult(
        module=trained.core,
        preprocessing=preprocessing,
        history=trained.history,
        best_epoch=trained.best_epoch,
        seconds=time.perf_counter() - started,
        device=compute.device,
        precision=compute.precision,
        batch_size=trained.batch_size,
        resumed_from=trained.resumed_from,
        placement=trained.placement,
    )


@contextmanager
def _private_randomness(seed: int) -> Iterator[None]:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _train_here(asked: Asked, on_epoch: OnEpoch | None) -> Trained:
    """In this process alone."""
    from mlops_assets.training.core import build_core
    from mlops_assets.training.device import torch_device
    from mlops_assets.training.loop import Loop
    from mlops_assets.training.rows import place_rows
    from mlops_assets.training.world import World

    table, split, known, compute = asked.table, asked.split, asked.preprocessing, asked.compute
    spec = asked.project.spec.training
    core = build_core(asked.project, known).to(torch_device(compute))
    validation = place_rows(table, split.validation, known, core.encoder, compute)
    loop = Loop(
        core,
        known.label,
        train=place_rows(table, split.train, known, core.encoder, compute),
        validation=validation,
        rows=len(split.train),
        spec=spec,
        compute=compute,
        batch=batch_size(spec, len(split.train)),
        checkpoints=asked.checkpoints,
        cores=usable_cores(),
        world=World(),
    )
    resumed = loop.resume()
    loop.run(on_epoch)
    fit = loop.fit
    fit.load_best()
    return Trained(
        core=core.cpu().eval(),
        history=tuple(fit.history),
        best_epoch=fit.best_epoch,
        batch_size=fit.batch,
        resumed_from=resumed,
        categorical=loop.train.categorical.cpu(),
        placement=Placement(1, 1, None, (device_name(compute),), (len(split.train),)),
    )


def _fill_untrained(trained: Trained, preprocessing: Preprocessing) -> None:
    """Give untrained buckets the average category."""
    import torch

    fill = getattr(trained.core.network, "fill_untrained", None)
    if callable(fill):
        counts = [
            torch.bincount(trained.categorical[:, place], minlength=column.cardinality)
            for place, column in enumerate(preprocessing.categorical)
        ]
        fill([column.untrained for column in preprocessing.categorical], counts)
