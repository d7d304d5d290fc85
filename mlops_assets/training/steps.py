"""One gradient, from one batch. Imports torch: import it inside functions."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from mlops_assets.training.device import Compute, torch_threads
from mlops_assets.training.losses import Loss
from mlops_assets.training.rows import TensorRows

_ROWS_A_WORKER = 256
"""Below this, handing a part of a batch to another thread costs more than it saves."""


class GradientStep:
    """Leaves the gradient of the mean loss of a batch in the network's parameters.

    Args:
        network: The network in training.
        loss: Mean loss of scores and targets.
        rows: Training rows.
        compute: Device and arithmetic.
    """

    def __init__(self, network: nn.Module, loss: Loss, rows: TensorRows, compute: Compute) -> None:
        self._network = network
        self._loss = loss
        self._rows = rows
        self._compute = compute

    def __call__(self, rows: Tensor, share: float = 1.0) -> Tensor:
        """Mean loss of these rows, and its gradient, times their share of the whole batch."""
        return self._backward(self._network, rows, share)

    def _backward(self, network: nn.Module, rows: Tensor, share: float) -> Tensor:
        numeric, categorical, target = self._rows.batch(rows)
        with autocast(self._compute):
            scores = network(numeric, categorical)
        loss = self._loss(scores.float(), target) * share
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


class ThreadedGradientStep(GradientStep):
    """The same gradient from copies of the network that share its weights, one a thread.

    Each thread takes its part of the batch through forward and backward with single-threaded
    operators. Against operators that use all cores one after the other, this spares the barrier
    at the end of each: on few cores it is nearly twice as fast, and on busy cores, where a barrier
    waits for the slowest, many times.

    Args:
        network: A network whose ``replicable`` is true.
        loss: Mean loss of scores and targets.
        rows: Training rows.
        compute: Device and arithmetic.
        pool: Threads, each limited to single-threaded operators.
        workers: How many of them.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        rows: TensorRows,
        compute: Compute,
        *,
        pool: ThreadPoolExecutor,
        workers: int,
    ) -> None:
        super().__init__(network, loss, rows, compute)
        self._pool = pool
        self._copies = [_sharing_copy(network) for _ in range(workers - 1)]

    @property
    def copies(self) -> list[nn.Module]:
        """The copies, for reseeding."""
        return self._copies

    def __call__(self, rows: Tensor, share: float = 1.0) -> Tensor:
        """Mean loss of these rows, and its gradient, times their share of the whole batch."""
        networks = [self._network, *self._copies][: len(rows)]
        futures = [
            self._pool.submit(self._backward, network, part, share * len(part) / len(rows))
            for network, part in zip(networks, rows.tensor_split(len(networks)), strict=True)
        ]
        losses = [future.result() for future in futures]
        for parameters in zip(*(network.parameters() for network in networks), strict=True):
            _add_gradients(list(parameters))
        return torch.stack(losses).sum()


def _sharing_copy(network: nn.Module) -> nn.Module:
    twin = copy.deepcopy(network)
    for parameter, original in zip(twin.parameters(), network.parameters(), strict=True):
        parameter.data = original.data
    return twin


def _add_gradients(parameters: list[nn.Parameter]) -> None:
    first, *others = parameters
    for other in others:
        if other.grad is not None:
            first.grad = other.grad if first.grad is None else first.grad.add_(other.grad)
            other.grad = None


def autocast(compute: Compute) -> AbstractContextManager[object]:
    """bfloat16 where the precision says so."""
    if compute.precision == "bfloat16":
        return torch.autocast(compute.device, torch.bfloat16)
    return nullcontext()


@contextmanager
def gradient_step(
    network: nn.Module,
    loss: Loss,
    rows: TensorRows,
    compute: Compute,
    *,
    batch: int,
    cores: int,
) -> Iterator[GradientStep]:
    """The faster kind of step for this network, device and batch size."""
    workers = min(cores, batch // _ROWS_A_WORKER)
    if compute.device != "cpu" or not getattr(network, "replicable", False):
        yield GradientStep(network, loss, rows, compute)
        return
    if workers < 2:
        with torch_threads(1):
            yield GradientStep(network, loss, rows, compute)
        return
    with (
        torch_threads(1),
        ThreadPoolExecutor(workers, "gradient", torch.set_num_threads, (1,)) as pool,
    ):
        yield ThreadedGradientStep(network, loss, rows, compute, pool=pool, workers=workers)
