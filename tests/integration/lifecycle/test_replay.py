"""Days of history as live traffic: the real server, sensors and runs, in a world of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO

import pytest
from click.testing import CliRunner
from rich.console import Console
from shop_world import World

from mlops_assets.cli.backtest import backtest
from mlops_assets.cli.lifecycle import RunOutcome
from mlops_assets.cli.replay import Plan, run_replay
from mlops_assets.replay.injection import Injection
from resources.processes import ProcessRecord
from resources.settings import TRITON_RECORD

pytestmark = [pytest.mark.spark, pytest.mark.triton, pytest.mark.slow]

MONITORING = """\
  monitoring:
    inference_log: {uri: live}
    window: {every: 1d, min_rows: 100}
"""


@pytest.fixture
def monitored(live: tuple[World, RunOutcome]) -> Iterator[World]:
    world, _ = live
    world.write_defs(extra=MONITORING)
    yield world
    world.write_defs()


def day(number: int) -> datetime:
    return datetime(1970, 1, number, tzinfo=UTC)


@pytest.mark.timeout(400)
def test_replay(monitored: World) -> None:
    project = monitored.project()
    ledger = len(monitored.ledger())
    fault = Injection.parse("nulls:city@1970-01-12..1970-01-13", project)
    output = StringIO()
    story = run_replay(
        Plan(project, day(11), day(15), (fault,)),
        monitored.settings,
        Console(file=output, width=200),
    )
    assert story.requests > 500
    assert [event["window"]["start"][:10] for event in story.events] == [
        f"1970-01-{number}" for number in (11, 12, 13)
    ]
    assert story.bad_data == 1
    assert all(run.success for run in story.runs)
    assert "city" in output.getvalue()
    assert story.picture is not None
    assert story.picture.read_bytes().startswith(b"\x89PNG")
    assert len(monitored.ledger()) == ledger, "the real project was touched"
    record = ProcessRecord.load(story.folder / "home" / TRITON_RECORD)
    assert record is None or not record.is_alive(), "its Triton was left running"


@pytest.mark.timeout(400)
def test_backtest(monitored: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    period = ["--from", "1970-01-11", "--to", "1970-01-14"]
    policies = ["--policy", "declared", "--against", "cron: 0 0 * * *"]
    result = CliRunner().invoke(backtest, ["shop/churn", *period, *policies])
    assert result.exit_code == 0, result.output
    rows = [line for line in result.output.splitlines() if "declared" in line or "cron:" in line]
    cells = [[cell.strip() for cell in row.split("│")] for row in rows]
    retrains = {row[1]: int(row[4]) for row in cells}
    assert retrains == {"declared": 0, "cron: 0 0 * * *": 2}
