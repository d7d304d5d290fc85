"""What the README shows is true."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from mlops_assets.cli.main import COMMANDS
from mlops_assets.config.project import ProjectSpec

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_yaml_is_a_valid_project() -> None:
    block = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert block is not None
    document = yaml.safe_load(block[1])
    assert document["type"] == "mlops_assets.MLProject"
    assert ProjectSpec.model_validate(document["attributes"]).task == "binary"


def test_every_make_target_and_command_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z]+)", README))
    assert named
    assert named <= targets
    commands = set(re.findall(r"(?:\$ |`)mlops ([a-z]+)", README))
    assert commands
    assert commands <= set(COMMANDS)


def test_every_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []
