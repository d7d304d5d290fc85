"""Trains a project's model on its features."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.project import Project
from mlops_assets.config.training import TrainingSpec
from mlops_assets.errors import TrainingError
from mlops_assets.models import numeric_bins
from mlops_assets.training.device import (
    Compute,
    choose_compute,
    is_out_of_memory,
    torch_threads,
    usable_cores,
)
from mlops_assets.training.preprocessing import fit_preprocessing
from mlops_assets.training.result import EpochResult, TrainingResult
from mlops_assets.training.schedule import batch_size
from mlops_assets.training.split import Split

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.training.core import Core
    from mlops_assets.training.fit import Fit
    from mlops_assets.training.preprocessing import Preprocessing
    from mlops_assets.training.rows import TensorRows
    from mlops_assets.training.steps import GradientStep

__all__ = ["EpochResult", "OnEpoch", "TrainingResult", "train"]

OnEpoch = Callable[[EpochResult], None]

_log = logging.getLogger(__name__)
_SMALLEST_HALVED_BATCH = 8


def train(
    table: pa.Table,
    split: Split,
    project: Project,
    *,
    checkpoints: Path,
    on_epoch: OnEpoch | None = None,
) -> TrainingResult:
    """Fit preprocessing and weights on the training rows.

    A checkpoint in the folder is taken up: the result is that of an uninterrupted training. The
    caller's torch random state stays as it is.

    Args:
        table: Features.
        split: Its division into rows; test rows are not looked at.
        project: The project.
        checkpoints: A folder for this training alone, such as one named by its training key.
        on_epoch: Called after each epoch of this call.

    Raises:
        TrainingError: The loss is not finite, memory runs out, there is no CUDA device where one
            is asked for, or the labels cannot be learnt from.
        SchemaError: A column is missing or of the wrong type.
        ConfigError: A custom model's file is unusable.
    """
    started = time.perf_counter()
    spec = project.spec.training
    compute = choose_compute(spec)
    cores = usable_cores()
    with _private_randomness(spec.seed), torch_threads(cores):
        preprocessing = fit_preprocessing(
            table, split.train, project.spec, numeric_bins(project.spec.model)
        )
        fitting = _start(table, split, project, preprocessing, compute)
        resumed = _resume(fitting.fit, checkpoints)
        _run(fitting, spec, compute, checkpoints, cores=cores, on_epoch=on_epoch)
        fitting.fit.load_best()
        core = _finished(fitting, preprocessing)
    return TrainingResult(
        module=core,
        preprocessing=preprocessing,
        history=tuple(fitting.fit.history),
        best_epoch=fitting.fit.best_epoch,
        seconds=time.perf_counter() - started,
        device=compute.device,
        precision=compute.precision,
        batch_size=fitting.fit.batch,
        resumed_from=resumed,
    )


@contextmanager
def _private_randomness(seed: int) -> Iterator[None]:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


class _Fitting:
    """The parts of a running training."""

    def __init__(self, fit: Fit, core: Core, train: TensorRows) -> None:
        self.fit = fit
        self.core = core
        self.train = train


def _start(
    table: pa.Table,
    split: Split,
    project: Project,
    preprocessing: Preprocessing,
    compute: Compute,
) -> _Fitting:
    from mlops_assets.training.core import build_core
    from mlops_assets.training.device import torch_device
    from mlops_assets.training.fit import Fit
    from mlops_assets.training.rows import place_rows

    spec = project.spec
    core = build_core(project, preprocessing).to(torch_device(compute))
    validation = place_rows(table, split.validation, preprocessing, core.encoder, compute)
    train_rows = place_rows(table, split.train, preprocessing, core.encoder, compute)
    fit = Fit(
        core,
        preprocessing.label,
        train=train_rows,
        validation=validation,
        spec=spec.training,
        compute=compute,
        batch=batch_size(spec.training, len(split.train)),
    )
    return _Fitting(fit, core, train_rows)


def _resume(fit: Fit, checkpoints: Path) -> int | None:
    from mlops_assets.training.checkpoint import latest_checkpoint, save_checkpoint

    checkpoint = latest_checkpoint(checkpoints)
    if checkpoint is None:
        save_checkpoint(checkpoints, fit.checkpoint())
        return None
    fit.batch = checkpoint.state["batch"]
    fit.restore(checkpoint)
    _log.info("going on after epoch %d from a checkpoint", checkpoint.epoch)
    return checkpoint.epoch or None


def _run(
    fitting: _Fitting,
    spec: TrainingSpec,
    compute: Compute,
    checkpoints: Path,
    *,
    cores: int,
    on_epoch: OnEpoch | None,
) -> None:
    from mlops_assets.training.checkpoint import latest_checkpoint
    from mlops_assets.training.steps import gradient_step

    fit = fitting.fit
    while not fit.is_done:
        problem: RuntimeError | None = None
        try:
            with gradient_step(
                fit.network, fit.loss, fitting.train, compute, batch=fit.batch, cores=cores
            ) as step:
                _run_epochs(fit, step, spec, checkpoints, on_epoch)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            problem = error.with_traceback(None)
        if problem is not None:
            _halve_batch(fit, spec, compute, problem)
            last = latest_checkpoint(checkpoints)
            if last is not None:
                fit.restore(last)


def _run_epochs(
    fit: Fit, step: GradientStep, spec: TrainingSpec, checkpoints: Path, on_epoch: OnEpoch | None
) -> None:
    from mlops_assets.training.checkpoint import save_checkpoint

    while not fit.is_done:
        result = fit.run_epoch(step)
        if result.epoch % spec.checkpoint_every == 0 or fit.is_done:
            save_checkpoint(checkpoints, fit.checkpoint())
        _log.info(
            "epoch %d/%d: loss %.5f, validation %.5f, %.0f rows/s",
            result.epoch,
            spec.epochs,
            result.train_loss,
            result.validation_loss,
            result.rows_per_second,
        )
        if on_epoch is not None:
            on_epoch(result)


def _halve_batch(fit: Fit, spec: TrainingSpec, compute: Compute, problem: RuntimeError) -> None:
    import torch

    if spec.on_out_of_memory == "fail" or fit.batch // 2 < _SMALLEST_HALVED_BATCH:
        raise TrainingError(
            "the memory ran out",
            where=f"{compute.device}, batches of {fit.batch} rows",
            found=problem,
            fix="write a smaller training.batch_size or model, or `on_out_of_memory: halve_batch`",
        ) from problem
    fit.batch //= 2
    _log.warning("the memory ran out: going on with batches of %d rows", fit.batch)
    if compute.device == "cuda":
        torch.cuda.empty_cache()


def _finished(fitting: _Fitting, preprocessing: Preprocessing) -> Core:
    """The module on the CPU, its untrained buckets filled with the average category."""
    import torch

    core = fitting.core.cpu().eval()
    fill = getattr(core.network, "fill_untrained", None)
    if callable(fill):
        indices = fitting.train.categorical.cpu()
        counts = [
            torch.bincount(indices[:, place], minlength=column.cardinality)
            for place, column in enumerate(preprocessing.categorical)
        ]
        fill([column.untrained for column in preprocessing.categorical], counts)
    return core
