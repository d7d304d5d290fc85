"""Multivariate drift: can a classifier tell the window's rows from the reference's?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

NAME = "domain_classifier"
THRESHOLD = 0.6
"""ROC AUC from which rows count as told apart; 0.5 is guessing."""
FOLDS = 3
SEED = 7
MAX_CATEGORIES = 200


@dataclass(frozen=True)
class DomainDrift:
    """What the classifier learned.

    Attributes:
        auc: ROC AUC of its out-of-fold predictions: 0.5 when nothing tells the two apart.
        p_value: One-sided Mann-Whitney test of these predictions.
        columns: The columns that it used most, first the most useful.
        rows: Rows of both samples.
    """

    auc: float
    p_value: float
    columns: tuple[str, ...]
    rows: int


def domain_classifier(
    reference: pa.Table, window: pa.Table, numeric: list[str], categorical: list[str]
) -> DomainDrift | None:
    """Compare two samples of rows (classifier two-sample test, Lopez-Paz and Oquab 2017).

    Changes of relations between columns, which no test of a single column sees, are found too.

    Args:
        reference: Rows of the reference.
        window: Rows of the window.
        numeric: Numeric columns that both have.
        categorical: Text columns that both have.

    Returns:
        None when there are too few rows for :data:`FOLDS` folds, or no columns.
    """
    from scipy.stats import mannwhitneyu
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    names = [*numeric, *categorical]
    if not names or min(reference.num_rows, window.num_rows) < 10 * FOLDS:
        return None
    x = _matrix(reference, window, numeric, categorical)
    y = np.repeat([0, 1], [reference.num_rows, window.num_rows])
    model = HistGradientBoostingClassifier(
        max_iter=50,
        max_leaf_nodes=15,
        early_stopping=False,
        categorical_features=list(range(len(numeric), len(names))) or None,
        class_weight="balanced",
        random_state=SEED,
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    scores = cross_val_predict(model, x, y, cv=folds, method="predict_proba")[:, 1]
    auc = float(roc_auc_score(y, scores))
    test = mannwhitneyu(scores[y == 1], scores[y == 0], alternative="greater")
    return DomainDrift(auc, float(test.pvalue), _most_used(x, y, names), len(y))


def _matrix(
    reference: pa.Table, window: pa.Table, numeric: list[str], categorical: list[str]
) -> NDArray[np.float64]:
    """Both tables below each other; categories as numbers, the rare ones together, missing NaN."""
    import pyarrow as pa

    columns = []
    for name in numeric:
        parts = [table[name].cast(pa.float64()).to_numpy() for table in (reference, window)]
        values = np.concatenate(parts)
        columns.append(np.where(np.isfinite(values), values, np.nan))
    for name in categorical:
        parts = [table[name].cast(pa.string()).to_pylist() for table in (reference, window)]
        texts = np.array([text or "" for part in parts for text in part], dtype=object)
        known, codes, counts = np.unique(texts, return_inverse=True, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        rank = np.empty(len(known))
        rank[order] = np.minimum(np.arange(len(known)), MAX_CATEGORIES)
        numbers = rank[codes]
        columns.append(np.where(texts == "", np.nan, numbers))
    return np.column_stack(columns)


def _most_used(x: NDArray[np.float64], y: NDArray[np.int64], names: list[str]) -> tuple[str, ...]:
    """Columns by how well each tells the two apart alone, with missing values as the lowest."""
    from scipy.stats import rankdata

    positives, negatives = int(y.sum()), int(len(y) - y.sum())
    strength = {}
    for place, name in enumerate(names):
        ranks = rankdata(np.nan_to_num(x[:, place], nan=-np.inf))
        u = ranks[y == 1].sum() - positives * (positives + 1) / 2
        strength[name] = abs(u / (positives * negatives) - 0.5)
    return tuple(sorted(names, key=lambda name: -strength[name])[:3])
