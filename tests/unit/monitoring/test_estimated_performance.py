"""Estimates without labels: against every possible labelling, and against labels drawn later."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlops_assets.config.metrics import METRICS
from mlops_assets.evaluation.calibration import calibration_bins
from mlops_assets.evaluation.metrics import metric_functions, metrics_for, prepare
from mlops_assets.monitoring.cbpe import (
    Estimated,
    estimated_performance,
    expected_roc_auc,
    recalibrated,
)

NAMES = ["a", "b", "c", "d"]
BINARY = [name for name in metrics_for("binary") if name != "calibration_error"]
MULTICLASS = list(metrics_for("multiclass"))
SEEDS = 200


def covered(truth: float, found: Estimated) -> bool:
    assert found.lower is not None and found.upper is not None
    return found.lower <= truth <= found.upper


def realised(task: str, metric: str, y: np.ndarray, p: np.ndarray) -> float:
    return metric_functions(task, 0.5)[metric](*prepare(task, y, p, NAMES), None)


def drawn(p: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A label of each row, drawn from its probabilities."""
    if p.ndim == 1:
        return (random.random(len(p)) < p).astype(int)
    return np.array(NAMES)[(p.cumsum(1) < random.random((len(p), 1))).sum(1).clip(0, 3)]


def share_covered(
    task: str, metric: str, window: Callable[[np.random.Generator], np.ndarray]
) -> float:
    hits = 0
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        p = window(random)
        y = drawn(p, random)
        truth = realised(task, metric, y, p)
        hits += covered(truth, estimated_performance(task, metric, p))
    return hits / SEEDS


# 200 windows at 95 %: below 90 % with a probability of 0.3 %.
@pytest.mark.parametrize("metric", BINARY)
@pytest.mark.parametrize("rows", [100, 1000])
def test_realised_binary_metrics_are_in_the_interval_as_often_as_it_says(
    metric: str, rows: int
) -> None:
    assert share_covered("binary", metric, lambda random: random.beta(1.2, 3, rows)) >= 0.9


@pytest.mark.parametrize("metric", BINARY)
def test_and_with_ties(metric: str) -> None:
    assert (
        share_covered(
            "binary", metric, lambda random: random.beta(1.2, 3, 500).round(1).clip(0.1, 0.9)
        )
        >= 0.9
    )


@pytest.mark.parametrize("metric", MULTICLASS)
def test_realised_multiclass_metrics_are_in_the_interval_as_often_as_it_says(metric: str) -> None:
    assert (
        share_covered(
            "multiclass", metric, lambda random: random.dirichlet([1, 0.8, 0.5, 0.3], 500)
        )
        >= 0.9
    )


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "f1"])
def test_the_interval_is_no_wider_than_it_must_be(metric: str) -> None:
    """At half the confidence about half of the windows are inside."""
    hits = 0
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        p = random.beta(1.2, 3, 500)
        truth = realised("binary", metric, drawn(p, random), p)
        hits += covered(truth, estimated_performance("binary", metric, p, confidence=0.5))
    assert 0.38 <= hits / SEEDS <= 0.62


@pytest.mark.parametrize("metric", ["brier", "log_loss", "accuracy", "precision"])
def test_the_exact_expectation_over_every_possible_labelling(metric: str) -> None:
    p = np.array([0.1, 0.35, 0.6, 0.6, 0.8, 0.97])
    expected = 0.0
    for labels in itertools.product([0, 1], repeat=len(p)):
        y = np.array(labels)
        value = realised("binary", metric, y, p)
        expected += value * float(np.prod(np.where(y == 1, p, 1 - p)))
    assert estimated_performance("binary", metric, p).value == pytest.approx(expected, rel=1e-6)


def of_labellings(metric: str, p: np.ndarray, draws: int) -> np.ndarray:
    """The metric of labels drawn again and again."""
    random = np.random.default_rng(1)
    task = "binary" if p.ndim == 1 else "multiclass"
    return np.array([realised(task, metric, drawn(p, random), p) for _ in range(draws)])


