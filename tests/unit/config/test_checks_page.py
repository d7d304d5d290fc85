"""The examples on the page about checks are valid."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from mlops_assets.config.expectations import ExpectationSpec

PAGE = Path(__file__).parents[3] / "docs" / "concepts" / "checks.md"


def test_every_example_is_a_valid_expectation() -> None:
    blocks = [
        yaml.safe_load(block)
        for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    ]
    project, examples = blocks
    written = [one for target in project["checks"].values() for one in target] + examples
    assert len(examples) == 12
    for example in written:
        ExpectationSpec.model_validate(example)
