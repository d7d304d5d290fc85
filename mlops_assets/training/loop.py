"""A training from its last checkpoint to its end. Imports torch: import it inside functions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch

from mlops_assets.config.training import TrainingSpec
from mlops_assets.errors import TrainingError
from mlops_assets.training.agreement import agreed_checkpoint
from mlops_assets.training.checkpoint import latest_checkpoint, save_checkpoint
from mlops_assets.training.core import Core
from mlops_assets.training.device import Compute, is_out_of_memory
from mlops_assets.training.fit import Fit
from mlops_assets.training.labels import LabelEncoding
from mlops_assets.training.result import EpochResult
from mlops_assets.training.rows import TensorRows
from mlops_assets.training.steps import GradientStep, gradient_step
from mlops_assets.training.world import World

OnEpoch = Callable[[EpochResult], None]

_log = logging.getLogger(__name__)
_SMALLEST_HALVED_BATCH = 8


class Loop:
    """Epochs, checkpoints and smaller batches, the same in each of the processes of a world.

    Args:
        core: The module; its network is trained in place.
        label: The label's encoding.
        train: This process's training rows.
        validation: This process's validation rows.
        rows: Training rows of all processes.
        spec: The project's ``training``.
        compute: Device and arithmetic.
        batch: Rows a step, of all processes together.
        checkpoints: Folder of this training alone.
        cores: Cores for this process.
        world: The processes.
    """

    def __init__(
        self,
        core: Core,
        label: LabelEncoding,
        *,
        train: TensorRows,
        validation: TensorRows,
        rows: int,
        spec: TrainingSpec,
        compute: Compute,
        batch: int,
        checkpoints: Path,
        cores: int,
        world: World,
    ) -> None:
        self.train = train
        self._spec = spec
        self._compute = compute
        self._checkpoints = checkpoints
        self._cores = cores
        self._world = world
        self.fit = Fit(
            core,
            label,
            train=train,
            validation=validation,
            spec=spec,
            compute=compute,
            batch=batch,
            world=world,
            rows=rows,
        )

    def resume(self) -> int | None:
        """Take up the newest checkpoint, the same in all processes.

        Returns:
            Its epoch, if it is not the very start.

        Raises:
            TrainingError: A process cannot read it.
        """
        self._world.together(self._ensure_checkpoint)
        checkpoint = agreed_checkpoint(self._checkpoints, self._world)
        self.fit.batch = checkpoint.state["batch"]
        self.fit.restore(checkpoint)
        if checkpoint.epoch:
            _log.info("going on after epoch %d from a checkpoint", checkpoint.epoch)
        return checkpoint.epoch or None

    def _ensure_checkpoint(self) -> None:
        if self._world.is_first and latest_checkpoint(self._checkpoints) is None:
            save_checkpoint(self._checkpoints, self.fit.checkpoint())

    def run(self, on_epoch: OnEpoch | None) -> None:
        """Train to the end.

        Raises:
            TrainingError: The loss is not finite, or memory runs out.
        """
        fit = self.fit
        while not fit.is_done:
            problem: RuntimeError | None = None
            try:
                with gradient_step(
                    fit.network,
                    fit.loss,
                    self.train,
                    self._compute,
                    batch=fit.batch // self._world.size,
                    cores=self._cores,
                ) as step:
                    self._run_epochs(step, on_epoch)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                problem = error.with_traceback(None)
            if problem is not None:
                self._halve_batch(problem)
                fit.restore(agreed_checkpoint(self._checkpoints, self._world))

    def _run_epochs(self, step: GradientStep, on_epoch: OnEpoch | None) -> None:
        fit, spec = self.fit, self._spec
        while not fit.is_done:
            result = fit.run_epoch(step)
            if result.epoch % spec.checkpoint_every == 0 or fit.is_done:
                self._world.together(self._save)
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

    def _save(self) -> None:
        if self._world.is_first:
            save_checkpoint(self._checkpoints, self.fit.checkpoint())

    def _halve_batch(self, problem: RuntimeError) -> None:
        fit = self.fit
        if self._spec.on_out_of_memory == "fail" or fit.batch // 2 < _SMALLEST_HALVED_BATCH:
            raise TrainingError(
                "the memory ran out",
                where=f"{self._compute.device}, batches of {fit.batch} rows",
                found=problem,
                fix="write a smaller training.batch_size or model, or "
                "`on_out_of_memory: halve_batch`",
            ) from problem
        fit.batch //= 2
        _log.warning("the memory ran out: going on with batches of %d rows", fit.batch)
        if self._compute.device == "cuda":
            torch.cuda.empty_cache()
