"""The page on alerts says what the code does."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import get_args

import pytest

from mlops_assets.alerts.base import KINDS
from mlops_assets.config.alerts import SECRETS, AlertKind, AlertsSpec, Route
from mlops_assets.config.team import TYPES, load_team

PAGE = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text("utf-8")
ENVIRON = {"FLIGHTS_CHAT_WEBHOOK": "https://hooks.example.org/x", "SMTP_PASSWORD": "hunter2"}


def test_the_example_is_valid(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "project_configs" / "flights").mkdir(parents=True)
    (tmp_path / "project_configs" / "flights" / "team.yaml").write_text(example)
    loaded = load_team("flights", tmp_path, ENVIRON)
    assert loaded.problems == []
    assert set(loaded.spec.alerts.channels) == {"chat", "duty", "log"}


def test_every_setting_is_on_the_page() -> None:
    models = [AlertsSpec, Route, *TYPES.values()]
    names = {name for model in models for name in model.model_fields} - {"type"}
    assert len(names) > 12
    assert {name for name in names if f"`{name}`" not in PAGE and f"{name}:" not in PAGE} == set()


def test_every_kind_is_on_the_page() -> None:
    kinds = set(get_args(AlertKind))
    assert set(re.findall(r"^\| `(\w+)` \| .*", PAGE, re.MULTILINE)) >= kinds | set(TYPES)
    assert set(KINDS.values()) < kinds


def test_every_setting_has_a_description() -> None:
    for model in [AlertsSpec, Route, *TYPES.values()]:
        for name, field in model.model_fields.items():
            assert field.description, (model, name)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_type_has_its_file(kind: str) -> None:
    assert hasattr(importlib.import_module(f"mlops_assets.alerts.{kind}").SENDER, "send")
    assert set(SECRETS.get(kind, ())) <= set(TYPES[kind].model_fields)
