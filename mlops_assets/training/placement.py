"""Where a training ran. It is told beside a model, and no part of the model's identity."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mlops_assets.training.job import write_json

_NOTES = "process-*.json"


@dataclass(frozen=True)
class Placement:
    """Processes and devices of a training.

    Attributes:
        processes: All of them.
        nodes: Machines.
        backend: How gradients travelled, ``gloo`` or ``nccl``; None for one process alone.
        devices: Each process's device: ``cpu``, or the name of the CUDA device.
        rows: Training rows that each process held.
        restarts: How often all processes began again.
    """

    processes: int
    nodes: int
    backend: str | None
    devices: tuple[str, ...]
    rows: tuple[int, ...]
    restarts: int = 0

    def to_dict(self) -> dict[str, object]:
        """JSON values."""
        return {**asdict(self), "devices": list(self.devices), "rows": list(self.rows)}


@dataclass(frozen=True)
class ProcessNote:
    """What one process of several says about itself.

    Attributes:
        rank: Its number, from 0.
        backend: ``gloo`` or ``nccl``.
        device: ``cpu``, or the name of its CUDA device.
        rows: Training rows that it holds.
        restarts: How often all processes had begun again when it started.
    """

    rank: int
    backend: str
    device: str
    rows: int
    restarts: int

    def write(self, folder: Path) -> None:
        """Leave it in a job's folder, in place of an earlier process's of the same number."""
        write_json(folder / _NOTES.replace("*", str(self.rank)), asdict(self))


def read_placement(folder: Path, nodes: int) -> Placement:
    """What the processes of a job left, in the order of their numbers."""
    texts = [path.read_text(encoding="utf-8") for path in folder.glob(_NOTES)]
    notes = sorted((ProcessNote(**json.loads(text)) for text in texts), key=lambda one: one.rank)
    return Placement(
        processes=len(notes),
        nodes=nodes,
        backend=notes[0].backend if notes else None,
        devices=tuple(note.device for note in notes),
        rows=tuple(note.rows for note in notes),
        restarts=max((note.restarts for note in notes), default=0),
    )
