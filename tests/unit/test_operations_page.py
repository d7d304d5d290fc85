"""What docs/operations.md lists is complete."""

from __future__ import annotations

import re
from pathlib import Path

from mlops_assets.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")


def _section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_sensor_and_schedule_has_a_row() -> None:
    built = set()
    for path in (ROOT / "sensors").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        built |= set(re.findall(r"""f"\{(?:team|p\.id\.group|project\.id\.group)\}__(\w+)""", text))
    assert len(built) >= 10
    rows = re.findall(r"^\| (.+?) \|", _section("Sensors"), re.MULTILINE)
    named = set(re.findall(r"(?:`|__)([a-z_]+?)`", " ".join(rows)))
    assert {name.rstrip("_") for name in built} - named == set()


def test_every_command_is_listed() -> None:
    rows = "\n".join(re.findall(r"^\| (.+?) \|", _section("Commands"), re.MULTILINE))
    assert COMMANDS
    assert [name for name in COMMANDS if f"mlops {name}" not in rows] == []


def test_every_variable_of_the_settings_is_listed() -> None:
    text = (ROOT / "resources/settings.py").read_text(encoding="utf-8")
    text += (ROOT / "resources/s3.py").read_text(encoding="utf-8")
    variables = set(re.findall(r'"(MLOPS_[A-Z0-9_]+)"', text))
    assert len(variables) > 8
    assert [name for name in variables if f"`{name}`" not in _section("Settings")] == []
