from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from mlops_assets.evaluation import curves as module
from mlops_assets.evaluation.curves import curves


def _case(rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    p = rng.random(rows)
    return (rng.random(rows) < p**2).astype(int), p


def test_thinned_curves_keep_their_area() -> None:
    y, p = _case()
    found = curves("binary", y, p)
    roc, pr = found["roc"], found["pr"]
    assert 50 < len(roc["fpr"]) <= module.MAX_POINTS
    assert 50 < len(pr["recall"]) <= module.MAX_POINTS
    area = np.trapezoid(roc["tpr"], roc["fpr"])
    assert area == pytest.approx(roc_auc_score(y, p), abs=2e-3)
    average = np.trapezoid(pr["precision"], pr["recall"])
    assert average == pytest.approx(average_precision_score(y, p), abs=5e-3)
    assert (roc["fpr"][0], roc["tpr"][0], roc["fpr"][-1], roc["tpr"][-1]) == (0, 0, 1, 1)


@pytest.mark.parametrize("task", ["binary", "regression", "multiclass"])
def test_no_rows_have_no_curves(task: str) -> None:
    assert curves(task, np.array([]), np.array([])) == {}


def test_one_class_has_no_curves() -> None:
    assert curves("binary", np.zeros(5), np.linspace(0, 1, 5)) == {}


def test_residuals_count_every_row_even_far_ones() -> None:
    y = np.zeros(1000)
    p = np.r_[np.linspace(-1, 1, 998), 1e9, -1e9]
    found = curves("regression", y, p)
    assert sum(found["residuals"]["counts"]) == 1000
    assert max(np.abs(found["residuals"]["edges"])) < 2
    assert np.sum(found["predicted_vs_actual"]["counts"]) == 1000


def test_perfect_and_constant_predictions_have_a_histogram() -> None:
    found = curves("regression", np.full(10, 3.0), np.full(10, 3.0))
    assert sum(found["residuals"]["counts"]) == 10
    assert np.all(np.diff(found["residuals"]["edges"]) > 0)
    assert np.all(np.diff(found["predicted_vs_actual"]["edges"]) > 0)


def test_predicted_vs_actual_has_actual_in_rows() -> None:
    y = np.r_[np.zeros(10), np.full(10, 10.0)]
    counts = np.array(curves("regression", y, np.zeros(20))["predicted_vs_actual"]["counts"])
    assert counts[0, 0] == 10
    assert counts[-1, 0] == 10


def test_confusion_by_hand() -> None:
    y = np.array([0, 0, 1, 2])
    p = np.eye(3)[[0, 1, 1, 0]]
    assert curves("multiclass", y, p, ["a", "b", "c"])["confusion"] == {
        "classes": ["a", "b", "c"],
        "counts": [[1, 1, 0], [0, 1, 0], [1, 0, 0]],
    }


def test_many_classes_are_shown_as_the_largest_and_the_others() -> None:
    rng = np.random.default_rng(1)
    y = np.minimum(rng.exponential(12, 3000).astype(int), 99)
    p = rng.dirichlet([1] * 100, 3000)
    found = curves("multiclass", y, p, [f"c{n}" for n in range(100)])["confusion"]
    assert len(found["classes"]) == module.MAX_CLASSES
    assert found["classes"][-1] == module.OTHER_CLASSES
    assert np.sum(found["counts"]) == 3000
    assert np.sum(found["counts"][0]) == int((y == 0).sum())
