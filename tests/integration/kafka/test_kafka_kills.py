"""Ingestions that are killed at any moment, and two at once, lose and double nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from killing import kill_and_count


@pytest.mark.kafka
@pytest.mark.slow
def test_kills_lose_and_double_nothing(servers: str, tmp_path: Path) -> None:
    outcome = kill_and_count(servers, "killed", tmp_path / "store", kills=12, messages=6_000)
    assert (outcome.sent, outcome.lost, outcome.doubled) == (6_000, 0, 0)
    assert outcome.cut_off > 0, "no kill hit an ingestion at work: the test shows nothing"
