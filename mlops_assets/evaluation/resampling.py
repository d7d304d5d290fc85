"""Metrics of many bootstrap resamples at once.

A resample is a vector of counts: how often each row was drawn. A :data:`Statistic` takes a block
of such vectors (B, N) and answers the metric of each (B,); NaN where it is not defined. There are
three kinds, each exact:

* metrics that depend on sums over rows (losses, hits, moments): one matrix product;
* rank metrics: rows are sorted once, and each resample is a cumulative sum and look-ups;
* anything else: the metric itself with the counts as sample weights, resample by resample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.evaluation.metrics import decide, log_losses, metric_functions

Floats = NDArray[np.float64]
Array = NDArray[Any]
Statistic = Callable[[Floats], Floats]

BLOCK_VALUES = 131_072
"""Counts held at a time: 1 MB, which stays in the cache, whatever the number of rows."""


def resample_counts(
    rows: int, resamples: int, seed: int, groups: NDArray[np.int64] | None = None
) -> Iterator[Floats]:
    """Blocks (B, rows) of how often each row is drawn, ``resamples`` of them in all.

    Args:
        rows: Number of rows.
        resamples: Number of resamples.
        seed: Seed; the same seed draws the same resamples.
        groups: Group number of each row, from 0; whole groups are drawn then.
    """
    rng = np.random.default_rng(seed)
    units = rows if groups is None else int(groups.max()) + 1
    block = max(1, BLOCK_VALUES // max(rows, units))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(0, units, size=(size, units))
        drawn += np.arange(size)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units)
        yield (counts if groups is None else counts[:, groups]).astype(np.float64)


def statistic(task: str, metric: str, y: Array, p: Floats, threshold: float) -> Statistic:
    """The fastest exact :data:`Statistic` of a metric for prepared labels and predictions."""
    if metric == "roc_auc":
        return _auc(y, p)
    if metric == "average_precision":
        return _average_precision(y, p)
    if metric == "macro_f1":
        return _macro_f1(y, decide(p, threshold), p.shape[1])
    moments = _moments(metric, y, p, threshold)
    if moments is not None:
        columns, combine = moments
        return lambda counts: combine(*(counts @ columns).T)
    return _generic(metric_functions(task, threshold)[metric], y, p)


def _moments(
    metric: str, y: Array, p: Floats, threshold: float
) -> tuple[Floats, Callable[..., Floats]] | None:
    """Columns to sum over the drawn rows, and the metric as a function of the sums."""
    one = np.ones(len(y))
    if metric == "r2":
        centred = y - y.mean()
        return np.column_stack([one, centred, centred**2, (p - y) ** 2]), _r2
    if metric in {"f1", "precision", "recall"}:
        hit = decide(p, threshold) == 1
        true = y == 1
        columns = np.column_stack([hit & true, hit, true]).astype(np.float64)
        return columns, {"f1": _f1, "precision": _precision, "recall": _recall}[metric]
    if metric == "rmse":
        return np.column_stack([one, (p - y) ** 2]), lambda n, loss: np.sqrt(loss / n)
    losses: dict[str, Callable[[], Array]] = {
        "log_loss": lambda: log_losses(y, p),
        "brier": lambda: (p - y) ** 2,
        "mae": lambda: np.abs(p - y),
        "accuracy": lambda: (decide(p, threshold) == y).astype(np.float64),
    }
    if metric not in losses:
        return None
    return np.column_stack([one, losses[metric]()]), lambda n, loss: loss / n


def _ratio(above: Array, below: Array) -> Floats:
    """``above / below``, and NaN where ``below`` is 0."""
    nothing = np.full(np.broadcast(above, below).shape, np.nan)
    return np.asarray(np.divide(above, below, out=nothing, where=below > 0), dtype=np.float64)


def _precision(both: Floats, hit: Floats, _true: Floats) -> Floats:
    return _ratio(both, hit)


def _recall(both: Floats, _hit: Floats, true: Floats) -> Floats:
    return _ratio(both, true)


def _f1(both: Floats, hit: Floats, true: Floats) -> Floats:
    return _ratio(2 * both, hit + true)


def _r2(n: Floats, y: Floats, y2: Floats, residual: Floats) -> Floats:
    spread = y2 - y**2 / n
    spread[spread <= 1e-12 * y2] = 0.0
    return np.asarray(1 - _ratio(residual, spread))


def _macro_f1(y: Array, predicted: Array, classes: int) -> Statistic:
    from scipy.sparse import csr_array

    rows = np.arange(len(y))
    one = np.ones(len(y))

    def indicator(number: Array, kept: Array) -> Any:
        return csr_array((one[kept], (rows[kept], number[kept])), shape=(len(y), classes))

    everything = np.ones(len(y), dtype=bool)
    both = indicator(y, y == predicted)
    either = indicator(y, everything) + indicator(predicted, everything)

    def macro(counts: Floats) -> Floats:
        scores = _ratio(2 * (counts @ both), counts @ either)
        return np.asarray(np.nanmean(scores, axis=1))

    return macro


def _auc(y: Array, p: Floats) -> Statistic:
    """Share of pairs ranked right, ties half (Hanley and McNeil 1982, Mann-Whitney's U).

    Rows are sorted once; a resample costs a cumulative sum over the negatives and two look-ups
    for each positive.
    """
    positive, negative = _sorted_rows(y, p)
    below = np.searchsorted(p[negative], p[positive], side="left")
    up_to = np.searchsorted(p[negative], p[positive], side="right")

    def evaluate(counts: Floats) -> Floats:
        drawn = np.take(counts, positive, axis=1)
        total = _running_total(np.take(counts, negative, axis=1))
        beaten = np.take(total, below, axis=1)
        beaten += np.take(total, up_to, axis=1)
        return _ratio(_row_products(drawn, beaten), 2 * drawn.sum(axis=1) * total[:, -1])

    return evaluate


def _average_precision(y: Array, p: Floats) -> Statistic:
    """Sum over positives of the precision at their rank, ties included, as scikit-learn's."""
    positive, negative = _sorted_rows(y, -p)
    true = np.searchsorted(-p[positive], -p[positive], side="right")
    false = np.searchsorted(-p[negative], -p[positive], side="right")

    def evaluate(counts: Floats) -> Floats:
        drawn = np.take(counts, positive, axis=1)
        negatives = _running_total(np.take(counts, negative, axis=1))
        found = np.take(_running_total(drawn), true, axis=1)
        shown = found + np.take(negatives, false, axis=1)
        precision = np.divide(found, shown, out=shown, where=shown > 0)
        defined = np.where(negatives[:, -1] > 0, drawn.sum(axis=1), 0.0)
        return _ratio(_row_products(drawn, precision), defined)

    return evaluate


def _sorted_rows(y: Array, key: Floats) -> tuple[Array, Array]:
    """Row numbers of the positives and of the negatives, each in the order of ``key``."""
    order = np.argsort(key, kind="stable")
    is_positive = y[order] == 1
    return order[is_positive], order[~is_positive]


def _running_total(values: Floats) -> Floats:
    """Cumulative sums along each row, starting with 0."""
    total = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=total[:, 1:])
    return total


def _row_products(left: Floats, right: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", left, right))


def _generic(
    function: Callable[[Array, Floats, Floats | None], float], y: Array, p: Floats
) -> Statistic:
    def evaluate(counts: Floats) -> Floats:
        return np.array([function(y, p, weights) for weights in counts])

    return evaluate
