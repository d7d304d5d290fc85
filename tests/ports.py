"""Ports for the servers of tests, of which several may run at the same time."""

from __future__ import annotations

import random

from resources.processes import free_port


def spare_port() -> int:
    """A free port; where the search begins is left to chance, so that two runs do not meet."""
    return free_port(random.SystemRandom().randrange(23_000, 32_000))
