"""``workspace.yaml``: one Dagster code location for each team, here or behind a code server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mlops_assets.config.problems import Problem, nearest
from mlops_assets.config.yaml_reader import read_yaml

WORKSPACE_FILE = "workspace.yaml"
_MODULE = "mlops_assets.definitions"
_LOCATION = """\
  - python_module:
      module_name: {module}
      attribute: {team}
      location_name: {team}
      working_directory: .
"""
_SERVER = """\
  - grpc_server:
      host: {host}
      port: {port}
      location_name: {team}
"""


def render_grpc_workspace(teams: Iterable[str], host: str, port: int) -> str:
    """A workspace whose locations are code servers.

    Args:
        teams: Names of the teams.
        host: Host of every server; ``{team}`` in it stands for the team's name.
        port: Port of every server; with one host for all, of the first: the others follow.
    """
    lines = ["# Made by `mlops workspace`: one code server per team.\nload_from:\n"]
    for team, server_port in server_ports(teams, host, port).items():
        place = host.replace("{team}", team)
        lines.append(_SERVER.format(host=place, port=server_port, team=team))
    return "".join(lines)


def server_ports(teams: Iterable[str], host: str, port: int) -> dict[str, int]:
    """Port of each team's code server: one for all hosts, or one after the other on one host."""
    step = 0 if "{team}" in host else 1
    return {team: port + step * number for number, team in enumerate(sorted(teams))}


def teams_in_workspace(root: Path) -> list[str] | None:
    """Teams with a code location, or None when there is no readable ``workspace.yaml``."""
    file = root / WORKSPACE_FILE
    if not file.is_file():
        return None
    document = read_yaml(file.read_bytes())
    if not document.complete or not isinstance(document.data, dict):
        return None
    entries = document.data.get("load_from") or []
    return list(_teams(entries)) if isinstance(entries, list) else None


def _teams(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        module = entry.get("python_module") if isinstance(entry, dict) else None
        if isinstance(module, dict) and module.get("module_name") == _MODULE:
            yield str(module.get("attribute"))


def add_team(root: Path, team: str) -> Path | None:
    """Give a team its code location.

    Returns:
        The file, when it was changed; None when the team was there or the file is not of the
        expected form (``mlops check`` then says so).
    """
    file = root / WORKSPACE_FILE
    known = teams_in_workspace(root)
    if known is None or team in known:
        return None
    text = file.read_text(encoding="utf-8").rstrip("\n") + "\n"
    longer = text + _LOCATION.format(module=_MODULE, team=team)
    data = read_yaml(longer.encode()).data
    if not isinstance(data, dict) or team not in _teams(data.get("load_from") or []):
        return None
    file.write_text(longer, encoding="utf-8")
    return file


def find_workspace_problems(root: Path, teams: Iterable[str]) -> Iterator[Problem]:
    """Teams whose projects would never be shown, and locations that cannot be loaded.

    Args:
        root: Project root.
        teams: All teams with a project.
    """
    file = Path(WORKSPACE_FILE)
    known = teams_in_workspace(root)
    if known is None:
        return
    existing = set(teams)
    for team in sorted(existing - set(known)):
        expected = f"an entry with module_name: {_MODULE} and attribute: {team}"
        yield Problem(file, None, None, "load_from", f"no location of team {team}", expected)
    for team in sorted(set(known) - existing):
        found = f"a location of team {team}, which has no project"
        hint = nearest(team, existing - set(known))
        yield Problem(file, None, None, "load_from", found, "a team's folder name", hint)
