"""How often sensors look, by default and where the environment says so."""

from __future__ import annotations

import pytest

from mlops_assets.errors import EnvironmentProblemError
from sensors.pace import pace


def test_a_sensor_has_its_own_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLOPS_LOOK_SECONDS", raising=False)
    assert pace(30) == 30


def test_the_environment_makes_it_faster_and_never_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_LOOK_SECONDS", "45")
    assert (pace(30), pace(300)) == (30, 45)


@pytest.mark.parametrize("written", ["0", "-1", "5s", "²"])
def test_what_is_no_number_of_seconds_is_refused(
    monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("MLOPS_LOOK_SECONDS", written)
    with pytest.raises(EnvironmentProblemError, match="MLOPS_LOOK_SECONDS"):
        pace(30)
