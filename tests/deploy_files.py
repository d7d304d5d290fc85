"""The files of ``deploy/`` as tests read them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
INSTANCE = (DEPLOY / "dagster/dagster.yaml").read_text()


def compose() -> dict[str, Any]:
    """The compose file."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text())
    return found


def services() -> dict[str, Any]:
    """The processes of the compose file."""
    found: dict[str, Any] = compose()["services"]
    return found


def variables(name: str) -> dict[str, str]:
    """What an env file sets."""
    lines = (DEPLOY / name).read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def given() -> set[str]:
    """Variables that every process of the compose file has."""
    files = {
        name for file in services()["daemon"]["env_file"] for name in variables(f"{file}.example")
    }
    return files | set(services()["daemon"]["environment"])


def image_variables() -> set[str]:
    """Variables that are part of the image."""
    return set(re.findall(r"(\w+)=", (DEPLOY / "Dockerfile").read_text()))


def needed() -> set[str]:
    """Variables without which nobody can open the instance, a run's worker included."""
    return set(re.findall(r"^(?! *#).*\{env: (\w+)\}", INSTANCE, re.MULTILINE))


def examples(first: str) -> Any:
    """The lines that begin with a comment ``# <first>``, switched on."""
    text = re.search(rf"^( *)# {first}\n(\1#   .*\n|\1# \w+:\n)*", INSTANCE, re.MULTILINE)
    assert text is not None
    return yaml.safe_load(re.sub(r"^( *)# ", r"\1", text[0], flags=re.MULTILINE))
