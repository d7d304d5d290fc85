"""How often sensors look."""

from __future__ import annotations

import os

from mlops_assets.errors import EnvironmentProblemError

VARIABLE = "MLOPS_LOOK_SECONDS"


def pace(seconds: int) -> int:
    """Seconds between two looks: the sensor's own, or fewer where the environment says so.

    Raises:
        EnvironmentProblemError: ``MLOPS_LOOK_SECONDS`` is not a number of seconds.
    """
    written = os.environ.get(VARIABLE, "").strip()
    if not written:
        return seconds
    if not written.isdecimal() or int(written) == 0:
        raise EnvironmentProblemError(
            "not a number of seconds", where=VARIABLE, found=written, expected="1 or more, or unset"
        )
    return min(seconds, int(written))
