"""A project on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

DEFS = """\
type: mlops_assets.MLProject
attributes:
  description: Will this flight arrive late?
  task: binary
  sources:
    flights: {type: files, uri: data/flights}
  features:
    query: features.sql
    entity: flight_id
    time: departure
    label: {column: is_late}
    inputs: {numeric: [distance], categorical: [carrier]}
"""
SQL = """\
SELECT flight_id, departure, is_late, distance, carrier
FROM flights
"""


@pytest.fixture
def write_project(tmp_path: Path) -> Callable[..., Path]:
    """Write ``project_configs/<team>/<project>`` below ``tmp_path``; returns its folder."""

    def write(name: str = "flights/delay", defs: str = DEFS, sql: str = SQL) -> Path:
        directory = tmp_path / "project_configs" / name
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "defs.yaml").write_text(defs)
        (directory / "features.sql").write_text(sql)
        return directory

    return write
