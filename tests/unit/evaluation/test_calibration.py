from __future__ import annotations

import numpy as np
import pytest

from mlops_assets.evaluation.calibration import (
    calibration_bins,
    calibration_error,
    equal_mass_bins,
)


def test_bins_hold_the_same_mass() -> None:
    rng = np.random.default_rng(0)
    number = equal_mass_bins(rng.beta(1, 8, 1500))
    assert np.bincount(number).tolist() == [100] * 15


def test_equal_values_share_a_bin_whatever_their_order() -> None:
    values = np.array([0.1] * 50 + [0.2] * 3 + [0.9] * 47)
    shuffled = np.random.default_rng(1).permutation(len(values))
    number = equal_mass_bins(values)
    assert np.array_equal(equal_mass_bins(values[shuffled]), number[shuffled])
    assert len({(v, n) for v, n in zip(values, number, strict=True)}) == 3


def test_error_by_hand() -> None:
    # Two tied groups, so two bins: |3/4 - 0.5| on half of the rows, |1/4 - 0.2| on the others.
    y = np.array([1, 1, 1, 0, 1, 0, 0, 0])
    p = np.array([0.5] * 4 + [0.2] * 4)
    assert calibration_error(y, p) == pytest.approx(0.5 * 0.25 + 0.5 * 0.05)


def test_a_weight_of_three_is_the_row_three_times() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(200).round(2)
    y = (rng.random(200) < p**2).astype(int)
    weights = rng.integers(0, 4, 200)
    repeated = calibration_error(np.repeat(y, weights), np.repeat(p, weights))
    assert calibration_error(y, p, weights.astype(float)) == pytest.approx(repeated)


def test_calibrated_and_overconfident_predictions_are_told_apart() -> None:
    rng = np.random.default_rng(3)
    true = rng.random(50_000)
    y = (rng.random(50_000) < true).astype(int)
    assert calibration_error(y, true) < 0.012
    # A third of the true probability: the gap is two thirds of it, 1/3 on average.
    assert calibration_error(y, true / 3) == pytest.approx(1 / 3, abs=0.01)


def test_bins_say_where_how_many_and_what_came_true() -> None:
    y = np.array([0, 1, 1, 1])
    bins = calibration_bins(y, np.array([0.1, 0.1, 0.8, 0.9]), bins=2)
    assert bins == [
        {"lower": 0.1, "upper": 0.1, "rows": 2, "predicted": pytest.approx(0.1), "observed": 0.5},
        {"lower": 0.8, "upper": 0.9, "rows": 2, "predicted": pytest.approx(0.85), "observed": 1.0},
    ]
    assert calibration_bins(np.array([]), np.array([])) == []


def test_the_shown_bins_are_those_of_the_error() -> None:
    rng = np.random.default_rng(4)
    p = rng.random(3000)
    y = (rng.random(3000) < p**1.5).astype(int)
    bins = calibration_bins(y, p)
    by_bins = sum(b["rows"] * abs(b["observed"] - b["predicted"]) for b in bins) / 3000
    assert by_bins == pytest.approx(calibration_error(y, p))
