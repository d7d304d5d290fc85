"""Chi-square test of homogeneity."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mlops_assets.drift.base import DriftTest, Profile, Statistic, paired_counts, pooled


class ChiSquare(DriftTest):
    """Pearson's test on categories, with Cramér's V as the effect (Cramér 1946).

    Rare categories are pooled until five are expected in each sample; categories that the
    reference has not seen and missing values are cells of their own. V between 0 and 1; 0.1 is a
    small effect (Cohen 1988). V compares the two samples as if they were of equal size, so that
    it does not depend on how large the reference is.
    """

    name: ClassVar[str] = "chi_square"
    kinds: ClassVar[frozenset[str]] = frozenset({"categorical"})
    threshold: ClassVar[float] = 0.1

    def compare(self, reference: Profile, window: Profile) -> Statistic:
        """Cramér's V and the test's significance."""
        from scipy.stats import chi2_contingency

        before, now = pooled(*paired_counts(reference, window))
        if len(before) < 2:
            return Statistic(0.0, 1.0)
        p_value = float(chi2_contingency(np.array([before, now]), correction=False).pvalue)
        shares = before / before.sum(), now / now.sum()
        middle = (shares[0] + shares[1]) / 2
        squared = sum(float(((share - middle) ** 2 / middle).sum()) for share in shares) / 2
        return Statistic(float(np.sqrt(squared)), p_value)


TEST = ChiSquare()
