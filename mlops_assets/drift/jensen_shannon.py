"""Jensen-Shannon distance."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mlops_assets.drift.base import DriftTest, Profile, Statistic, g_test, paired_counts


class JensenShannon(DriftTest):
    """Square root of the Jensen-Shannon divergence with base 2, between 0 and 1 (Lin 1991).

    On the reference's bins or categories and the missing. A likelihood-ratio test on the same
    cells says how likely it is by chance (both are sums of Kullback-Leibler divergences from
    the pooled distribution).
    """

    name: ClassVar[str] = "jensen_shannon"
    kinds: ClassVar[frozenset[str]] = frozenset({"numeric", "categorical"})
    threshold: ClassVar[float] = 0.15

    def compare(self, reference: Profile, window: Profile) -> Statistic:
        """The distance and its significance."""
        from scipy.spatial.distance import jensenshannon

        before, now = paired_counts(reference, window)
        # Rounding may leave a divergence just below 0, whose root is not a number.
        distance = float(np.nan_to_num(jensenshannon(before, now, base=2)))
        return Statistic(distance, g_test(before, now))


TEST = JensenShannon()
