"""The example projects: valid, short, and nothing wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_assets.config.checking import check_paths
from mlops_assets.config.loader import load_project

ROOT = Path(__file__).parents[2]
EXAMPLES = ("flights/arrival_delay", "grocery/household_spend")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short(name: str) -> None:
    folder = ROOT / "project_configs" / name
    assert 15 <= len((folder / "defs.yaml").read_text().splitlines()) <= 50
    project = load_project(folder, ROOT)
    assert project.spec.evaluation.gates
    assert project.spec.checks.keys() >= {"features"}


def test_nothing_is_wrong_with_them() -> None:
    report = check_paths([], ROOT, {})
    assert len(report.files) >= len(EXAMPLES)
    assert not report.problems


def test_the_label_and_what_is_known_only_later_are_no_input() -> None:
    project = load_project(ROOT / "project_configs" / "flights" / "arrival_delay", ROOT)
    known_later = {"is_late", "dep_delay", "arr_delay", "dep_time", "arr_time", "air_time"}
    assert not known_later & set(project.spec.features.inputs.names)
