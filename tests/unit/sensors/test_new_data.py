"""What the new-data sensor asks for, and under which run key."""

from __future__ import annotations

from mlops_assets.keys import ProjectId
from sensors.new_data import SourceState, build_run_requests, changed

FLIGHTS = ProjectId("flights", "arrival_delay")
GROCERY = ProjectId("grocery", "household_spend")


def state(
    source: str,
    digest: str,
    ingested: str | None,
    *,
    sequence: int = 1,
    project: ProjectId = FLIGHTS,
) -> SourceState:
    return SourceState(project, source, digest, ingested, sequence)


def test_only_bytes_that_nobody_ingested_or_asked_for_count() -> None:
    new, known, asked = state("new", "b", "a"), state("known", "a", "a"), state("asked", "b", "a")
    seen = {asked.cursor_key: "b", new.cursor_key: "a"}
    assert changed([new, known, asked], seen) == [new]


def test_a_source_that_was_never_ingested_is_new() -> None:
    first = state("flights", "a", None, sequence=0)
    assert changed([first], {}) == [first]


def test_a_snapshot_that_goes_back_to_what_was_seen_is_new_after_another_was_ingested() -> None:
    """A tick saw b, the run that it asked for took c, and then the rows are b again."""
    asked = SourceState(FLIGHTS, "orders", "b", "a", 1, is_snapshot=True)
    seen = {asked.cursor_key: asked.asked}
    assert changed([asked], seen) == []
    back = SourceState(FLIGHTS, "orders", "b", "c", 2, is_snapshot=True)
    assert changed([back], seen) == [back]
    assert build_run_requests([back])[0].run_key != build_run_requests([asked])[0].run_key


def test_one_run_for_all_changed_sources_of_a_project() -> None:
    requests = build_run_requests(
        [
            state("weather", "b", "a"),
            state("x", "b", "a", project=GROCERY),
            state("flights", "b", "a"),
        ]
    )
    keys = [[key.path for key in request.asset_selection] for request in requests]
    assert keys == [
        [
            ["flights", "arrival_delay", "raw", "flights"],
            ["flights", "arrival_delay", "raw", "weather"],
        ],
        [["grocery", "household_spend", "raw", "x"]],
    ]
    assert [request.tags["mlops/project"] for request in requests] == [str(FLIGHTS), str(GROCERY)]


def test_the_same_request_twice_has_the_same_run_key() -> None:
    def request() -> str | None:
        return build_run_requests([state("flights", "b", "a")])[0].run_key

    assert request() is not None
    assert request() == request()


def test_going_back_to_earlier_content_is_a_new_request() -> None:
    """A run key de-duplicates for ever: a → b → a must not be dropped as already done."""
    first = build_run_requests([state("flights", "a", None, sequence=0)])[0]
    again = build_run_requests([state("flights", "a", "b", sequence=2)])[0]
    assert first.run_key != again.run_key
