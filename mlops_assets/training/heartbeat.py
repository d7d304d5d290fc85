"""Whether a job's run still lives: it touches a file, and other machines look at the file's age."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STALE_SECONDS = 30.0
"""A run that has not touched its file for so long is taken for killed."""
_BEAT_SECONDS = 5.0
_NAME = "heartbeat"
_log = logging.getLogger(__name__)


@contextmanager
def beating(folder: Path) -> Iterator[None]:
    """Show that this run lives, from a thread: what the run does meanwhile may take long."""
    is_over = threading.Event()

    def beat() -> None:
        while not is_over.wait(_BEAT_SECONDS):
            try:
                (folder / _NAME).touch()
            except OSError as error:
                _log.warning("the heartbeat in %s cannot be written: %s", folder, error)

    (folder / _NAME).touch()
    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def seconds_since_beat(folder: Path) -> float | None:
    """Age of the last heartbeat; None where there is none.

    Both times are those of the file system, so that clocks of machines need not agree.
    """
    try:
        with (folder / _NAME).open() as beat:  # Opening asks an NFS server; looking may not.
            touched = os.fstat(beat.fileno()).st_mtime
        with tempfile.TemporaryFile(dir=folder) as new:
            return max(0.0, os.fstat(new.fileno()).st_mtime - touched)
    except FileNotFoundError:
        return None
