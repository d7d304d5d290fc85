"""The checkpoint that all processes of a training go on from: the same bytes in each.

On a shared folder such as NFS one machine may still see an older listing than another, or fail to
read a file. If each process took the newest checkpoint that it sees, they would train different
weights without an error. Imports torch: import it inside functions.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from mlops_assets.errors import TrainingError
from mlops_assets.training.checkpoint import (
    Checkpoint,
    file_digest,
    newest_checkpoint,
    read_checkpoint,
)
from mlops_assets.training.job import LAST, write_json
from mlops_assets.training.world import World

PATIENCE_SECONDS = 30.0
"""How long a file may take to be seen; NFS clients believe an old listing for seconds."""
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Chosen:
    """One checkpoint and no other.

    Attributes:
        name: Of its file.
        digest: Of the file's bytes.
    """

    name: str
    digest: str


def agreed_checkpoint(directory: Path, world: World) -> Checkpoint:
    """The newest checkpoint that the first process can read, in all processes.

    Raises:
        TrainingError: There is none, or a process cannot read it.
    """
    told = world.together(lambda: _choice(directory) if world.is_first else "")
    chosen = Chosen(**json.loads(world.share(told)))
    return world.together(lambda: read_exactly(directory, chosen))


def tell_last(directory: Path, folder: Path) -> None:
    """Leave in the job's folder which checkpoint is the training's last."""
    write_json(folder / LAST, json.loads(_choice(directory)))


def read_last(directory: Path, folder: Path) -> Checkpoint:
    """The checkpoint of :func:`tell_last`, as read by the run, perhaps on another machine.

    Raises:
        TrainingError: The processes left none, or it cannot be read.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while not (folder / LAST).exists():
        if time.monotonic() >= end:
            raise TrainingError(
                "the processes left no checkpoint",
                where=folder / LAST,
                found=f"no such file after {PATIENCE_SECONDS:g} seconds",
                expected="the name of the last checkpoint, by the first process",
                fix="look whether all machines mount the same folder",
            )
        _look_again(folder)
    return read_exactly(directory, Chosen(**json.loads((folder / LAST).read_text("utf-8"))))


def read_exactly(directory: Path, chosen: Chosen) -> Checkpoint:
    """Those bytes, as soon as they can be read.

    Raises:
        TrainingError: They cannot for :data:`PATIENCE_SECONDS`.
    """
    path = directory / chosen.name
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = _attempt(path, chosen.digest)
        if isinstance(found, Checkpoint):
            return found
        if time.monotonic() >= end:
            raise TrainingError(
                "a process cannot read the checkpoint that the training goes on from",
                where=path,
                found=f"{found}, for {PATIENCE_SECONDS:g} seconds",
                expected=f"{chosen.digest}, as the first process read it",
                fix="look whether all machines mount the same folder, and whether it answers; "
                "then run the training again: the checkpoint is kept",
            )
        _look_again(directory)


def _choice(directory: Path) -> str:
    newest = newest_checkpoint(directory)
    if newest is None:
        raise TrainingError(
            "the checkpoint is gone",
            where=directory,
            found="no checkpoint",
            expected="the one that this training began with",
            fix="look what else removes files there; then run the training again, from its start",
        )
    return json.dumps(asdict(Chosen(newest.path.name, file_digest(newest.path))))


def _attempt(path: Path, digest: str) -> Checkpoint | str:
    """The checkpoint, or what was found in its place."""
    try:
        found = file_digest(path)
        return read_checkpoint(path) if found == digest else found
    except OSError as error:
        return error.strerror or str(error)


def _look_again(directory: Path) -> None:
    """Wait, and list the folder: that asks an NFS server where a look at a file may not."""
    time.sleep(_POLL_SECONDS)
    any(directory.glob("*"))
