"""How much the model depends on each input. Imports torch: import it inside functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mlops_assets.training.core import Core
from mlops_assets.training.preprocessing import Preprocessing

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

MAX_ROWS = 5000
SEED = 7
BATCH = 1024
"""Rows a forward pass; their activations stay in the cache."""
_FLOOR = 1e-7


@torch.inference_mode()
def permutation_importance(
    core: Core, preprocessing: Preprocessing, table: pa.Table, rows: NDArray[np.int64]
) -> dict[str, float]:
    """Share of each input in what the model knows.

    The growth of the loss when a column is shuffled (Breiman 2001; Fisher, Rudin and Dominici
    2019, "model reliance"), on at most :data:`MAX_ROWS` evenly spaced rows that the weights were
    not fitted on. Growth below 0 counts as 0, and the shares add up to 1; they are equal when
    shuffling changes nothing.

    Args:
        core: The trained module, on the CPU.
        preprocessing: Its fitted preprocessing.
        table: Features.
        rows: Rows to judge by, with known labels.
    """
    chosen = rows[np.linspace(0, len(rows) - 1, min(MAX_ROWS, len(rows))).round().astype(int)]
    numeric = torch.from_numpy(preprocessing.numbers(table, chosen))
    categorical = torch.from_numpy(preprocessing.categories(table, chosen))
    target = np.asarray(preprocessing.label.encode(table, chosen))
    kept = torch.from_numpy(np.flatnonzero(target >= 0)) if core.task == "multiclass" else None
    order = torch.from_numpy(np.random.default_rng(SEED).permutation(len(chosen)))

    def loss(numbers: torch.Tensor, categories: torch.Tensor) -> float:
        batches = [slice(start, start + BATCH) for start in range(0, len(chosen), BATCH)]
        answer = torch.cat([core(numbers[batch], categories[batch]) for batch in batches])
        return _loss(core, answer if kept is None else answer[kept], target, kept)

    base = loss(numeric, categorical)
    growth: dict[str, float] = {}
    for place, column in enumerate(preprocessing.numeric):
        shuffled = numeric.clone()
        shuffled[:, place] = numeric[order, place]
        growth[column.name] = max(0.0, loss(shuffled, categorical) - base)
    for place, category in enumerate(preprocessing.categorical):
        shuffled = categorical.clone()
        shuffled[:, place] = categorical[order, place]
        growth[category.name] = max(0.0, loss(numeric, shuffled) - base)
    total = sum(growth.values())
    if not total > 0:
        return dict.fromkeys(growth, 1 / len(growth))
    return {name: round(value / total, 6) for name, value in growth.items()}


def _loss(
    core: Core, answer: torch.Tensor, target: NDArray[np.float64], kept: torch.Tensor | None
) -> float:
    """Mean log loss, or mean squared error of the standardised label."""
    truth = torch.from_numpy(np.asarray(target))
    if core.task == "regression":
        scaled = (answer[:, 0] - core.label_mean) / core.label_deviation
        return float(((scaled - truth) ** 2).mean())
    if kept is not None:
        classes = truth[kept].long().unsqueeze(1)
        return float(-answer.gather(1, classes).clamp(_FLOOR, 1).log().mean())
    right = torch.where(truth > 0.5, answer[:, 0], 1 - answer[:, 0])
    return float(-right.clamp(_FLOOR, 1).log().mean())
