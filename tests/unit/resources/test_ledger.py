"""The ledger: what entries add up to, and who wins when two write at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.errors import LedgerConflictError
from resources.ledger import (
    LEASE,
    LIVE_ACTIONS,
    Action,
    Entry,
    Ledger,
    LedgerState,
    fold,
    is_dead,
    writer_identity,
)
from resources.local_store import LocalStore

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
Step = tuple[Action, int]


def entries(*steps: Step) -> list[Entry]:
    return [
        Entry(
            sequence=number,
            action=action,
            version=version,
            bundle_id=f"sha256:{version}",
            run_id=f"run-{number}",
            reason="",
            evidence={},
            at=NOW,
        )
        for number, (action, version) in enumerate(steps, start=1)
    ]


def live(*versions: int) -> list[Step]:
    """Versions that were deployed one after the other."""
    return [step for v in versions for step in ((("deploy", v)), ("promote", v))]  # type: ignore[misc]


def state(*steps: Step, keep: int = 3) -> LedgerState:
    return fold(entries(*steps), keep)


def test_an_empty_ledger_has_nothing() -> None:
    assert fold([], 3) == LedgerState()
    assert LedgerState().next_version == 1
    assert LedgerState().champion_version is None


@pytest.mark.parametrize(
    ("steps", "serving"),
    [
        ([("deploy", 1)], ()),
        (live(1), (1,)),
        (live(1, 2), (2, 1)),
        (live(1, 2, 3, 4), (4, 3, 2)),
        ([*live(1), ("deploy", 2)], (1,)),
        ([*live(1), ("deploy", 2), ("quarantine", 2)], (1,)),
        ([*live(1), ("deploy", 2), ("abandon", 2), *live(3)], (3, 1)),
        ([*live(1, 2, 3), ("rollback", 2)], (2, 1)),
        ([*live(1, 2, 3), ("rollback", 1)], (1,)),
        ([*live(1, 2, 3), ("rollback", 1), ("rollback", 3)], (3, 1)),
        ([*live(1, 2, 3), ("rollback", 2), *live(4)], (4, 2, 1)),
        ([*live(1, 2), ("retire", 2)], ()),
        ([*live(1, 2), ("retire", 2), *live(3)], (3, 2, 1)),
        ([*live(1, 2), ("retire", 2), ("rollback", 1)], (1,)),
    ],
)
def test_what_is_served(steps: list[Step], serving: tuple[int, ...]) -> None:
    result = state(*steps)
    assert result.serving == serving
    assert result.champion_version == (serving[0] if serving else None)


def test_only_so_many_versions_stay_loaded() -> None:
    assert state(*live(1, 2, 3), keep=1).serving == (3,)
    assert state(*live(1, 2, 3), keep=2).serving == (3, 2)
    assert state(*live(1, 2, 3), keep=20).serving == (3, 2, 1)


def test_a_begun_deployment_is_pending_until_its_own_end() -> None:
    pending = state(*live(1), ("deploy", 2)).pending
    assert pending is not None
    assert pending.version == 2
    assert state(*live(1), ("deploy", 2), ("rollback", 1)).pending is not None
    for end in ("promote", "quarantine", "abandon"):
        assert state(*live(1), ("deploy", 2), (end, 2)).pending is None  # type: ignore[arg-type]


def test_what_a_rollback_left_is_known_until_it_is_live_again() -> None:
    gone = [*live(1, 2, 3), ("rollback", 1)]
    assert state(*gone).left == {"sha256:3": 3}
    assert state(*gone, ("rollback", 3)).left == {}
    assert state(*gone, ("rollback", 2)).left == {"sha256:3": 3}
    assert state(*gone, *live(4)).left == {"sha256:3": 3}
    assert state(*live(1, 2, 3)).left == {}


def test_a_number_is_never_used_twice() -> None:
    assert state(("deploy", 1), ("abandon", 1)).next_version == 2
    assert state(*live(1, 2, 3), ("rollback", 1)).next_version == 4
    assert state(*live(1), ("retire", 1)).next_version == 2


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    """Ledgers as the engine writes them: every step is one that the state before it allows."""
    steps: list[Step] = []
    for _ in range(draw(st.integers(0, 25))):
        now = fold(entries(*steps), 3)
        choices: list[Step] = []
        if now.pending is None:
            choices.append(("deploy", now.next_version))
        else:
            ends: tuple[Action, ...] = ("promote", "quarantine", "abandon")
            choices += [(end, now.pending.version) for end in ends]
        if now.champion is not None:
            choices.append(("retire", now.champion.version))
        choices += [("rollback", v) for v in sorted(now.lived) if v != now.champion_version]
        steps.append(draw(st.sampled_from(choices)))
    return entries(*steps)


@given(histories(), st.integers(1, 5))
def test_every_history_has_one_champion_and_it_is_what_clients_get(
    history: list[Entry], keep: int
) -> None:
    result = fold(history, keep)
    assert len(result.serving) <= keep
    assert list(result.serving) == sorted(set(result.serving), reverse=True)
    assert set(result.serving) <= result.lived
    assert not set(result.serving) & result.quarantined
    if result.champion is None:
        assert result.serving == ()
    else:
        assert max(result.serving) == result.champion.version
        assert result.champion.bundle_id not in result.left
    assert result.next_version > max((entry.version for entry in history), default=0)
    last = [entry for entry in history if entry.action in LIVE_ACTIONS or entry.action == "retire"]
    wanted = last[-1].version if last and last[-1].action != "retire" else None
    assert result.champion_version == wanted


# --- in the store --------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(LocalStore(tmp_path / "store"), "ledger/rail/late")


def append(ledger: Ledger, action: Action, version: int, head: int, **more: Any) -> Entry:
    values = {"bundle_id": f"sha256:{version}", "run_id": "run", "reason": "", **more}
    return ledger.append(action, version=version, expected_head=head, **values)


def test_entries_come_back_as_they_were_written(ledger: Ledger) -> None:
    first = append(ledger, "deploy", 1, 0, evidence={"auc": 0.5, "why": "数"}, reason="new data")
    second = append(ledger, "promote", 1, 1)
    assert ledger.entries() == [first, second]
    assert ledger.state().champion == second
    assert first.at.tzinfo is not None


def test_more_entries_than_digits_stay_in_order(ledger: Ledger) -> None:
    for number in range(12):
        append(ledger, "deploy", number + 1, number)
    assert [entry.sequence for entry in ledger.entries()] == list(range(1, 13))


def test_a_stale_writer_is_told_who_won(ledger: Ledger) -> None:
    append(ledger, "deploy", 1, 0, run_id="the fast one")
    with pytest.raises(LedgerConflictError, match="the fast one"):
        append(ledger, "deploy", 1, 0, run_id="the slow one")
    assert [entry.run_id for entry in ledger.entries()] == ["the fast one"]


def test_of_many_threads_one_wins_each_entry(ledger: Ledger) -> None:
    won: list[str] = []
    start = threading.Barrier(12)

    def write(name: str) -> None:
        start.wait()
        try:
            append(ledger, "deploy", 1, 0, run_id=name)
        except LedgerConflictError:
            return
        won.append(name)

    threads = [threading.Thread(target=write, args=(f"t{n}",)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [entry.run_id for entry in ledger.entries()]
    assert len(won) == 1


WRITER = """
import sys, time
from pathlib import Path
from mlops_assets.errors import LedgerConflictError
from resources.ledger import Ledger
from resources.local_store import LocalStore
name, root, go = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
ledger = Ledger(LocalStore(root), "ledger/rail/late")
print("ready", flush=True)
while not go.exists():
    time.sleep(0.001)
