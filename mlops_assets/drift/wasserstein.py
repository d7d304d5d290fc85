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
    standard deviation on average. Its p-value comes from permutations of the pooled quantiles
    with a fixed seed: with more rows than quantiles it is larger than it needs to be, never
    smaller. An increase of the missing share counts as well.
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
        larger = 0
        for _ in range(PERMUTATIONS):
            shuffled = random.permutation(pool)
            found = wasserstein_distance(shuffled[: len(one)], shuffled[len(one) :])
            larger += found >= distance
        statistic = Statistic(distance / scale, (larger + 1) / (PERMUTATIONS + 1))
        return combined_with_missing(statistic, reference, window)


TEST = Wasserstein()
