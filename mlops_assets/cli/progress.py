"""Progress of a run on the console: a line for each finished step, a spinner for the current."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status

if TYPE_CHECKING:
    from dagster import EventLogEntry


class RunProgress:
    """Shows a run's events and remembers what its steps reported.

    Args:
        console: Where to print.
        title: Shown before each line, such as the project's name.
    """

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title
        self.failures: dict[str, str] = {}
        self.metadata: dict[str, dict[str, Any]] = {}
        self.succeeded = False
        self._started: dict[str, float] = {}
        self._status: Status | None = None

    def __enter__(self) -> RunProgress:
        if self.console.is_terminal:
            self._status = self.console.status(f"{self.title}: starting")
            self._status.start()
        else:
            self.console.print(f"{self.title}: starting")
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def handle(self, entry: EventLogEntry) -> None:
        """Show one event."""
        step = _stage(entry.step_key)
        event = entry.dagster_event
        if event is None:
            level = int(entry.level)
            if step and level >= logging.INFO:
                self._now(f"{step}: {entry.user_message}", level)
            return
        kind = event.event_type_value
        if kind == "STEP_START" and step:
            self._started[step] = entry.timestamp
            self._now(f"{step} …", logging.DEBUG)
        elif kind == "ASSET_MATERIALIZATION" and step:
            materialization = event.step_materialization_data.materialization
            self.metadata[step] = {k: v.value for k, v in materialization.metadata.items()}
        elif kind == "STEP_SUCCESS" and step:
            self._line(step, entry.timestamp, "[green]✓[/]", self._facts(step))
        elif kind in {"STEP_FAILURE", "STEP_UP_FOR_RETRY"} and step:
            self._failed(step, entry)
        elif kind == "PIPELINE_SUCCESS":
            self.succeeded = True

    def _failed(self, step: str, entry: EventLogEntry) -> None:
        event = entry.dagster_event
        data = event.event_specific_data if event is not None else None
        error = getattr(data, "error", None)
        text = _cause(error) if error is not None else entry.user_message
        if event is not None and event.event_type_value == "STEP_UP_FOR_RETRY":
            self._line(step, entry.timestamp, "[yellow]↻[/]", "to be tried again")
            return
        self.failures[step] = text
        self._line(step, entry.timestamp, "[red]✗[/]", text.splitlines()[0] if text else "failed")

    def _line(self, step: str, now: float, mark: str, facts: str) -> None:
        seconds = now - self._started.get(step, now)
        self.console.print(
            f"  {mark} {self.title}  [bold]{escape(step):<16}[/] {seconds:6.1f} s  {escape(facts)}",
            highlight=False,
            soft_wrap=True,
        )

    def _now(self, text: str, level: int) -> None:
        if level >= logging.WARNING:
            self.console.print(f"    [yellow]{escape(text)}[/]", highlight=False)
        elif self._status is not None:
            self._status.update(f"{self.title}  {escape(text)}  [dim]{time.strftime('%X')}[/]")
        elif level >= logging.INFO:
            self.console.print(f"    [dim]{escape(text)}[/]", highlight=False, soft_wrap=True)

    def _facts(self, step: str) -> str:
        metadata = self.metadata.get(step, {})
        facts = []
        if "dagster/row_count" in metadata:
            facts.append(f"{metadata['dagster/row_count']:,} rows")
        if "rows_per_second" in metadata:
            facts.append(f"{metadata['rows_per_second']:,.0f} rows/s on {metadata['device']}")
        if "verdict" in metadata:
            facts = [f"{metadata['verdict']}: {metadata['reason']}"]
        if "live_version" in metadata:
            facts.append(f"version {metadata['live_version']} is live")
        if metadata.get("unchanged"):
            facts.append("unchanged")
        return ", ".join(facts)


def _stage(step_key: str | None) -> str | None:
    """``flights__arrival_delay__raw__weather`` → ``raw/weather``."""
    if step_key is None:
        return None
    parts = step_key.split("__", 2)
    return parts[-1].replace("__", "/")


def _cause(error: Any) -> str:
    """The innermost message of a serialized error, without its class name's module."""
    while error.cause is not None:
        error = error.cause
    message = str(error.message).strip()
    head, _, rest = message.partition(": ")
    return rest if rest and " " not in head else message
