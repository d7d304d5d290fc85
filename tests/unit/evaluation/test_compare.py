from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from mlops_assets.errors import EvaluationError
from mlops_assets.evaluation import resampling
from mlops_assets.evaluation.compare import Comparison, paired_bootstrap
from mlops_assets.evaluation.metrics import compute_metrics, metrics_for, prepare
from mlops_assets.evaluation.resampling import resample_counts, statistic

CLASSES = ["a", "b", "c", "d"]
SETTINGS = {"resamples": 400, "confidence": 0.95, "margin": 0.01, "seed": 3}


def _case(task: str, rows: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and two models' predictions, with many ties."""
    rng = np.random.default_rng(11)
    if task == "multiclass":
        y = np.array(CLASSES)[rng.integers(0, 3, rows)]
        return y, *(rng.dirichlet([1] * 4, rows).astype(np.float32) for _ in range(2))
    if task == "regression":
        y = rng.normal(100, 5, rows)
        return y, *(y + rng.normal(0, scale, rows) for scale in (3, 4))
    y = rng.integers(0, 2, rows)
    return y, *(np.clip(0.3 * y + rng.random(rows) * 0.6, 0, 1).round(1) for _ in range(2))


CASES = [(task, metric) for task in ("binary", "multiclass", "regression")
         for metric in metrics_for(task)]  # fmt: skip


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_a_resample_is_exactly_the_metric_of_the_repeated_rows(task: str, metric: str) -> None:
    y, p, _ = _case(task)
    labels, prepared = prepare(task, y, p, CLASSES)
    found = statistic(task, metric, labels, prepared, 0.5)
    checked = 0
    for counts in resample_counts(len(y), 7, seed=5):
        for row, value in zip(counts, found(counts), strict=True):
            drawn = np.repeat(np.arange(len(y)), row.astype(int))
            expected = compute_metrics(task, y[drawn], p[drawn], classes=CLASSES)[metric]
            assert value == pytest.approx(expected, rel=1e-9), metric
            checked += 1
    assert checked == 7


@pytest.mark.parametrize(("task", "metric"), CASES)
def test_an_undefined_resample_is_nan_exactly_where_the_metric_is_undefined(
    task: str, metric: str
) -> None:
    y, p, _ = _case(task, rows=12)
    labels, prepared = prepare(task, y, p, CLASSES)
    one_row = np.zeros((2, 12))
    one_row[0, 0] = one_row[1, int(np.flatnonzero(labels != labels[0])[0])] = 5
    found = statistic(task, metric, labels, prepared, 0.5)(one_row)
    for counts, value in zip(one_row, found, strict=True):
        drawn = np.repeat(np.arange(12), counts.astype(int))
        expected = compute_metrics(task, y[drawn], p[drawn], classes=CLASSES)[metric]
        assert np.isnan(value) if expected is None else value == pytest.approx(expected)


def test_macro_f1_leaves_out_classes_that_a_resample_lacks() -> None:
    y = np.array([0, 1, 2, 2])
    found = statistic("multiclass", "macro_f1", y, np.eye(4)[[0, 1, 2, 0]], 0.5)
    # Only right rows of class 0; all rows: F1 of 2/3, 1 and 2/3, and none of class 3.
    assert found(np.array([[4.0, 0, 0, 0], [1, 1, 1, 1]])) == pytest.approx([1, 7 / 9])


def test_each_resample_draws_as_many_rows_as_there_are() -> None:
    blocks = list(resample_counts(50, 300, seed=1))
    counts = np.concatenate(blocks)
    assert counts.shape == (300, 50)
    assert set(counts.sum(axis=1)) == {50}
    # Counts of one row are binomial(50, 1/50): variance 0.98, not 1 row always, not 50 or none.
    assert counts.var() == pytest.approx(0.98, abs=0.05)


def test_blocks_stay_bounded_and_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(resample_counts(40, 100, seed=1)))
    monkeypatch.setattr(resampling, "BLOCK_VALUES", 400)
    blocks = list(resample_counts(40, 100, seed=1))
    assert {len(block) for block in blocks} == {10}
    assert np.array_equal(np.concatenate(blocks), whole)


def test_groups_are_drawn_whole() -> None:
    groups = np.array([0, 0, 1, 2, 2, 2])
    counts = np.concatenate(list(resample_counts(6, 50, seed=1, groups=groups)))
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 3] == counts[:, 5]).all()
    assert set(counts[:, 0] + counts[:, 2] + counts[:, 3]) == {3}


