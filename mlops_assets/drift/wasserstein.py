"""Normalised Wasserstein distance."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mlops_assets.drift.base import DriftTest, Profile, Statistic, combined_with_missing

PERMUTATIONS = 200
SEED = 7


class Wasserstein(DriftTest):
    """Earth mover's distance of the known values in standard deviations of the reference.

    From up to 1,000 evenly spaced quantiles of each; 0.1 means that values moved by a tenth of a
    standard deviation on average. Its p-value comes from permutations of the pooled quantiles with
    a fixed seed, through a gamma distribution with their mean and variance, because their number
    bounds what counting could tell (Mielke and Berry 2007, moment approximations). With more rows
    than quantiles it is larger than it needs to be. An increase of the missing share counts too.
    """

    name: ClassVar[str] = "wasserstein"
    kinds: ClassVar[frozenset[str]] = frozenset({"numeric"})
    threshold: ClassVar[float] = 0.2

    def compare(self, reference: Profile, window: Profile) -> Statistic:
        """The distance and its significance."""
        from scipy.stats import wasserstein_distance

        one = np.asarray(reference["sample"], dtype=np.float64)
        other = np.asarray(window["sample"], dtype=np.float64)
        scale = reference["std"] or float(np.std(np.concatenate([one, other]))) or 1.0
        distance = float(wasserstein_distance(one, other))
        pool = np.concatenate([one, other])
        random = np.random.default_rng(SEED)
        null = np.empty(PERMUTATIONS)
        for turn in range(PERMUTATIONS):
            shuffled = random.permutation(pool)
            null[turn] = wasserstein_distance(shuffled[: len(one)], shuffled[len(one) :])
        statistic = Statistic(distance / scale, _upper_tail(distance, null))
        return combined_with_missing(statistic, reference, window)


def _upper_tail(distance: float, null: np.ndarray) -> float:
    """Probability of a distance at least so large, by the permuted ones' first two moments."""
    from scipy.stats import gamma

    mean, variance = float(null.mean()), float(null.var())
    if not variance > 0:
        return 1.0 if distance <= mean else 0.0
    return float(gamma.sf(distance, mean**2 / variance, scale=variance / mean))


TEST = Wasserstein()
