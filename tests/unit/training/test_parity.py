"""Two runtimes agree, or the message says where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from mlops_assets.config.deployment import ToleranceSpec
from mlops_assets.errors import ParityError
from mlops_assets.training.parity import check_parity

TOLERANCE = ToleranceSpec(absolute=0.01, relative=0.1, decisions_changed=0.1)


def test_differences_within_the_tolerance_pass_and_are_reported():
    report = check_parity(
        np.array([0.2, 0.8]), np.array([0.21, 0.75]), task="binary", tolerance=TOLERANCE
    )

    assert report.worst_absolute == pytest.approx(0.05)
    assert (report.worst_row, report.beyond_tolerance, report.decisions_changed) == (1, 0, 0)


def test_the_worst_row_and_output_are_named():
    expected = np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]])
    found = expected + np.array([[0, 0], [0, 0.3], [0.05, 0]])

    with pytest.raises(ParityError, match=r"row 1, output 1: 0\.8\n.*expected: 0\.5"):
        check_parity(expected, found, task="multiclass", tolerance=TOLERANCE)


def test_changed_decisions_block_even_within_the_tolerance():
    expected, found = np.full(20, 0.499), np.full(20, 0.501)

    with pytest.raises(ParityError, match=r"100\.00% of the decisions"):
        check_parity(expected, found, task="binary", tolerance=TOLERANCE)
    check_parity(expected, found, task="binary", tolerance=TOLERANCE, threshold=0.7)


def test_regression_is_judged_in_label_deviations():
    expected, found = np.array([0.0, 1000.0]), np.array([5.0, 1000.0])

    check_parity(expected, found, task="regression", tolerance=TOLERANCE, deviation=1000)
    with pytest.raises(ParityError):
        check_parity(expected, found, task="regression", tolerance=TOLERANCE, deviation=100)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("side", [0, 1])
def test_numbers_that_are_not_finite_never_agree(bad, side):
    pair = [np.array([0.5, 0.5]), np.array([0.5, 0.5])]
    pair[side][1] = bad
    runtime = ("torch", "ONNX Runtime")[side]

    with pytest.raises(ParityError, match=f"{runtime} gives 1 predictions.*\n.*row 1"):
        check_parity(*pair, task="binary", tolerance=TOLERANCE)


def test_other_shapes_and_no_rows_never_agree():
    with pytest.raises(ParityError, match="shapes"):
        check_parity(np.zeros(3), np.zeros((3, 1)), task="binary", tolerance=TOLERANCE)
    with pytest.raises(ParityError, match="no rows"):
        check_parity(np.zeros(0), np.zeros(0), task="binary", tolerance=TOLERANCE)
