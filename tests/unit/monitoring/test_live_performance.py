"""Realised and estimated performance: agreement with scikit-learn and with simulated labels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from mlops_assets.monitoring.cbpe import estimated_performance, expected_roc_auc
from mlops_assets.monitoring.performance import Realised, has_decayed, realised_performance

ROWS = 4000


def simulated(seed: int, rows: int = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels drawn from them: a perfectly calibrated model."""
    random = np.random.default_rng(seed)
    p = random.beta(1.2, 3, rows)
    return p, (random.random(rows) < p).astype(int)


def test_the_value_is_scikit_learns_and_the_interval_holds_it() -> None:
    p, y = simulated(0)
    found = realised_performance("binary", "roc_auc", pa.array(y), p)
    assert found.value == pytest.approx(roc_auc_score(y, p))
    assert found.lower is not None
    assert found.upper is not None
    assert found.lower < found.value < found.upper
    assert found.rows == ROWS


def test_multiclass_in_the_order_of_the_classes() -> None:
    random = np.random.default_rng(0)
    p = random.dirichlet([1, 1, 1], 500)
    names = np.array(["a", "b", "c"])
    y = names[[random.choice(3, p=row) for row in p]]
    found = realised_performance("multiclass", "log_loss", pa.array(y), p, classes=list(names))
    assert found.value == pytest.approx(log_loss(y, p, labels=list(names)), rel=1e-6)


@pytest.mark.parametrize(
    ("labels", "predictions", "said"),
    [
        ([], [], "no labelled requests"),
        ([1, 1, 1], [0.1, 0.2, 0.3], "not defined"),
        ([0, 1], [np.nan, np.nan], "no labelled requests"),
        ([0, 1], [2.0, 3.0], "probabilit"),
    ],
)
def test_what_cannot_be_judged_says_why(
    labels: list[int], predictions: list[float], said: str
) -> None:
    found = realised_performance("binary", "roc_auc", pa.array(labels), np.array(predictions))
    assert found.value is None
    assert said in found.reason


def test_unusable_predictions_are_left_out_and_counted() -> None:
    p, y = simulated(0, 200)
    p[:20] = np.nan
    found = realised_performance("binary", "brier", pa.array(y), p)
    assert (found.rows, found.unusable) == (180, 20)


def realised(value: float, lower: float, upper: float) -> Realised:
    return Realised("m", value, lower, upper, 1000)


@pytest.mark.parametrize(
    ("found", "goal", "expected"),
    [
        (realised(0.70, 0.68, 0.72), "increase", True),
        (realised(0.70, 0.60, 0.81), "increase", False),  # the interval holds the old value
        (realised(0.79, 0.785, 0.795), "increase", False),  # certain, and too small to matter
        (realised(0.90, 0.88, 0.92), "decrease", True),
        (realised(0.70, 0.68, 0.72), "decrease", False),
        (Realised("m", None, None, None, 0), "increase", None),
    ],
)
def test_a_loss_is_both_large_and_certain(found: Realised, goal: str, expected: object) -> None:
    assert has_decayed(found, 0.8, 0.03, goal) is expected  # type: ignore[arg-type]


def test_expected_auc_by_brute_force() -> None:
    p = np.array([0.1, 0.4, 0.4, 0.9, 0.7])
    above = below = 0.0
    for i, one in enumerate(p):
        for j, other in enumerate(p):
            if i != j:
                weight = one * (1 - other)
                below += weight
                above += weight * (1.0 if one > other else 0.5 if one == other else 0.0)
    assert expected_roc_auc(p) == pytest.approx(above / below)


@pytest.mark.parametrize("metric", ["roc_auc", "brier", "log_loss", "accuracy", "f1", "recall"])
def test_the_estimate_is_near_what_labels_show_later(metric: str) -> None:
    hits = 0
    for seed in range(20):
        p, y = simulated(seed)
        estimate = estimated_performance("binary", metric, p)
        truth = realised_performance("binary", metric, pa.array(y), p, confidence=0.98)
        assert estimate.value is not None
        assert truth.lower is not None
        assert truth.upper is not None
        hits += truth.lower <= estimate.value <= truth.upper
    assert hits >= 18


def test_regression_has_no_estimate() -> None:
    found = estimated_performance("regression", "rmse", np.array([1.0, 2.0]))
    assert found.value is None
    assert "rmse" in found.reason
