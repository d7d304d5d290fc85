"""Population stability index."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mlops_assets.drift.base import Counts, DriftTest, Profile, Statistic, g_test, paired_counts

FLOOR = 0.5
"""Count that an empty cell is taken for, so that the logarithm stays finite."""


class PopulationStabilityIndex(DriftTest):
    """``sum((q - p) * ln(q / p))`` over the reference's bins or categories and the missing.

    By the usual convention 0.1 is a moderate and 0.2 a large shift (Siddiqi 2006, Credit Risk
    Scorecards). The p-value is that of a likelihood-ratio test on the same cells: without drift,
    PSI is close to a multiple of a chi-square variable (Yurdakul 2018).
    """

    name: ClassVar[str] = "psi"
    kinds: ClassVar[frozenset[str]] = frozenset({"numeric", "categorical"})
    threshold: ClassVar[float] = 0.2

    def compare(self, reference: Profile, window: Profile) -> Statistic:
        """PSI and its significance."""
        before, now = paired_counts(reference, window)
        return Statistic(psi(before, now), g_test(before, now))


def psi(before: Counts, now: Counts) -> float:
    """PSI of two arrays of counts in the same cells."""
    p = np.maximum(before, FLOOR) / before.sum()
    q = np.maximum(now, FLOOR) / now.sum()
    return float(np.sum((q - p) * np.log(q / p)))


TEST = PopulationStabilityIndex()
