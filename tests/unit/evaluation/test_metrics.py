from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from mlops_assets.config.metrics import METRICS
from mlops_assets.errors import EvaluationError
from mlops_assets.evaluation.metrics import PROBABILITY_FLOOR, compute_metrics, metrics_for

Y = np.array([0, 1, 1, 0, 1, 0, 0, 1])
P = np.array([0.1, 0.8, 0.4, 0.4, 0.9, 0.6, 0.2, 0.55], dtype=np.float32)


def test_every_declared_metric_is_computed_for_its_tasks() -> None:
    classes = ["a", "b"]
    found = {
        "binary": compute_metrics("binary", Y, P),
        "regression": compute_metrics("regression", Y, P),
        "multiclass": compute_metrics(
            "multiclass", np.array(classes)[Y], np.column_stack([1 - P, P]), classes=classes
        ),
    }
    assert METRICS
    for name, info in METRICS.items():
        assert info.tasks
        for task in info.tasks:
            assert found[task][name] is not None, (task, name)
    assert {task: set(values) for task, values in found.items()} == {
        task: set(metrics_for(task)) for task in found
    }


@pytest.mark.parametrize("weights", [None, np.array([1, 2, 0, 1, 3, 1, 0.5, 1])])
def test_binary_equals_scikit_learn(weights: np.ndarray | None) -> None:
    found = compute_metrics("binary", Y, P, weights=weights)
    p, hit = P.astype(float), (P >= 0.5).astype(int)
    expected = {
        "roc_auc": reference.roc_auc_score(Y, p, sample_weight=weights),
        "average_precision": reference.average_precision_score(Y, p, sample_weight=weights),
        "brier": reference.brier_score_loss(Y, p, sample_weight=weights),
        "log_loss": reference.log_loss(Y, p, sample_weight=weights),
        "accuracy": reference.accuracy_score(Y, hit, sample_weight=weights),
        "f1": reference.f1_score(Y, hit, sample_weight=weights),
        "precision": reference.precision_score(Y, hit, sample_weight=weights),
        "recall": reference.recall_score(Y, hit, sample_weight=weights),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_binary_values_by_hand() -> None:
    found = compute_metrics("binary", Y, P)
    # 16 pairs: 13 right, the pair of 0.4 and 0.4 tied, 0.4 and 0.55 below 0.6.
    assert found["roc_auc"] == pytest.approx(13.5 / 16)
    assert found["precision"] == pytest.approx(3 / 4)
    assert found["recall"] == pytest.approx(3 / 4)
    assert found["accuracy"] == pytest.approx(6 / 8)


def test_the_threshold_decides_what_is_positive() -> None:
    found = compute_metrics("binary", Y, P, threshold=0.3)
    assert found["recall"] == 1.0
    assert found["precision"] == pytest.approx(4 / 6)


def test_regression_equals_hand_computed_values() -> None:
    found = compute_metrics("regression", np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0]))
    assert found["rmse"] == pytest.approx(math.sqrt(5 / 3))
    assert found["mae"] == pytest.approx(1.0)
    assert found["r2"] == pytest.approx(1 - 5 / (14 / 3))


def test_multiclass_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    classes = ["red", "green", "blue"]
    y = rng.choice(classes, 200)
    p = rng.dirichlet([1, 1, 1], 200)
    found = compute_metrics("multiclass", y, p, classes=classes)
    decided = np.array(classes)[p.argmax(axis=1)]
    in_order = p[:, [classes.index(name) for name in sorted(classes)]]
    assert found == pytest.approx(
        {
            "log_loss": reference.log_loss(y, in_order, labels=sorted(classes)),
            "accuracy": reference.accuracy_score(y, decided),
            "macro_f1": reference.f1_score(y, decided, average="macro"),
        }
    )


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_no_rows_define_nothing(task: str) -> None:
    found = compute_metrics(task, np.array([]), np.array([]))
    assert set(found) == set(metrics_for(task))
    assert set(found.values()) == {None}


