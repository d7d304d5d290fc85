"""Two-sample Kolmogorov-Smirnov test."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mlops_assets.drift.base import (
    DriftTest,
    Profile,
    Statistic,
    combined_with_missing,
    known_count,
)


class KolmogorovSmirnov(DriftTest):
    """Largest difference between the two distribution functions of the known values.

    Both are known at up to 1,000 evenly spaced quantiles, so the statistic is exact to 0.001. The
    p-value is the asymptotic one with the numbers of rows behind the quantiles (Hodges 1958). An
    increase of the missing share counts as well.
    """

    name: ClassVar[str] = "kolmogorov_smirnov"
    kinds: ClassVar[frozenset[str]] = frozenset({"numeric"})
    threshold: ClassVar[float] = 0.1

    def compare(self, reference: Profile, window: Profile) -> Statistic:
        """The statistic D and its significance."""
        from scipy.stats import kstwobign

        one = np.asarray(reference["sample"], dtype=np.float64)
        other = np.asarray(window["sample"], dtype=np.float64)
        points = np.concatenate([one, other])
        gaps = np.abs(
            np.searchsorted(one, points, side="right") / len(one)
            - np.searchsorted(other, points, side="right") / len(other)
        )
        distance = float(gaps.max())
        rows = known_count(reference), known_count(window)
        effective = rows[0] * rows[1] / (rows[0] + rows[1])
        # What the quantiles may add to the distance must not look like evidence.
        certain = max(0.0, distance - _coarseness(one, rows[0]) - _coarseness(other, rows[1]))
        p_value = float(kstwobign.sf(np.sqrt(effective) * certain))
        return combined_with_missing(Statistic(distance, p_value), reference, window)


def _coarseness(sample: np.ndarray, rows: int) -> float:
    """How far a distribution function at these quantiles may lie from that of all rows."""
    return 0.0 if rows <= len(sample) else 0.5 / len(sample)


TEST = KolmogorovSmirnov()
