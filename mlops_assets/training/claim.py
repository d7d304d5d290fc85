"""One run at a time for each training: another run of the same training waits.

The lock is an empty file beside the training's folder, held by ``flock(2)``. It holds between
machines where the folder is on NFS v4 (EFS is), and the kernel or the server gives it back when
its run is killed.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mlops_assets.errors import EnvironmentProblemError

_log = logging.getLogger(__name__)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a training's folder; where another run holds it, wait for that run's end.

    Args:
        folder: Of this training alone. It need not exist.

    Raises:
        EnvironmentProblemError: The file system has no locks.
    """
    with _held(folder, waits=True):
        yield


@contextmanager
def claimed_if_free(folder: Path) -> Iterator[bool]:
    """Hold the folder if no run does; whether it is held now.

    Raises:
        EnvironmentProblemError: The file system has no locks.
    """
    with _held(folder, waits=False) as is_held:
        yield is_held


def lock_path(folder: Path) -> Path:
    """The file whose lock stands for the folder."""
    return folder.with_name(f"{folder.name}.lock")


@contextmanager
def _held(folder: Path, *, waits: bool) -> Iterator[bool]:
    path = lock_path(folder)
    file = _locked_file(path, waits=waits)
    if file is None:
        yield False
        return
    with file:
        try:
            yield True
        finally:
            if not folder.exists():  # Its training is published: nothing is left to protect.
                path.unlink(missing_ok=True)


def _locked_file(path: Path, *, waits: bool) -> IO[str] | None:
    """The open file with its lock; None where another run has it and this one does not wait."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
        try:
            is_locked = _lock(file, path, waits=waits)
            if is_locked and _is_there_still(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()
        if not is_locked:
            return None


def _lock(file: IO[str], path: Path, *, waits: bool) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        if not waits:
            return False
    except OSError as error:
        raise EnvironmentProblemError(
            "the folder of a training cannot be locked",
            where=path,
            found=error.strerror,
            expected="a file system with flock, such as a local one or NFS v4",
            fix="put MLOPS_HOME there; two runs of one training would spoil each other's files",
        ) from error
    _log.warning("another run has this training (%s): waiting for its end", path)
    fcntl.flock(file, fcntl.LOCK_EX)
    return True


def _is_there_still(file: IO[str], path: Path) -> bool:
    """Whether the path leads to the locked file: its last holder may have removed it."""
    try:
        with path.open() as same:  # Opening asks an NFS server; looking may not.
            return os.path.samestat(os.fstat(file.fileno()), os.fstat(same.fileno()))
    except FileNotFoundError:
        return False
