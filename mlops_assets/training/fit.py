"""The state of a training and its epochs. Imports torch: import it inside functions."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mlops_assets.config.training import TrainingSpec
from mlops_assets.errors import TrainingError
from mlops_assets.training.checkpoint import (
    Checkpoint,
    optimizer_tensors,
    prefixed,
    restore_optimizer,
    under,
)
from mlops_assets.training.core import Core
from mlops_assets.training.device import Compute
from mlops_assets.training.labels import LabelEncoding
from mlops_assets.training.losses import counted_rows, epoch_metrics, loss_function
from mlops_assets.training.result import EpochResult
from mlops_assets.training.rows import TensorRows
from mlops_assets.training.schedule import peak_rate, rate_factor
from mlops_assets.training.steps import GradientStep, ThreadedGradientStep, autocast
from mlops_assets.training.world import World

_EVALUATION_BATCH = 16_384
_STEPS_BETWEEN_CHECKS = 50
_STEPS_BETWEEN_AVERAGES = 4
_LARGEST_SEED = 2**63


class Fit:
    """Weights, their running average, the best average so far, and the optimizer.

    All random numbers of an epoch come from the seed and the epoch's number, and the learning
    rate from the share of the planned training that is done. So a training that goes on from a
    checkpoint needs no generator state, and takes exactly the steps of an uninterrupted one.

    Args:
        core: The module; its network is trained in place.
        label: The label's encoding.
        train: Training rows.
        validation: Validation rows.
        spec: The project's ``training``.
        compute: Device and arithmetic.
        batch: Rows a step, of all processes together.
        world: The processes that train together; ``train`` and ``validation`` are this one's share.
        rows: Training rows of all processes.
    """

    def __init__(
        self,
        core: Core,
        label: LabelEncoding,
        *,
        train: TensorRows,
        validation: TensorRows,
        spec: TrainingSpec,
        compute: Compute,
        batch: int,
        world: World,
        rows: int,
    ) -> None:
        self.network = core.network
        self.batch = batch
        self.history: list[EpochResult] = []
        self.best_epoch = 0
        self.best_loss = math.inf
        self.loss = loss_function(label.task)
        self._label = label
        self._train = train
        self._validation = validation
        self._spec = spec
        self._compute = compute
        self._world = world
        self._rows = rows
        self._optimizer = _optimizer(self.network, spec)
        self._average = AveragedModel(self.network, multi_avg_fn=self._blend)
        self._best = _weights(self.network)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return math.ceil(self._rows / self.batch)

    @property
    def is_done(self) -> bool:
        """All epochs are done, or the validation loss has stopped falling."""
        patience = self._spec.early_stopping
        stalled = patience > 0 and self.epoch - self.best_epoch >= patience
        return self.epoch >= self._spec.epochs or stalled

    def run_epoch(self, step: GradientStep) -> EpochResult:
        """Train for one epoch and look at the validation rows.

        Raises:
            TrainingError: The loss is infinite or not a number.
        """
        number = self.epoch + 1
        copies = step.copies if isinstance(step, ThreadedGradientStep) else []
        self._seed(number, copies)
        started = time.perf_counter()
        train_loss, rate = self._train_epoch(step, copies)
        trained = time.perf_counter() - started
        validation_loss, metrics = self._judge(*self._world.together(self._evaluate))
        _require_finite(validation_loss, number, "validation loss")
        if validation_loss < self.best_loss:
            self.best_loss, self.best_epoch = validation_loss, number
            self._best = _weights(self._average.module)
        result = EpochResult(
            epoch=number,
            train_loss=train_loss,
            validation_loss=validation_loss,
            metrics=metrics,
            rows_per_second=self._rows / trained,
            learning_rate=rate,
            seconds=time.perf_counter() - started,
        )
        self.history.append(result)
        return result

    def _seed(self, epoch: int, copies: list[nn.Module]) -> None:
        torch.manual_seed((self._spec.seed * 1_000_003 + epoch) % _LARGEST_SEED)
        # Each process drops other units: its rows are others, too.
        place = self._world.rank << 16
        for network in (self.network, *copies):
            for module in network.modules():
                reseed: Callable[[int], None] | None = getattr(module, "reseed", None)
                if callable(reseed):
                    reseed(((self._spec.seed << 32) + epoch) * 1009 + place)
                    place += 1

    def _train_epoch(self, step: GradientStep, copies: list[nn.Module]) -> tuple[float, float]:
        for network in (self.network, *copies):
            network.train()
        home = self._train.target.device
        order = self._world.permutation(self._rows, home)
        peak, rate = peak_rate(self._spec), 0.0
        total = torch.zeros((), device=self._train.device)
        for place, part in enumerate(self._world.parts(order, self.steps, home)):
            progress = (self.epoch + (place + 1) / self.steps) / self._spec.epochs
            rate = peak * rate_factor(progress)
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.zero_grad(set_to_none=True)
            is_checked = self._compute.device == "cpu" or place % _STEPS_BETWEEN_CHECKS == 0
            is_checked = is_checked or place == self.steps - 1
            loss = self._world.step(self.network, step, part, is_checked=is_checked)
            if is_checked:
                _require_finite(float(loss), self.epoch + 1, "loss")
            self._optimizer.step()
            if place % _STEPS_BETWEEN_AVERAGES == 0:
                self._average.update_parameters(self.network)
            total += loss * part.batch
        mean = float(total) / self._rows
        _require_finite(mean, self.epoch + 1, "loss")
        return mean, rate

    def _blend(self, averaged: Any, current: Any, count: Any) -> None:
        """Exponential average over about half an epoch; shorter at first."""
        done = int(count)
        updates = self.steps / _STEPS_BETWEEN_AVERAGES
        decay = min(1 - 2 / max(8, updates), (1 + done) / (4 + done))
        get_ema_multi_avg_fn(decay)(averaged, current, count)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _evaluate(self) -> tuple[Tensor, Tensor]:
        """Scores and targets of this process's validation rows, on the CPU."""
        network = self._average.module.eval()
        places = torch.arange(len(self._validation), device=self._validation.target.device)
        scores, targets = [], []
        for rows in torch.split(places, _EVALUATION_BATCH):
            numeric, categorical, target = self._validation.batch(rows)
            with autocast(self._compute):
                scores.append(network(numeric, categorical).float().cpu())
            targets.append(target.cpu())
        return torch.cat(scores), torch.cat(targets)

    def _judge(self, score: Tensor, target: Tensor) -> tuple[float, dict[str, float]]:
        """Loss of all validation rows, and in the first process their metrics."""
        loss = self._world.mean(float(self.loss(score, target)), counted_rows(target))
        score, target = self._world.gather(score), self._world.gather(target)
        return loss, epoch_metrics(self._label, score, target) if self._world.is_first else {}

    def load_best(self) -> None:
        """Put the best average into the network."""
        self.network.load_state_dict(self._best)

    def checkpoint(self) -> Checkpoint:
        """All that a later :meth:`restore` needs."""
        tensors = {
            **prefixed("network", self.network.state_dict()),
            **prefixed("average", self._average.state_dict()),
            **prefixed("best", self._best),
            **prefixed("optimizer", optimizer_tensors(self._optimizer)),
        }
        state = {
            "batch": self.batch,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
            "history": [asdict(result) for result in self.history],
        }
        return Checkpoint(self.epoch, tensors, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back, or forward, to the checkpoint; the batch size stays as it is now."""
        tensors, state = checkpoint.tensors, checkpoint.state
        self.network.load_state_dict(under("network", tensors))
        self._average.load_state_dict(under("average", tensors))
        self._best = under("best", tensors)
        restore_optimizer(self._optimizer, under("optimizer", tensors))
        self.best_epoch = state["best_epoch"]
        self.best_loss = math.inf if state["best_loss"] is None else state["best_loss"]
        self.history = [EpochResult(**result) for result in state["history"]]


def _optimizer(network: nn.Module, spec: TrainingSpec) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters:
        raise TrainingError("the model has nothing to train", where="model")
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": spec.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=1e-3, betas=(0.9, 0.99), fused=True
    )


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(network.state_dict())


def _require_finite(loss: float, epoch: int, what: str) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the {what} is no finite number",
            where=f"epoch {epoch}",
            found=loss,
            expected="a finite number",
            fix="lower training.learning_rate, or look for extreme labels; the last good "
            "checkpoint is kept",
        )