def test_the_same_predictions_differ_by_exactly_nothing() -> None:
    y, p, _ = _case("binary")
    found = paired_bootstrap("binary", "roc_auc", y, p, p, **(SETTINGS | {"margin": 0.0}))
    assert (found.difference, found.lower, found.upper) == (0.0, 0.0, 0.0)
    assert found.non_inferior


def test_pairing_cancels_what_the_rows_have_in_common() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(0, 10, 2000)
    hard = rng.normal(0, 5, 2000)
    old, new = y + hard, y + hard + rng.normal(0, 0.1, 2000)
    found = paired_bootstrap("regression", "rmse", y, old, new, **SETTINGS)
    assert found.upper - found.lower < 0.03
    single = [
        statistic("regression", "rmse", y, p, 0.5)(counts)
        for p, seed in ((old, 1), (new, 2))
        for counts in [np.concatenate(list(resample_counts(2000, 200, seed)))]
    ]
    unpaired = np.quantile(single[1] - single[0], [0.05, 0.95])
    assert unpaired[1] - unpaired[0] > 5 * (found.upper - found.lower)


def test_the_bounds_of_a_mean_are_those_of_the_paired_t_interval() -> None:
    rng = np.random.default_rng(4)
    y = rng.normal(size=1500)
    old, new = y + rng.normal(0, 1, 1500), y + rng.normal(0, 1.2, 1500)
    found = paired_bootstrap("regression", "mae", y, old, new, **(SETTINGS | {"resamples": 4000}))
    difference = np.abs(new - y) - np.abs(old - y)
    half = stats.t.ppf(0.95, 1499) * stats.sem(difference)
    assert found.difference == pytest.approx(difference.mean())
    assert found.lower == pytest.approx(difference.mean() - half, abs=0.003)
    assert found.upper == pytest.approx(difference.mean() + half, abs=0.003)


def test_the_spread_of_the_auc_difference_is_delongs() -> None:
    rng = np.random.default_rng(5)
    y = (rng.random(1200) < 0.3).astype(int)
    shared = rng.normal(size=1200)
    scores = [stats.norm.cdf(y * gap + shared + rng.normal(size=1200)) for gap in (1.0, 1.1)]
    found = paired_bootstrap("binary", "roc_auc", y, *scores, **(SETTINGS | {"resamples": 4000}))
    spread = (found.upper - found.lower) / 2 / stats.norm.ppf(0.95)
    assert spread == pytest.approx(_delong(y, *scores), rel=0.08)


