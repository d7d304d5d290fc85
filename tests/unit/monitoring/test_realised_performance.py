"""Realised performance: scikit-learn's values, awkward labels and predictions, honest intervals."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from mlops_assets.config.metrics import METRICS
from mlops_assets.evaluation.metrics import metrics_for
from mlops_assets.monitoring import performance
from mlops_assets.monitoring.performance import has_decayed, realised_performance

NAMES = ["a", "b", "c"]
EVERY = [
    (task, metric)
    for task in ("binary", "multiclass", "regression")
    for metric in metrics_for(task)
]


def simulated(seed: int, rows: int, flipped: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and labels of a calibrated model, some of the labels turned round."""
    random = np.random.default_rng(seed)
    p = random.beta(1.2, 3, rows)
    y = (random.random(rows) < p).astype(int)
    return p, np.where(random.random(rows) < flipped, 1 - y, y)


def of_task(task: str, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels."""
    random = np.random.default_rng(seed)
    if task == "binary":
        return simulated(seed, rows)
    if task == "multiclass":
        p = random.dirichlet([2, 1, 1], rows)
        return p, np.array(NAMES)[(p.cumsum(1) < random.random((rows, 1))).sum(1).clip(0, 2)]
    y = random.normal(50, 10, rows)
    return y + random.normal(0, 3, rows), y


def by_scikit_learn(metric: str, y: np.ndarray, p: np.ndarray) -> float:
    hit = (p >= 0.5).astype(int) if p.ndim == 1 else np.array(NAMES)[p.argmax(1)]
    return {
        "roc_auc": lambda: sk.roc_auc_score(y, p),
        "average_precision": lambda: sk.average_precision_score(y, p),
        "brier": lambda: sk.brier_score_loss(y, p),
        "f1": lambda: sk.f1_score(y, hit),
        "precision": lambda: sk.precision_score(y, hit),
        "recall": lambda: sk.recall_score(y, hit),
        "log_loss": lambda: sk.log_loss(y, p),
        "accuracy": lambda: sk.accuracy_score(y, hit),
        "macro_f1": lambda: sk.f1_score(y, hit, average="macro"),
        "rmse": lambda: sk.root_mean_squared_error(y, p),
        "mae": lambda: sk.mean_absolute_error(y, p),
        "r2": lambda: sk.r2_score(y, p),
    }[metric]()


@pytest.mark.parametrize(("task", "metric"), EVERY)
def test_every_metric_has_scikit_learns_value_in_its_interval(task: str, metric: str) -> None:
    p, y = of_task(task, 600)
    found = realised_performance(task, metric, pa.array(y), p, classes=NAMES)
    assert found.value is not None and found.lower is not None and found.upper is not None
    assert found.lower <= found.value <= found.upper
    assert found.lower < found.upper
    if metric != "calibration_error":
        assert found.value == pytest.approx(by_scikit_learn(metric, y, p), rel=1e-6)


@pytest.mark.parametrize("metric", ["roc_auc", "f1", "brier", "average_precision"])
def test_the_interval_holds_the_true_value_as_often_as_it_says(metric: str) -> None:
    p, y = simulated(10**6, 400_000)
    truth = realised_performance("binary", metric, y, p, resamples=10).value
    hits = 0
    for seed in range(100):
        p, y = simulated(seed, 400)
        found = realised_performance("binary", metric, y, p, resamples=200, seed=seed)
        assert found.lower is not None and found.upper is not None and truth is not None
        hits += found.lower <= truth <= found.upper
    assert 88 <= hits <= 100  # 95 expected; fewer than 88 has a probability of 0.2 %


def test_the_same_seed_gives_the_same_interval() -> None:
    p, y = simulated(0, 300)
    first = realised_performance("binary", "roc_auc", y, p, seed=3)
    assert first == realised_performance("binary", "roc_auc", y, p, seed=3)
    assert first != realised_performance("binary", "roc_auc", y, p, seed=4)


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "f1"])
def test_a_large_window_is_resampled_from_a_part_of_it(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    p, y = simulated(0, 60_000)
    part = realised_performance("binary", metric, y, p)
    monkeypatch.setattr(performance, "MAX_RESAMPLED", 100_000)
    whole = realised_performance("binary", metric, y, p)
    monkeypatch.setattr(performance, "MAX_RESAMPLED", 6_000)
    tenth = realised_performance("binary", metric, y, p)
    assert part.value == whole.value == tenth.value
    assert whole.lower is not None and whole.upper is not None
    for found in (part, tenth):
        assert found.lower is not None and found.upper is not None
        assert found.upper - found.lower == pytest.approx(whole.upper - whole.lower, rel=0.15)


def test_a_rare_class_is_never_sampled_away(monkeypatch: pytest.MonkeyPatch) -> None:
    p, y = simulated(0, 20_000)
    y = np.where(np.arange(len(y)) < 30, 1, 0)
    whole = realised_performance("binary", "roc_auc", y, p)
    monkeypatch.setattr(performance, "MAX_RESAMPLED", 1_000)
    assert realised_performance("binary", "roc_auc", y, p) == whole


def test_whole_groups_are_drawn_where_rows_belong_together() -> None:
    p, y = simulated(0, 200)
    many, labels = np.repeat(p, 20), np.repeat(y, 20)
    groups = np.repeat([f"g{n}" for n in range(200)], 20)
    once = realised_performance("binary", "brier", y, p)
    alone = realised_performance("binary", "brier", labels, many)
    together = realised_performance("binary", "brier", labels, many, groups=groups)
    widths = [f.upper - f.lower for f in (once, alone, together)]  # type: ignore[operator]
    assert widths[2] == pytest.approx(widths[0], rel=0.15)
    assert widths[1] < widths[0] / 3


def test_few_groups_have_a_value_and_no_interval() -> None:
    p, y = simulated(0, 200)
    found = realised_performance("binary", "brier", y, p, groups=np.arange(200) % 5)
    assert found.value is not None
    assert (found.lower, found.upper) == (None, None)
    assert has_decayed(found, 0.0, 0.01, "decrease") is None


def test_groups_larger_than_what_is_resampled(monkeypatch: pytest.MonkeyPatch) -> None:
    p, y = simulated(0, 4_000)
    groups = np.arange(4_000) // 2
    whole = realised_performance("binary", "brier", y, p, groups=groups)
    monkeypatch.setattr(performance, "MAX_RESAMPLED", 500)
    part = realised_performance("binary", "brier", y, p, groups=groups)
    assert part.upper - part.lower == pytest.approx(  # type: ignore[operator]
        whole.upper - whole.lower,  # type: ignore[operator]
        rel=0.2,
    )


# --- forms of labels and predictions --------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([0, 1] * 50, pa.int8()),
        pa.array([0.0, 1.0] * 50),
        pa.array([False, True] * 50),
        pa.array(["0", "1"] * 50),
        pa.array([Decimal(0), Decimal(1)] * 50, pa.decimal128(3, 0)),
        pa.chunked_array([[0, 1] * 20, [0, 1] * 30]),
        np.array([0, 1] * 50),
        np.array([False, True] * 50),
    ],
)
def test_binary_labels_in_every_form_that_training_reads(labels: Any) -> None:
    p, _ = simulated(0, 100)
    expected = sk.roc_auc_score([0, 1] * 50, p)
    for predictions in (p, p.astype(np.float64)[:, None], pa.array(p)):
        found = realised_performance("binary", "roc_auc", labels, predictions)
        assert found.value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pa.array([1, 2, 3] * 20, pa.int32()), ["1", "2", "3"]),
        (pa.array(["1", "2", "3"] * 20).dictionary_encode(), ["1", "2", "3"]),
        (np.array([1, 2, 3] * 20), ["1", "2", "3"]),
        (np.array(["1", "2", "3"] * 20), ["1", "2", "3"]),
    ],
)
def test_multiclass_labels_in_every_form_that_training_reads(
    labels: Any, classes: list[str]
) -> None:
    p = np.tile(np.eye(3), (20, 1))
    found = realised_performance("multiclass", "accuracy", labels, p, classes=classes)
    assert found.value == 1.0
    backwards = realised_performance("multiclass", "accuracy", labels, p, classes=classes[::-1])
    assert backwards.value == pytest.approx(1 / 3)


def test_a_class_that_the_model_does_not_know_counts_as_wrong() -> None:
    p = np.tile(np.eye(3), (20, 1))
    labels = np.array(["a", "b", "new"] * 20)
    found = realised_performance("multiclass", "accuracy", labels, p, classes=NAMES)
    assert found.value == pytest.approx(2 / 3)
    loss = realised_performance("multiclass", "log_loss", labels, p, classes=NAMES)
    assert loss.value is not None and loss.value > 5


def test_rows_without_a_label_are_no_rows() -> None:
    p, y = simulated(0, 100)
    labels = pa.array([None if n % 4 == 0 else int(v) for n, v in enumerate(y)])
    found = realised_performance("binary", "brier", labels, p)
    kept = np.arange(100) % 4 != 0
    assert found.value == pytest.approx(sk.brier_score_loss(y[kept], p[kept]))
    assert (found.rows, found.unusable) == (75, 0)


def test_groups_stay_with_their_rows_when_others_are_left_out() -> None:
    p, y = simulated(0, 300)
    groups = np.random.default_rng(0).integers(0, 60, 300)
    lost = np.random.default_rng(1).random(300) < 0.4
    found = realised_performance("binary", "brier", y, np.where(lost, np.nan, p), groups=groups)
    rest = realised_performance("binary", "brier", y[~lost], p[~lost], groups=groups[~lost])
    assert (found.value, found.lower, found.upper) == (rest.value, rest.lower, rest.upper)
    assert (found.rows, found.unusable) == (int((~lost).sum()), int(lost.sum()))


def test_ties_count_one_half() -> None:
    labels = np.array([0, 1] * 30)
    found = realised_performance("binary", "roc_auc", labels, np.full(60, 0.3))
    assert (found.value, found.lower, found.upper) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("task", "metric", "labels", "predictions", "said"),
    [
        ("binary", "brier", [1], [0.5], "too few"),
        ("binary", "brier", [0, 1] * 9, [0.5] * 18, "too few"),
        ("regression", "rmse", [1.0], [1.0], "too few"),
        ("regression", "r2", [1.0] * 30, [1.0] * 30, "not defined"),
        ("regression", "mae", [np.inf] * 30, [1.0] * 30, "not finite"),
        ("regression", "mae", ["late"] * 30, [1.0] * 30, "not of the task's kind"),
        ("binary", "recall", [0] * 30, [0.7] * 30, "not defined"),
        ("binary", "f1", [2, 1] * 20, [0.7] * 40, "not 0 or 1"),
        ("binary", "brier", [0, 1, 1], [0.5] * 2, "not as many"),
        ("binary", "rmse", [0, 1] * 20, [0.5] * 40, "not a metric"),
        ("binary", "brier", [None] * 30, [0.5] * 30, "no labelled requests"),
        ("multiclass", "accuracy", ["a"] * 30, [[0.5, 0.5]] * 30, "shape"),
        ("multiclass", "accuracy", ["a"] * 30, [0.5] * 30, "shape"),
        ("multiclass", "accuracy", ["a"] * 30, [[0.5, 0.1, 0.1]] * 30, "not probabilities"),
    ],
)
def test_what_cannot_be_judged_has_a_reason(
    task: str, metric: str, labels: list[Any], predictions: list[Any], said: str
) -> None:
    found = realised_performance(
        task, metric, pa.array(labels), np.array(predictions), classes=NAMES
    )
    assert (found.value, found.lower, found.upper) == (None, None, None)
    assert said in found.reason
    assert has_decayed(found, 0.5, 0.01, METRICS[metric].goal) is None


@given(
    rows=st.integers(0, 60),
    seed=st.integers(0, 1000),
    missing=st.floats(0, 1),
    choice=st.sampled_from(EVERY),
    constant=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_any_window_has_a_value_between_its_ends_or_a_reason(
    rows: int, seed: int, missing: float, choice: tuple[str, str], constant: bool
) -> None:
    task, metric = choice
    p, y = of_task(task, rows, seed)
    random = np.random.default_rng(seed)
    p = np.where(random.random(p.shape) < missing, np.nan, p)
    y = np.repeat(y[:1], rows) if constant else y
    found = realised_performance(task, metric, y, p, classes=NAMES, resamples=30)
    assert found.rows + found.unusable == rows or found.value is None
    if found.value is None:
        assert found.reason
        return
    assert not found.reason
    assert np.isfinite(found.value)
    if found.lower is not None and found.upper is not None:
        assert found.lower <= found.upper
        if METRICS[metric].is_share:
            assert found.lower >= 0 and found.upper <= 1


# --- decay ----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "accuracy", "calibration_error"])
def test_noise_is_seldom_taken_for_decay_and_decay_is_found(metric: str) -> None:
    p, y = simulated(10**6, 20_000)
    baseline = realised_performance("binary", metric, y, p, resamples=10).value
    assert baseline is not None

    def alarms(flipped: float) -> int:
        found = [
            realised_performance("binary", metric, *reversed(simulated(s, 1000, flipped)))
            for s in range(50)
        ]
        return sum(has_decayed(f, baseline, 0.02, METRICS[metric].goal) is True for f in found)

    assert alarms(0.0) <= 5
    assert alarms(0.2) >= 45


def test_a_perfectly_calibrated_model_is_not_found_uncalibrated_in_a_small_window() -> None:
    for seed in range(30):
        p, y = simulated(seed, 100)
        found = realised_performance("binary", "calibration_error", y, p, confidence=0.99)
        assert found.value is not None and found.lower is not None
        assert found.lower < 0.02 < found.value


def test_an_unknown_baseline_decides_nothing() -> None:
    p, y = simulated(0, 100)
    found = realised_performance("binary", "brier", y, p)
    assert has_decayed(found, float("nan"), 0.01, "decrease") is None


def test_a_million_rows_take_seconds() -> None:
    p, y = simulated(0, 1_000_000)
    start = time.process_time()
    found = realised_performance("binary", "roc_auc", pa.array(y), p)
    assert found.rows == 1_000_000
    assert time.process_time() - start < 15  # about 1 where nothing else runs
