"""What ``mlops run`` says of wishes that it cannot follow."""

from __future__ import annotations

from mlops_assets.cli.lifecycle import compute_notes
from mlops_assets.config.compute import ComputeSpec
from mlops_assets.keys import ProjectId

CHURN = ProjectId("shop", "churn")


def test_nothing_is_said_where_nothing_was_wished() -> None:
    assert compute_notes(CHURN, ComputeSpec()) == []


def test_a_wish_is_shown_as_it_was_written() -> None:
    (line,) = compute_notes(CHURN, ComputeSpec(max_retries=1))
    assert "shop/churn" in line
    assert "max_retries: 1" in line
    assert "Dagster instance" in line