@pytest.mark.parametrize("positives", ["few", "many"])
@pytest.mark.parametrize("metric", ["roc_auc", "average_precision", "recall", "f1", "macro_f1"])
def test_ratios_have_mean_and_spread_of_many_labellings(metric: str, positives: str) -> None:
    random = np.random.default_rng(0)
    if metric == "macro_f1":
        p = random.dirichlet([1, 0.8, 0.5, 0.3] if positives == "few" else [3, 1, 1, 1], 200)
    else:
        p = random.beta(1, 4, 200) if positives == "few" else random.beta(4, 1, 200)
    known = of_labellings(metric, p, 400)
    found = estimated_performance("multiclass" if metric == "macro_f1" else "binary", metric, p)
    error = known.std() / np.sqrt(len(known))
    assert found.value is not None and found.lower is not None
    assert found.value == pytest.approx(known.mean(), abs=4 * error)
    assert found.value - found.lower == pytest.approx(1.96 * known.std(), rel=0.15)


def test_average_precision_of_few_positives_is_not_too_high() -> None:
    """The ratio of expectations is 0.010 too high here."""
    p = np.random.default_rng(0).beta(0.5, 5, 200)
    known = of_labellings("average_precision", p, 2000)
    found = estimated_performance("binary", "average_precision", p)
    assert found.value == pytest.approx(known.mean(), abs=0.006)


@given(
    hnp.arrays(np.float64, st.integers(2, 40), elements=st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0]))
)
@settings(deadline=None)
def test_expected_auc_of_pairs(p: np.ndarray) -> None:
    wins = (p[:, None] > p) + 0.5 * (p[:, None] == p)
    pairs = p[:, None] * (1 - p)
    np.fill_diagonal(pairs, 0)
    found = expected_roc_auc(p)
    if pairs.sum() < 1e-12:
        assert np.isnan(found) or 0 <= found <= 1
    else:
        assert found == pytest.approx((wins * pairs).sum() / pairs.sum())


