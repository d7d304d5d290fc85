"""The perceptron itself. Imports torch: import this module inside functions."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn

_POOL_SIZE = 2**22


def embedding_width(cardinality: int, widest: int) -> int:
    """Width that grows slowly with the number of categories (the rule of thumb of fastai)."""
    return min(widest, math.ceil(1.6 * math.pow(cardinality, 0.56)))


@lru_cache(maxsize=4)
def _mask_pool(share: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(_POOL_SIZE, generator=generator) >= share
    return kept.to(torch.float32) / (1 - share)


class PooledDropout(nn.Module):
    """Dropout whose masks are random stretches of one large random mask.

    On a CPU, drawing a fresh mask for each step costs as much as the matrix products of a small
    network, and draws from one generator that threads would have to share. Elsewhere, and for
    activations larger than the pool, this is ordinary dropout.

    In training it changes its input in place. Put it after a linear layer, which does not need
    its output again, and before the rectifier, where it means the same as after it.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.reseed(0)

    def reseed(self, seed: int) -> None:
        """Begin the sequence of masks that belongs to this seed."""
        self._random = random.Random(seed)  # noqa: S311

    def forward(self, values: Tensor) -> Tensor:
        """The values, some of them 0 and the others larger, in training; else unchanged."""
        if not self.training or self.share == 0:
            return values
        if values.device.type != "cpu" or values.numel() > _POOL_SIZE:
            return nn.functional.dropout(values, self.share)
        start = self._random.randrange(_POOL_SIZE - values.numel() + 1)
        mask = _mask_pool(self.share)[start : start + values.numel()]
        return values.mul_(mask.view_as(values))


class MlpNetwork(nn.Module):
    """Numbers and embedded categories, each through its own half of the first layer, then layers.

    All categorical columns share one embedding table of one width: a single look-up forward and
    a single scatter backward, which on a CPU costs less than narrower tables for each column.
    The first layer is split in two because numbers need no gradient: one product less.

    Args:
        numeric: Columns of the numeric matrix.
        cardinalities: Indices of each categorical column.
        outputs: Scores a row.
        hidden: Widths of the hidden layers.
        dropout: Share of hidden units dropped in training.
        max_embedding: Widest embedding.
    """

    offsets: Tensor
    replicable = True
    """Rows do not interact and all randomness is reseeded: copies that share the weights may each
    take a part of a batch, and their gradients be added."""

    def __init__(
        self,
        *,
        numeric: int,
        cardinalities: Sequence[int],
        outputs: int,
        hidden: Sequence[int],
        dropout: float,
        max_embedding: int,
    ) -> None:
        super().__init__()
        self.numeric_in = nn.Linear(numeric, hidden[0]) if numeric else None
        self.embedding: nn.Embedding | None = None
        if cardinalities:
            width = embedding_width(max(cardinalities), max_embedding)
            offsets = [0, *itertools.accumulate(cardinalities)][:-1]
            self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.int64))
            self.embedding = nn.Embedding(sum(cardinalities), width)
            nn.init.normal_(self.embedding.weight, std=0.3)
            self.categorical_in = nn.Linear(
                width * len(cardinalities), hidden[0], bias=self.numeric_in is None
            )
        layers: list[nn.Module] = [PooledDropout(dropout), nn.ReLU(inplace=True)]
        for width_in, width_out in itertools.pairwise(hidden):
            layers += [
                nn.Linear(width_in, width_out),
                PooledDropout(dropout),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Raw scores ``[N, outputs]``."""
        scores: Tensor = self.layers(self._first(numeric, categorical))
        return scores

    def _first(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        first: Tensor | None = None if self.numeric_in is None else self.numeric_in(numeric)
        if self.embedding is None:
            return cast(Tensor, first)
        embedded = self.embedding(categorical + self.offsets).flatten(1)
        if first is None:
            alone: Tensor = self.categorical_in(embedded)
            return alone
        # Added in place while multiplying: two passes over the activations less.
        return first.addmm_(embedded, self.categorical_in.weight.t())

    @torch.no_grad()
    def fill_untrained(self, untrained: Sequence[Sequence[int]], counts: Sequence[Tensor]) -> None:
        """Give indices that no training row had the average embedding of those that one had.

        Args:
            untrained: For each categorical column, such indices.
            counts: For each categorical column, training rows of each index.
        """
        if self.embedding is None:
            return
        start = 0
        for indices, rows in zip(untrained, counts, strict=True):
            table = self.embedding.weight[start : start + len(rows)]
            share = (rows / rows.sum()).to(table)
            mean = share @ table
            for index in indices:
                table[index] = mean
            start += len(rows)
