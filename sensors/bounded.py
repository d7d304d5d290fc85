"""Ask what may not answer: Dagster ends a tick of a sensor after 60 seconds, and forgets it."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from mlops_assets.errors import SourceError

T = TypeVar("T")
_UNANSWERED: dict[str, threading.Thread] = {}


def answer_within(seconds: float, where: str, ask: Callable[[], T]) -> T:
    """An answer, or an error when there is none in time.

    The question goes on by itself then, and is not asked a second time before it ends.

    Args:
        seconds: The time.
        where: Whom it is about, for messages; a question to it stands for all others to it.
        ask: The question.

    Raises:
        SourceError: There is no answer in time.
    """
    earlier = _UNANSWERED.pop(where, None)
    if earlier is not None and earlier.is_alive():
        _UNANSWERED[where] = earlier
        raise _no_answer(where, "no answer yet to what was asked in an earlier tick")
    future: Future[T] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            future.set_result(context.run(ask))
        except BaseException as error:  # noqa: BLE001 - the asker gets it
            future.set_exception(error)

    thread = threading.Thread(target=run, name=f"look at {where}", daemon=True)
    thread.start()
    thread.join(max(seconds, 0.0))
    if thread.is_alive():
        _UNANSWERED[where] = thread
        raise _no_answer(where, f"no answer for {seconds:.0f} seconds")
    return future.result()


def _no_answer(where: str, found: str) -> SourceError:
    return SourceError(
        "the source does not answer in time",
        where=where,
        found=found,
        expected="an answer within a tick of the sensor",
        fix="look whether the source, the store and the network work",
    )