def _delong(y: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Standard error of an AUC difference (DeLong, DeLong and Clarke-Pearson 1988)."""
    pairs = [np.sign(p[y == 1][:, None] - p[y == 0][None, :]) / 2 + 0.5 for p in (first, second)]
    difference = pairs[1] - pairs[0]
    by_positive, by_negative = difference.mean(axis=1), difference.mean(axis=0)
    return float(np.sqrt(
        by_positive.var(ddof=1) / len(by_positive) + by_negative.var(ddof=1) / len(by_negative)
    ))  # fmt: skip


def test_the_bound_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(6)
    covered, wrongly_accepted, runs = 0, 0, 300
    # Mean absolute errors of normal noise are known: sigma * sqrt(2 / pi).
    truth = (1.2 - 1.0) * np.sqrt(2 / np.pi)
    for run in range(runs):
        y = rng.normal(size=200)
        old, new = y + rng.normal(0, 1.0, 200), y + rng.normal(0, 1.2, 200)
        settings = {"resamples": 200, "confidence": 0.9, "margin": truth, "seed": run}
        found = paired_bootstrap("regression", "mae", y, old, new, **settings)
        covered += found.upper >= truth
        wrongly_accepted += found.non_inferior
    # 90 % +- 3 standard errors, and as much again for the bootstrap's own small-sample error.
    assert 0.83 <= covered / runs <= 0.96
    assert wrongly_accepted / runs <= 0.17


def test_repeated_rows_of_an_entity_are_no_new_evidence() -> None:
    rng = np.random.default_rng(7)
    y = rng.normal(size=100)
    old, new = y + rng.normal(0, 1, 100), y + rng.normal(0, 1, 100)
    copies = [np.repeat(values, 25) for values in (y, old, new)]
    groups = np.repeat(np.arange(100), 25)
    once = paired_bootstrap("regression", "mae", y, old, new, **SETTINGS)
    grouped = paired_bootstrap("regression", "mae", *copies, groups=groups, **SETTINGS)
    naive = paired_bootstrap("regression", "mae", *copies, **SETTINGS)
    assert grouped.units == 100
    assert (grouped.lower, grouped.upper) == pytest.approx((once.lower, once.upper))
    assert naive.upper - naive.lower < 0.3 * (once.upper - once.lower)


@pytest.mark.parametrize(("metric", "better"), [("accuracy", 1), ("log_loss", -1)])
@pytest.mark.parametrize("by", [-0.05, 0.05])
def test_goal_and_margin_decide_which_side_counts(metric: str, better: int, by: float) -> None:
    rng = np.random.default_rng(8)
    y = rng.integers(0, 2, 4000)
    signal = np.where(y == 1, 1.0, -1.0)
    old, new = (
        stats.norm.cdf(gain * signal + rng.normal(size=4000)) for gain in (1.0, 1.0 + by * 6)
    )
    found = paired_bootstrap("binary", metric, y, old, new, **(SETTINGS | {"margin": 0.0}))
    assert np.sign(found.difference) == np.sign(by) * better
    assert found.non_inferior is (by > 0)
    wide = paired_bootstrap("binary", metric, y, old, new, **(SETTINGS | {"margin": 1.0}))
    assert wide.non_inferior


def test_the_bound_and_not_the_point_decides() -> None:
    rng = np.random.default_rng(9)
    y = rng.normal(size=60)
    new, old = y + rng.normal(0, 1, 60), y + rng.normal(0, 1, 60)
    found = paired_bootstrap("regression", "rmse", y, old, new, **SETTINGS)
    within = abs(found.difference) + 0.01
    assert found.upper > within
    narrow = paired_bootstrap("regression", "rmse", y, old, new, **(SETTINGS | {"margin": within}))
    assert narrow.difference <= narrow.margin
    assert not narrow.non_inferior


def test_too_few_positives_leave_no_bound() -> None:
    y = np.array([1] + [0] * 199)
    p = np.linspace(0, 1, 200)
    found = paired_bootstrap("binary", "roc_auc", y, p, p, **SETTINGS)
    # A single positive is missing from (1 - 1/200)^200, about 37 %, of the resamples.
    assert found.undefined == pytest.approx(0.367 * 400, abs=40)
    assert (found.lower, found.upper) == (None, None)
    assert not found.non_inferior


def test_a_metric_that_is_not_defined_on_the_rows_raises() -> None:
    with pytest.raises(EvaluationError, match="roc_auc is not defined"):
        paired_bootstrap("binary", "roc_auc", np.zeros(9), np.full(9, 0.1), np.full(9, 0.2),
                         **SETTINGS)  # fmt: skip
    with pytest.raises(EvaluationError, match="not defined"):
        paired_bootstrap("regression", "mae", *[np.array([])] * 3, **SETTINGS)


def test_a_metric_of_another_task_raises() -> None:
    with pytest.raises(EvaluationError, match="rmse is not a metric for binary"):
        paired_bootstrap("binary", "rmse", *_case("binary"), **SETTINGS)


def test_the_seed_decides_the_bounds() -> None:
    y, old, new = _case("binary")
    first, second = (paired_bootstrap("binary", "brier", y, old, new, **SETTINGS) for _ in range(2))
    other = paired_bootstrap("binary", "brier", y, old, new, **(SETTINGS | {"seed": 4}))
    assert first == second
    assert other.lower != first.lower
    assert Comparison.from_dict(first.to_dict()) == first


def test_sixty_thousand_rows_are_compared_in_seconds() -> None:
    rng = np.random.default_rng(10)
    y = (rng.random(60_000) < 0.2).astype(int)
    old, new = (stats.norm.cdf(y + rng.normal(size=60_000)) for _ in range(2))
    paired_bootstrap("binary", "roc_auc", y[:100], old[:100], new[:100], **SETTINGS)
    start = time.perf_counter()
    paired_bootstrap("binary", "roc_auc", y, old, new, **(SETTINGS | {"resamples": 500}))
    # About 2 s on two cores; scikit-learn resample by resample needs half a minute.
    assert time.perf_counter() - start < 12
