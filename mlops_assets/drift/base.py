"""What every drift test is, and how profiles are brought onto common bins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Profile = Mapping[str, Any]
"""A column's profile as :mod:`mlops_assets.training.reference` makes it. A window's profile also
has ``reference_counts``: its values counted in the bins of the reference."""
Counts = NDArray[np.float64]
MIN_EXPECTED = 5.0
"""Expected count below which a cell is pooled before a chi-square approximation is used."""


@dataclass(frozen=True)
class Statistic:
    """What one test says.

    Attributes:
        effect: How far apart the two are; 0 for equal distributions.
        p_value: Probability of such an effect without drift, where it is known.
    """

    effect: float
    p_value: float | None


class DriftTest(ABC):
    """A univariate drift test.

    Attributes:
        name: Its name in the YAML.
        kinds: Kinds of columns that it fits: ``numeric``, ``categorical``.
        threshold: Effect from which a column may count as drifted.
    """

    name: ClassVar[str]
    kinds: ClassVar[frozenset[str]]
    threshold: ClassVar[float]

    @abstractmethod
    def compare(self, reference: Profile, window: Profile) -> Statistic:
        """Compare two columns; both have known values, and the window its reference counts."""


def paired_counts(reference: Profile, window: Profile) -> tuple[Counts, Counts]:
    """Counts of both in the same cells: the reference's bins or categories, and the missing.

    Categories that only the window has are one cell, and so are those of the reference beyond
    the ones that it lists.

    Returns:
        Two arrays of the same length; cells that are empty in both are left out.
    """
    if reference["kind"] == "numeric":
        before = list(reference["counts"])
        now = list(window["reference_counts"])
    else:
        names = list(reference["counts"])
        before = [*reference["counts"].values(), reference.get("other", 0)]
        listed = [window["counts"].get(name, 0) for name in names]
        known = sum(window["counts"].values()) + window.get("other", 0)
        now = [*listed, known - sum(listed)]
    before.append(missing_count(reference))
    now.append(missing_count(window))
    pair = np.array([before, now], dtype=np.float64)
    pair = pair[:, pair.sum(0) > 0]
    return pair[0], pair[1]


def missing_count(profile: Profile) -> int:
    """Number of missing values."""
    return round(float(profile["missing"]) * int(profile["count"]))


def known_count(profile: Profile) -> int:
    """Number of values that are not missing."""
    return int(profile["count"]) - missing_count(profile)


def pooled(before: Counts, now: Counts) -> tuple[Counts, Counts]:
    """Cells merged, smallest first, until each expects :data:`MIN_EXPECTED` in both samples."""
    total = before + now
    order = np.argsort(total, kind="stable")
    expected = total[order] * min(before.sum(), now.sum()) / total.sum()
    few = int((expected < MIN_EXPECTED).sum())
    if not few:
        return before, now
    if expected[:few].sum() < MIN_EXPECTED:
        few += 1
    rest, merged = order[few:], order[:few]
    return (
        np.append(before[rest], before[merged].sum()),
        np.append(now[rest], now[merged].sum()),
    )


def g_test(before: Counts, now: Counts) -> float:
    """p-value of homogeneity by the likelihood-ratio test (Wilks 1938) on pooled cells."""
    from scipy.stats import chi2_contingency

    one, other = pooled(before, now)
    if len(one) < 2:
        return 1.0
    result = chi2_contingency(np.array([one, other]), correction=False, lambda_="log-likelihood")
    return float(result.pvalue)


def combined_with_missing(statistic: Statistic, reference: Profile, window: Profile) -> Statistic:
    """A test on known values, with the growth of the missing share as a second component.

    The effect is the larger of the two, the p-value twice the smaller one (Bonferroni); the
    missing shares are compared by a chi-square test.
    """
    missing = np.array(
        [
            [missing_count(reference), known_count(reference)],
            [missing_count(window), known_count(window)],
        ],
        dtype=np.float64,
    )
    change = abs(window["missing"] - reference["missing"])
    if not missing[:, 0].sum() or not missing[:, 1].sum():
        return statistic
    p_missing = g_test(missing[0], missing[1])
    if statistic.p_value is None:
        return Statistic(max(statistic.effect, change), None)
    return Statistic(max(statistic.effect, change), min(1.0, 2 * min(statistic.p_value, p_missing)))
