"""A process's own scratch folder, in a place that several machines or containers may share."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from resources import durable
from resources.processes import machine_identity, start_ticks

KEPT = timedelta(days=30)
"""How long another machine's folder stays after its last change: whether its process still runs
cannot be seen from here."""
_NAME = re.compile(r"([0-9a-f]{12})-(\d+)-(\d+)")


def scratch_folder(parent: Path) -> Path:
    """This process's folder; those of killed processes of this machine are removed.

    Args:
        parent: Where processes have their folders. Names of another form are left alone.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for folder in parent.iterdir():
        if _is_left_over(folder):
            with suppress(FileNotFoundError):  # another process removes it too
                durable.remove_tree(folder)
    own = parent / f"{machine_identity()}-{os.getpid()}-{start_ticks(os.getpid())}"
    own.mkdir(exist_ok=True)
    return own


def _is_left_over(folder: Path) -> bool:
    match = _NAME.fullmatch(folder.name)
    if match is None:
        return False
    machine, pid, ticks = match.groups()
    if machine == machine_identity():
        return start_ticks(int(pid)) != int(ticks)
    try:
        return durable.newest_change(folder) < time.time() - KEPT.total_seconds()
    except FileNotFoundError:
        return False
