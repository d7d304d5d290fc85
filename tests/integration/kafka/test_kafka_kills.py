"""A consumer that is killed at any moment loses and doubles nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from killing import kill_and_count


@pytest.mark.kafka
@pytest.mark.slow
def test_kills_lose_and_double_nothing(servers: str, tmp_path: Path) -> None:
    outcome = kill_and_count(servers, "killed", tmp_path / "store", kills=20, messages=20_000)
    assert (outcome.sent, outcome.lost, outcome.doubled) == (20_000, 0, 0)
    assert outcome.drafts > 0, "no kill hit a consumer at work: the test shows nothing"