def test_no_weight_defines_nothing() -> None:
    assert set(compute_metrics("binary", Y, P, weights=np.zeros(8)).values()) == {None}


def test_one_class_has_no_ranking_but_has_losses() -> None:
    found = compute_metrics("binary", np.zeros(4), np.array([0.1, 0.2, 0.3, 0.9]))
    assert found["roc_auc"] is None
    assert found["average_precision"] is None
    assert found["recall"] is None
    assert found["precision"] == 0.0
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.7, 0.1]).mean())
    assert found["accuracy"] == 0.75


def test_one_class_by_weight_is_one_class() -> None:
    found = compute_metrics("binary", Y, P, weights=(Y == 1).astype(float))
    assert found["roc_auc"] is None
    assert found["average_precision"] is None


def test_nothing_positive_anywhere_has_no_f1() -> None:
    found = compute_metrics("binary", np.zeros(3), np.full(3, 0.1))
    assert (found["f1"], found["precision"], found["recall"]) == (None, None, None)


def test_constant_predictions_are_defined() -> None:
    found = compute_metrics("binary", Y, np.full(8, 0.5))
    assert found["roc_auc"] == 0.5
    assert found["average_precision"] == 0.5
    assert found["calibration_error"] == 0.0
    regression = compute_metrics("regression", np.arange(4.0), np.full(4, 1.5))
    assert regression["r2"] == 0.0


def test_constant_label_has_no_r2() -> None:
    found = compute_metrics("regression", np.full(5, 3.0), np.arange(5.0))
    assert found["r2"] is None
    assert found["rmse"] is not None
    weighted = compute_metrics("regression", np.arange(3.0), np.arange(3.0), weights=[0, 0, 1])
    assert weighted["r2"] is None


def test_certain_and_wrong_costs_what_float32_can_say() -> None:
    found = compute_metrics("binary", np.array([0, 1]), np.array([1.0, 0.0], dtype=np.float32))
    assert found["log_loss"] == pytest.approx(-math.log(PROBABILITY_FLOOR))


@pytest.mark.parametrize(
    ("p", "problem"),
    [
        ([0.1, np.nan], "1 of 2 predictions are not finite"),
        ([0.1, np.inf], "1 of 2 predictions are not finite"),
        ([0.1, 1.2], "not probabilities"),
        ([-0.1, 0.2], "not probabilities"),
        ([0.1], "shape"),
        ([[0.1], [0.2]], "shape"),
    ],
)
def test_unusable_predictions_are_refused(p: list[float], problem: str) -> None:
    with pytest.raises(EvaluationError, match=problem):
        compute_metrics("binary", np.array([0, 1]), np.array(p))


def test_nan_in_one_class_probability_is_refused() -> None:
    with pytest.raises(EvaluationError, match="1 of 2 predictions are not finite"):
        compute_metrics(
            "multiclass", np.array(["a", "b"]), np.array([[0.5, 0.5], [np.nan, 1.0]]),
            classes=["a", "b"],
        )  # fmt: skip


def test_probabilities_of_several_classes_must_sum_to_one() -> None:
    with pytest.raises(EvaluationError, match="not probabilities"):
        compute_metrics("multiclass", np.array(["a"]), np.array([[0.5, 0.4]]), classes=["a", "b"])


@pytest.mark.parametrize(
    ("task", "y"), [("binary", [0, 2]), ("binary", [0, 0.5]), ("regression", [0, np.nan])]
)
def test_unusable_labels_are_refused(task: str, y: list[float]) -> None:
    with pytest.raises(EvaluationError, match="label"):
        compute_metrics(task, np.array(y), np.array([0.1, 0.2]))


def test_a_label_outside_the_classes_is_named() -> None:
    with pytest.raises(EvaluationError, match="blue"):
        compute_metrics("multiclass", np.array(["blue"]), np.array([[1.0]]), classes=["red"])


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, np.nan]])
def test_unusable_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(EvaluationError, match="weights"):
        compute_metrics("binary", np.array([0, 1]), np.array([0.1, 0.2]), weights=weights)