won = 0
for head in range(20):
    try:
        ledger.append("deploy", version=head + 1, bundle_id="b", run_id=name, reason="",
                      expected_head=head)
        won += 1
    except LedgerConflictError:
        pass
print(won)
"""


def test_of_three_processes_one_wins_each_entry(tmp_path: Path) -> None:
    go = tmp_path / "go"
    store = tmp_path / "store"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, f"p{n}", str(store), str(go)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for n in range(3)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    go.touch()
    won = [int(child.communicate(timeout=60)[0]) for child in children]
    assert sum(won) == 20
    written = Ledger(LocalStore(store), "ledger/rail/late").entries()
    assert [entry.sequence for entry in written] == list(range(1, 21))


# --- dead deployments ----------------------------------------------------------------------------


def begun(evidence: dict[str, Any], *, age: timedelta = timedelta(0)) -> Entry:
    [entry] = entries(("deploy", 1))
    return entry.model_copy(update={"evidence": evidence, "at": NOW - age})


def test_a_running_process_is_alive() -> None:
    assert not is_dead(begun(writer_identity()), NOW)


def test_a_process_that_ended_is_dead() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_dead(begun({**writer_identity(), "pid": ended.pid}), NOW)


def test_a_killed_process_that_nobody_waited_for_is_dead() -> None:
    child = subprocess.Popen(["sleep", "60"])
    identity = {**writer_identity(), "pid": child.pid, "start_ticks": _ticks(child.pid)}
    assert not is_dead(begun(identity), NOW)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(begun(identity), NOW)
    child.wait()


def _ticks(pid: int) -> int | None:
    from resources.processes import start_ticks

    return start_ticks(pid)


def test_another_process_with_its_number_does_not_make_it_alive() -> None:
    mine = writer_identity()
    assert is_dead(begun({**mine, "start_ticks": mine["start_ticks"] + 1}), NOW)


def test_elsewhere_only_the_lease_counts() -> None:
    # A container has process ids of its own, and may have its host's name.
    elsewhere = {**writer_identity(), "machine": "0123456789ab", "pid": 1, "start_ticks": 1}
    assert not is_dead(begun(elsewhere), NOW)
    assert not is_dead(begun(elsewhere, age=LEASE), NOW)
    assert is_dead(begun(elsewhere, age=LEASE + timedelta(seconds=1)), NOW)


def test_a_run_that_comes_back_gives_up_its_own(ledger: Ledger) -> None:
    assert is_dead(begun(writer_identity()), NOW, "run-1")
    assert not is_dead(begun(writer_identity()), NOW, "another run")


def test_keys_sort_as_numbers(ledger: Ledger, tmp_path: Path) -> None:
    for head in range(10):
        append(ledger, "deploy", head + 1, head)
    names: Sequence[str] = LocalStore(tmp_path / "store").keys("ledger/rail/late")
    assert len(names) == 10
    assert sorted(names)[-1].endswith("000010.json")