@given(
    p=hnp.arrays(np.float32, st.integers(0, 50), elements=st.floats(0, 1, width=32)),
    metric=st.sampled_from([*BINARY, "calibration_error", "rmse"]),
    holes=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_any_predictions_have_a_value_between_its_ends_or_a_reason(
    p: np.ndarray, metric: str, holes: bool
) -> None:
    found = estimated_performance("binary", metric, np.append(p, np.nan) if holes else p)
    assert found.rows == len(p)
    if found.value is None:
        assert found.reason
        return
    assert np.isfinite(found.value)
    assert not METRICS[metric].is_share or -1e-9 <= found.value <= 1 + 1e-9
    if found.lower is not None and found.upper is not None:
        assert found.lower <= found.value + 1e-9
        assert found.value <= found.upper + 1e-9
    else:
        assert len(p) < 20


def test_certain_answers_leave_nothing_to_chance() -> None:
    p = np.array([0.0, 1.0] * 50)
    for metric in ("accuracy", "roc_auc", "f1", "average_precision"):
        found = estimated_performance("binary", metric, p)
        assert found.value == pytest.approx(1.0)
        assert found.lower == pytest.approx(1.0)
    assert estimated_performance("binary", "brier", p).upper == 0.0


@pytest.mark.parametrize(
    ("task", "metric", "predictions", "said"),
    [
        ("regression", "rmse", [1.0, 2.0], "no estimate of rmse for regression"),
        ("binary", "calibration_error", [0.1, 0.2], "no estimate"),
        ("binary", "macro_f1", [0.1, 0.2], "no estimate"),
        ("binary", "brier", [], "no usable predictions"),
        ("binary", "brier", [np.nan, np.inf], "no usable predictions"),
        ("binary", "brier", [0.1, 1.3], "not probabilities"),
        ("binary", "brier", [[0.1, 0.9]], "shape"),
        ("binary", "roc_auc", [0.4], "not defined"),
        ("binary", "roc_auc", [0.0, 0.0], "not defined"),
        ("binary", "recall", [0.0, 0.0], "not defined"),
        ("binary", "precision", [0.1, 0.2], "not defined"),
        ("multiclass", "accuracy", [0.1, 0.2], "shape"),
        ("multiclass", "accuracy", [[0.5, 0.5]], "shape"),
        ("multiclass", "accuracy", [[0.5, 0.1, 0.1, 0.1]], "not probabilities"),
    ],
)
def test_what_cannot_be_estimated_has_a_reason(
    task: str, metric: str, predictions: list[float], said: str
) -> None:
    classes = NAMES if task == "multiclass" else None
    found = estimated_performance(task, metric, np.array(predictions), classes=classes)
    assert (found.value, found.lower, found.upper) == (None, None, None)
    assert said in found.reason


def test_the_threshold_decides() -> None:
    p = np.array([0.3, 0.9] * 20)
    assert estimated_performance("binary", "accuracy", p).value == pytest.approx(0.8)
    low = estimated_performance("binary", "accuracy", p, threshold=0.2)
    assert low.value == pytest.approx(0.6)


# --- calibration ----------------------------------------------------------------------------


def overconfident(p: np.ndarray, factor: float = 2.5) -> np.ndarray:
    """Log odds too large by a factor."""
    odds = factor * np.log(p / (1 - p))
    return np.asarray(1 / (1 + np.exp(-odds)))


@pytest.mark.parametrize("metric", ["roc_auc", "accuracy", "log_loss", "brier"])
def test_an_overconfident_model_is_estimated_right_after_calibration(metric: str) -> None:
    random = np.random.default_rng(0)
    p = random.beta(1.5, 2.5, 20_000)
    y = drawn(p, random)
    bins = calibration_bins(y[:10_000], overconfident(p[:10_000]))
    shown, labels = overconfident(p[10_000:]), y[10_000:]
    truth = realised("binary", metric, labels, shown)
    blind = estimated_performance("binary", metric, shown)
    found = estimated_performance("binary", metric, shown, calibration=bins)
    assert found.value is not None and blind.value is not None
    assert abs(found.value - truth) < 0.1 * abs(blind.value - truth)


def test_the_most_probable_class_is_calibrated_too() -> None:
    random = np.random.default_rng(0)
    p = random.dirichlet([1, 1, 1, 1], 20_000)
    y = drawn(p, random)
    sharp = p**2 / (p**2).sum(1, keepdims=True)
    right = np.array(NAMES)[sharp.argmax(1)] == y
    bins = calibration_bins(right[:10_000], sharp[:10_000].max(1))
    truth = right[10_000:].mean()
    blind = estimated_performance("multiclass", "accuracy", sharp[10_000:])
    found = estimated_performance("multiclass", "accuracy", sharp[10_000:], calibration=bins)
    assert not covered(truth, blind)
    assert found.value == pytest.approx(truth, abs=0.01)


def test_calibration_of_a_calibrated_model_changes_nothing_much() -> None:
    random = np.random.default_rng(0)
    p = random.beta(1.5, 2.5, 20_000)
    same = recalibrated(p, calibration_bins(drawn(p, random), p))
    np.testing.assert_allclose(same, p, atol=0.02)


@pytest.mark.parametrize("observed", [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
def test_bins_of_one_kind_still_give_probabilities(observed: list[float]) -> None:
    bins = [
        {"predicted": 0.2, "observed": observed[0], "rows": 50},
        {"predicted": 0.8, "observed": observed[1], "rows": 50},
    ]
    for p in (np.array([0.0, 0.3, 1.0]), np.array([[1.0, 0.0, 0.0], [0.4, 0.3, 0.3]])):
        q = recalibrated(p, bins)
        assert np.isfinite(q).all() and q.min() >= 0 and q.max() <= 1
        if q.ndim == 2:
            np.testing.assert_allclose(q.sum(1), 1)


def test_a_million_rows_take_seconds() -> None:
    p = np.random.default_rng(0).beta(1.2, 3, 1_000_000)
    start = time.process_time()
    assert estimated_performance("binary", "roc_auc", p).rows == 1_000_000
    assert time.process_time() - start < 5  # about 0.3 where nothing else runs
