"""Do predicted probabilities come true? Bins of equal mass, and their error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""As in Guo et al. 2017, "On Calibration of Modern Neural Networks"."""


def equal_mass_bins(
    values: NDArray[np.float64], weights: NDArray[np.float64] | None = None, bins: int = BINS
) -> NDArray[np.int64]:
    """Number of the bin of each value, so that bins hold about the same weight.

    Equal values share a bin, whatever the order of the rows, so there may be fewer bins than
    asked for; a weight of 2 is the same as the row twice.
    """
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    mass = counts if weights is None else np.bincount(group, weights=weights)
    total = mass.sum()
    if total <= 0:
        return np.zeros(len(values), dtype=np.int64)
    middle = np.cumsum(mass) - mass / 2
    number = np.minimum((middle / total * bins).astype(np.int64), bins - 1)
    return np.asarray(number[group], dtype=np.int64)


def calibration_error(
    y: NDArray[Any], p: NDArray[np.float64], weights: NDArray[np.float64] | None = None
) -> float:
    """Expected calibration error: weighted mean over bins of |observed rate - mean prediction|.

    Formula: Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning";
    with bins of equal mass, which are less biased than bins of equal width: Nixon et al. 2019,
    "Measuring Calibration in Deep Learning", and Roelofs et al. 2022, "Mitigating Bias in
    Calibration Error Estimation".
    """
    w = np.ones(len(y)) if weights is None else weights
    number = equal_mass_bins(p, weights)
    gaps = np.bincount(number, weights=w * (y - p))
    total = w.sum()
    return float(np.abs(gaps).sum() / total) if total > 0 else float("nan")


def calibration_bins(
    y: NDArray[Any], p: NDArray[np.float64], bins: int = BINS
) -> list[dict[str, float | int]]:
    """One row for each bin: ``lower``, ``upper``, ``rows``, ``predicted`` and ``observed``.

    Args:
        y: What came true: 0/1, or for regression the label.
        p: What was predicted.
        bins: At most so many bins.

    Returns:
        Bins in the order of the prediction; empty when there are no rows.
    """
    if len(y) == 0:
        return []
    number = equal_mass_bins(p, bins=bins)
    rows = np.bincount(number)
    predicted, observed = np.bincount(number, weights=p), np.bincount(number, weights=y)
    return [
        {
            "lower": float(p[number == index].min()),
            "upper": float(p[number == index].max()),
            "rows": int(rows[index]),
            "predicted": float(predicted[index] / rows[index]),
            "observed": float(observed[index] / rows[index]),
        }
        for index in np.flatnonzero(rows)
    ]
