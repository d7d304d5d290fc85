"""A process that ends when the one that started it is gone, even by ``kill -9``."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from mlops_assets.errors import EnvironmentProblemError

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (``prctl(2)``).

    Args:
        parent: Who the parent should be: one that ended before this call is noticed, too.

    Raises:
        EnvironmentProblemError: The kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise EnvironmentProblemError(
            "the kernel does not tie this process to its parent",
            found=os.strerror(ctypes.get_errno()),
        )
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")
