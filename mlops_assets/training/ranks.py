"""Several processes that train as one. Imports torch: import it inside functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mlops_assets.errors import MlopsError, TrainingError
from mlops_assets.training.device import is_out_of_memory
from mlops_assets.training.steps import GradientStep
from mlops_assets.training.world import Part, World

T = TypeVar("T")

_FLAGS = 2
_LARGEST_SEED = 2**63
_SEED_STRIDE = 7919


class PeerFailedError(Exception):
    """Another process failed, and said so: this one ends, too."""


class PeerLostError(Exception):
    """Another process is gone."""


class PeerSilentError(PeerLostError):
    """Another process did not answer in time."""


def shard(rows: int, rank: int, size: int) -> range:
    """Which of so many rows a process holds: neighbours, as many as any other or one more."""
    return range(rows * rank // size, rows * (rank + 1) // size)


class Ranks(World):
    """One of several processes, each with its shard of the rows and all with the same weights.

    Batches are those of a single process: each process draws the same order of all rows, and
    takes from each batch the rows that it holds. Gradients are weighted by the share of the
    batch and added up, which is the gradient of the whole batch, whatever the shares are.

    A process that fails does not leave: it takes part in the next exchange, with nothing to add
    and a flag that says so. Otherwise the others would wait for it until the timeout.

    Args:
        rank: Number of this process, from 0.
        size: How many there are.
        network: Its parameters are those whose gradients are exchanged.
        device: Where they are.
    """

    def __init__(self, rank: int, size: int, network: nn.Module, device: torch.device) -> None:
        self.rank = rank
        self.size = size
        self._problem: Exception | None = None
        self._there: list[bool] = []
        self._parameters = [each for each in network.parameters() if each.requires_grad]
        sizes = [each.numel() for each in self._parameters]
        # Gradients, which of them are there, the loss, the flags: one exchange a step.
        self._buffer = torch.zeros(sum(sizes) + len(sizes) + 1 + _FLAGS, device=device)
        *self._views, self._present, self._loss, self._flags = torch.split(
            self._buffer, [*sizes, len(sizes), 1, _FLAGS]
        )

    def permutation(self, rows: int, device: torch.device) -> Tensor:
        """The same order in each process; then each goes on with random numbers of its own."""
        del device  # Generators of other devices might give another order.
        order = torch.randperm(rows)
        torch.manual_seed((torch.initial_seed() + _SEED_STRIDE * self.rank) % _LARGEST_SEED)
        return order

    def parts(self, order: Tensor, steps: int, device: torch.device) -> Iterator[Part]:
        """This process's part of each batch of the epoch, on the device."""
        held = shard(len(order), self.rank, self.size)
        mine = (order >= held.start) & (order < held.stop)
        batches = [len(batch) for batch in order.tensor_split(steps)]
        ends = mine.cumsum(0)[torch.tensor(batches).cumsum(0) - 1]
        places = (order[mine] - held.start).to(device)
        for rows, batch in zip(places.tensor_split(ends[:-1]), batches, strict=True):
            yield Part(rows, len(rows) / batch, batch)

    def step(
        self, network: nn.Module, step: GradientStep, part: Part, *, is_checked: bool
    ) -> Tensor:
        """Mean loss of the whole batch; its gradient is left in the network's parameters."""
        del network
        self._buffer.zero_()
        if len(part.rows) and self._problem is None:
            self._try(lambda: self._fill(step(part.rows, part.share)))
        if self._problem is not None:
            self._buffer.zero_()
            self._flags.copy_(self._own_flags())
        _exchange(self._buffer)
        if is_checked:
            self._raise_if_any(self._flags)
            # Looked at with the flags, as each look waits for the device.
            self._there = (self._present > 0).tolist()
        known = zip(self._parameters, self._views, self._there, strict=True)
        for parameter, view, is_there in known:
            parameter.grad = view.view_as(parameter) if is_there else None
        return self._loss[0].clone()

    def _fill(self, loss: Tensor) -> None:
        for place, (parameter, view) in enumerate(zip(self._parameters, self._views, strict=True)):
            if parameter.grad is not None:
                view.copy_(parameter.grad.flatten())
                self._present[place] = 1
        self._loss[0] = loss

    def together(self, act: Callable[[], T]) -> T:
        """Act in each process; where one fails, all fail."""
        results: list[T] = []
        self._try(lambda: results.append(act()))
        flags = self._own_flags()
        _exchange(flags)
        self._raise_if_any(flags)
        return results[0]

    def share(self, text: str) -> str:
        """The first process's text, in all."""
        body = torch.tensor(list(text.encode()), dtype=torch.uint8)
        length = torch.tensor([len(body)])
        with _peers():
            dist.broadcast(length, 0)
            body = body if self.is_first else torch.zeros(int(length), dtype=torch.uint8)
            dist.broadcast(body, 0)
        return bytes(body.tolist()).decode()

    def mean(self, value: float, count: int) -> float:
        """Sums and counts of all processes; the first one's answer, to the bit, in all."""
        sums = torch.tensor([value * count if count else 0.0, count], dtype=torch.float64)
        _exchange(sums)
        mean = (sums[0] / sums[1]).reshape(1)
        with _peers():
            dist.broadcast(mean, 0)
        return float(mean)

    def gather(self, rows: Tensor) -> Tensor:
        """In the first process, the rows of all in their order; elsewhere this one's."""
        counts = torch.zeros(self.size, dtype=torch.int64)
        counts[self.rank] = len(rows)
        _exchange(counts)
        # Gloo gathers equal sizes only.
        padded = rows.new_zeros((int(counts.max()), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.size)] if self.is_first else None
        with _peers():
            dist.gather(padded, parts)
        if parts is None:
            return rows
        return torch.cat([part[:count] for part, count in zip(parts, counts.tolist(), strict=True)])

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - raised again when all processes know of it
            self._problem = error

    def _own_flags(self) -> Tensor:
        """Out of memory, any other problem."""
        problem = self._problem
        out = isinstance(problem, RuntimeError) and is_out_of_memory(problem)
        return torch.tensor([float(out), float(problem is not None and not out)])

    def _raise_if_any(self, flags: Tensor) -> None:
        out_of_memory, failed = flags.tolist()
        problem, self._problem = self._problem, None
        if failed:
            if problem is None:
                raise PeerFailedError
            raise _described(problem, self.rank, self.size) from problem
        if out_of_memory:
            raise torch.OutOfMemoryError("the memory of at least one process ran out")


def _described(problem: Exception, rank: int, size: int) -> Exception:
    if isinstance(problem, MlopsError | PeerLostError):
        return problem
    return TrainingError(
        "a training process failed",
        where=f"process {rank} of {size}, from 0",
        found=f"{type(problem).__name__}: {problem}",
    )


def _exchange(values: Tensor) -> None:
    with _peers():
        dist.all_reduce(values)


@contextmanager
def _peers() -> Iterator[None]:
    """Name the one thing that goes wrong in an exchange."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)[:500]
        is_late = "timed out" in text.lower() or "timeout" in text.lower()
        raise (PeerSilentError if is_late else PeerLostError)(text) from error


def refuse_batch_statistics(network: nn.Module) -> None:
    """Refuse layers that look at a whole batch, of which each process has a part only.

    Raises:
        TrainingError: There are such layers.
    """
    found = {
        type(each).__name__
        for each in network.modules()
        if isinstance(each, nn.modules.batchnorm._BatchNorm)
    }
    if found:
        raise TrainingError(
            "the model looks at whole batches",
            where="model, with training.distributed",
            found=", ".join(sorted(found)),
            expected="layers that treat each row by itself, such as LayerNorm",
            fix="replace them, or train in one process",
        )
