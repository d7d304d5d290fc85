"""The processes that train together; here, one alone. Imports torch: import it inside functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from mlops_assets.training.steps import GradientStep

T = TypeVar("T")


class Part(NamedTuple):
    """What one process has of a step's batch.

    Attributes:
        rows: Places of its rows among those that it holds.
        share: Their share of the batch.
        batch: Rows of the batch, of all processes together.
    """

    rows: Tensor
    share: float
    batch: int


class World:
    """One process that holds all rows: nothing to divide, nothing to add up."""

    rank = 0
    size = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def permutation(self, rows: int, device: torch.device) -> Tensor:
        """The epoch's order of all rows, the same in each process."""
        return torch.randperm(rows, device=device)

    def parts(self, order: Tensor, steps: int, device: torch.device) -> Iterator[Part]:
        """This process's part of each batch of the epoch, on the device."""
        for rows in order.tensor_split(steps):
            yield Part(rows.to(device), 1.0, len(rows))

    def step(
        self, network: nn.Module, step: GradientStep, part: Part, *, is_checked: bool
    ) -> Tensor:
        """Mean loss of the whole batch; its gradient is left in the network's parameters.

        Args:
            network: The network in training.
            step: Takes this process's part.
            part: That part.
            is_checked: Whether problems of other processes must be known when this returns.
        """
        del network, is_checked
        return step(part.rows, part.share)

    def together(self, act: Callable[[], T]) -> T:
        """Act in each process; where one fails, all fail."""
        return act()

    def share(self, text: str) -> str:
        """The first process's text."""
        return text

    def mean(self, value: float, count: int) -> float:
        """Mean over all processes' rows of a value that is a mean over ``count`` of them here."""
        del count
        return value

    def gather(self, rows: Tensor) -> Tensor:
        """In the first process, the rows of all in their order; elsewhere of no meaning."""
        return rows
