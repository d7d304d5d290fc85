"""Which offsets are taken next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mlops_assets.config.kafka import KafkaSource
from mlops_assets.errors import SourceError
from mlops_assets.sources.incremental import Plan, Slice
from mlops_assets.sources.kafka_plan import newest_event, plan_topic, position

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def source(**options: Any) -> KafkaSource:
    return KafkaSource.model_validate(
        {
            "type": "kafka",
            "bootstrap_servers": "a:1",
            "topic": "orders",
            "columns": {"id": "int", "at": "timestamp"},
            "max_messages_per_slice": 10,
            **options,
        }
    )


def part(end: int, partition: int = 0, **detail: Any) -> Slice:
    return Slice(f"p{partition:05}", position(0), position(end), {"topic": "orders", **detail})


def plan(
    taken: list[Slice], marks: dict[int, tuple[int, int]], spec: KafkaSource | None = None
) -> Plan:
    places = {s.series: s for s in taken}
    return plan_topic(spec or source(), places, marks, "team/mine orders", NOW)


def spans(planned: Plan) -> list[tuple[str, int, int]]:
    return [(s.series, int(s.start), int(s.end)) for s in planned.slices]


def test_ranges_of_bounded_size_from_where_the_last_one_ended() -> None:
    planned = plan([part(5)], {0: (0, 27), 3: (4, 6)})
    assert spans(planned) == [
        ("p00000", 5, 15),
        ("p00000", 15, 25),
        ("p00000", 25, 27),
        ("p00003", 0, 4),
        ("p00003", 4, 6),
    ]
    assert [bool(s.detail.get("skip")) for s in planned.slices] == [False] * 3 + [True, False]
    assert planned.waiting == 24
    assert planned.slices[0].name == "p00000-00000000000000000005"
    assert planned.gaps == ()


def test_nothing_new() -> None:
    assert plan([part(27)], {0: (3, 27)}) == Plan((), 0)
    assert plan([], {0: (0, 0)}) == Plan((), 0)


def test_a_gap_is_told_and_the_rest_goes_on() -> None:
    planned = plan([part(5)], {0: (8, 12)})
    assert spans(planned) == [("p00000", 5, 8), ("p00000", 8, 12)]
    assert [bool(s.detail.get("skip")) for s in planned.slices] == [True, False]
    assert (int(planned.gaps[0].start), int(planned.gaps[0].end)) == (5, 8)
    assert planned.waiting == 4


def test_a_gap_up_to_the_end() -> None:
    planned = plan([part(5)], {0: (12, 12)})
    assert (spans(planned), planned.waiting, len(planned.gaps)) == ([("p00000", 5, 12)], 0, 1)
    # It is told once, and a later loss is another one.
    assert plan([*planned.slices], {0: (12, 12)}) == Plan((), 0)
    (later,) = plan([*planned.slices], {0: (20, 20)}).gaps
    assert (int(later.start), int(later.end)) == (12, 20)


def test_plans_before_and_after_a_loss_want_the_same_name() -> None:
    before, after = (plan([], {0: (low, 30)}).slices[0].name for low in (0, 8))
    assert before == after
    before, after = (plan([part(5)], {0: (low, 30)}).slices[0].name for low in (0, 8))
    assert before == after


def test_a_gap_can_stop_the_source() -> None:
    with pytest.raises(SourceError, match="partition 0, offsets 5 to 7 are gone"):
        plan([part(5)], {0: (8, 12)}, source(on_gap="fail"))


def test_the_first_oldest_message_is_no_gap() -> None:
    assert plan([], {0: (8, 12)}).gaps == ()


def test_latest_begins_once_and_new_partitions_from_their_first_message() -> None:
    spec = source(start="latest")
    first = plan([], {0: (3, 9), 1: (4, 4), 2: (0, 0)}, spec)
    assert spans(first) == [("p00000", 0, 9), ("p00001", 0, 4)]
    assert all(s.detail["skip"] for s in first.slices)
    assert first.waiting == 0
    later = plan([*first.slices], {0: (3, 11), 1: (4, 4), 2: (0, 2)}, spec)
    assert spans(later) == [("p00000", 9, 11), ("p00002", 0, 2)]
    # Killed after the first slice: the other partition still begins where it ended then.
    again = plan([first.slices[0]], {0: (3, 9), 1: (4, 7), 2: (0, 0)}, spec)
    assert spans(again) == [("p00001", 0, 4), ("p00001", 4, 7)]
    assert [bool(s.detail.get("skip")) for s in again.slices] == [True, False]
    assert not any(s.detail.get("skip") for s in later.slices)


def test_latest_of_an_empty_topic_is_its_first_message() -> None:
    spec = source(start="latest", group="outside")
    (begun,) = plan([], {0: (0, 0), 1: (0, 0)}, spec).slices
    assert begun.detail["skip"]
    assert plan([begun], {0: (0, 0), 1: (0, 0)}, spec).slices == ()
    later = plan([begun], {0: (0, 3), 1: (0, 0)}, spec)
    assert spans(later) == [("p00000", 0, 3)]
    assert later.waiting == 3
    with pytest.raises(SourceError, match="not the topic"):
        plan([begun], {0: (0, 3)}, source(start="latest", topic="others"))


@pytest.mark.parametrize(
    "marks", [{0: (0, 4)}, {1: (0, 9)}], ids=["shorter than before", "a partition less"]
)
def test_a_topic_that_was_made_again(marks: dict[int, tuple[int, int]]) -> None:
    with pytest.raises(SourceError, match="give the source a new name"):
        plan([part(5)], marks)


def test_another_topic() -> None:
    with pytest.raises(SourceError, match="topic orders with at least 5"):
        plan([part(5)], {0: (0, 9)}, source(topic="others"))


def test_the_newest_event_is_carried_on() -> None:
    old, new = "2026-01-01T00:00:00.000000+00:00", "2026-01-02T00:00:00.000000+00:00"
    taken = [part(5, watermark=new), part(5, 1, latest=old), part(5, 2, latest=None)]
    assert newest_event(taken) == new
    assert newest_event([]) is None
    spec = source(time_column="at", lateness="1h")
    planned = plan(taken, dict.fromkeys(range(3), (0, 9)), spec)
    assert {s.detail["watermark"] for s in planned.slices} == {new}
    assert {s.detail["planned_at"] for s in planned.slices} == {"2026-03-01T12:00:00.000000+00:00"}
    assert "watermark" not in plan(taken, dict.fromkeys(range(3), (0, 9))).slices[0].detail


def test_a_watermark_of_the_future_is_left_behind() -> None:
    """Older releases took it over from one bad event, and all rows were late from then on."""
    future = "2999-01-01T00:00:00.000000+00:00"
    spec = source(time_column="at", lateness="1h")
    for detail in ({"latest": future}, {"watermark": future}):
        (planned,) = plan([part(5, **detail)], {0: (0, 9)}, spec).slices
        assert planned.detail["watermark"] == "2026-03-01T12:05:00.000000+00:00"


def test_a_large_backlog_is_planned_in_portions() -> None:
    planned = plan([], {0: (0, 10**12)})
    assert len(planned.slices) == 1000
    assert planned.waiting == 10**12
