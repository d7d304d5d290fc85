"""The committed catalogue is what the installed Great Expectations says."""

from __future__ import annotations

from pathlib import Path

import pytest

import mlops_assets.config.expectation_catalogue as catalogue
from mlops_assets.config.expectations import ExpectationSpec
from mlops_assets.quality.catalogue import render_catalogue
from mlops_assets.quality.validation import build_expectation

pytestmark = pytest.mark.slow


def test_the_committed_catalogue_is_current() -> None:
    """If not, write the output of ``python -m mlops_assets.quality.catalogue`` to it."""
    committed = Path(catalogue.__file__).with_name("expectations.json").read_text(encoding="utf-8")
    assert committed == render_catalogue()


def test_a_date_with_time_keeps_its_time() -> None:
    from datetime import datetime

    spec = ExpectationSpec.model_validate(
        {
            "type": "expect_column_values_to_be_between",
            "column": "at",
            "min_value": datetime(2013, 1, 1, 5, 30),
        }
    )
    assert build_expectation(spec).min_value == datetime(2013, 1, 1, 5, 30)
