"""The loss of each task, and what is shown of the validation rows after each epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mlops_assets.config.metrics import Task
from mlops_assets.training.labels import UNKNOWN_CLASS, LabelEncoding

if TYPE_CHECKING:
    from torch import Tensor

Loss = Callable[["Tensor", "Tensor"], "Tensor"]


def loss_function(task: Task) -> Loss:
    """Mean loss of raw scores ``[N, outputs]`` against targets ``[N]``.

    Binary cross-entropy, cross-entropy, or mean squared error of the standardised label.
    """
    from torch.nn import functional

    if task == "binary":
        return lambda scores, target: functional.binary_cross_entropy_with_logits(
            scores.squeeze(1), target
        )
    if task == "multiclass":
        # A class that only validation rows have cannot be predicted: its rows are left out.
        return lambda scores, target: functional.cross_entropy(scores, target, ignore_index=-1)
    return lambda scores, target: functional.mse_loss(scores.squeeze(1), target)


def counted_rows(target: Tensor) -> int:
    """Rows over which the loss is a mean: all but those of a class that training does not know."""
    return len(target) if target.is_floating_point() else int((target != UNKNOWN_CLASS).sum())


def epoch_metrics(label: LabelEncoding, scores: Tensor, target: Tensor) -> dict[str, float]:
    """A few easily read metrics of raw scores: what to show, not what decides.

    Args:
        label: The label's encoding.
        scores: ``[N, outputs]`` on the CPU.
        target: ``[N]`` on the CPU, as the loss takes it.
    """
    if label.task == "multiclass":
        return {"accuracy": float((scores.argmax(1) == target).float().mean())}
    values, truth = scores.squeeze(1).double().numpy(), target.double().numpy()
    if label.task == "binary":
        accuracy = {"accuracy": float(((values > 0) == (truth > 0.5)).mean())}
        return {**_roc_auc(truth, values), **accuracy}
    error = (values - truth) * label.deviation
    return {"rmse": float(np.sqrt(np.mean(error**2))), "mae": float(np.mean(np.abs(error)))}


def _roc_auc(truth: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """By ranks (Mann-Whitney U), ties at their mean rank; nothing where one class is missing.

    scikit-learn would do, but its import takes longer than an epoch of a small model, and other
    processes of the training would wait for it.
    """
    is_positive = truth > 0.5
    positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    if not positives or not negatives:
        return {}
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    wins = ranks[is_positive].sum() - positives * (positives + 1) / 2
    return {"roc_auc": float(wins / (positives * negatives))}
