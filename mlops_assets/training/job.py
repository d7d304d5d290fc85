"""What the processes of one training share: a folder with a job, the rows, and the outcome.

The rows lie in it as raw columns that each process maps and of which it reads its shard only. No
pickle; a folder that only its owner can read, as it holds rows.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from pydantic import TypeAdapter

from mlops_assets.config.distributed import DistributedSpec
from mlops_assets.config.model import ModelSpec
from mlops_assets.config.training import TrainingSpec
from mlops_assets.training.preprocessing import Preprocessing

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_FOLDER = "processes-"
"""Start of the name of a job's folder, which lies in that of the training's checkpoints."""
NAME = "job.json"
MEETING = "meeting"
"""Start of the names of files by which processes of one machine find each other."""
EPOCHS = "epochs.jsonl"
"""Epochs as they are done, one JSON object a line."""
LAST = "last.json"
"""Which checkpoint is the training's last."""
_ARRAYS = ("numeric", "categorical", "target")
_CHUNK = 262_144
_MODEL: TypeAdapter[Any] = TypeAdapter(ModelSpec)


@dataclass(frozen=True)
class Job:
    """One training for several processes.

    Attributes:
        model: The project's ``model``.
        training: The project's ``training``.
        preprocessing: Fitted on all training rows.
        directory: The project's folder.
        files: Text of the project's files.
        batch: Rows a step, of all processes together.
        per_node: Processes on each machine.
        train_rows: Training rows.
        validation_rows: Validation rows.
        folder: Where the job lies; the checkpoints lie in the folder above.
    """

    model: Any
    training: TrainingSpec
    preprocessing: Preprocessing
    directory: Path
    files: dict[str, str]
    batch: int
    per_node: int
    train_rows: int
    validation_rows: int
    folder: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of the training's checkpoints."""
        return self.folder.parent

    @property
    def distributed(self) -> DistributedSpec:
        """The project's ``training.distributed``."""
        return self.training.distributed or DistributedSpec()

    @property
    def id(self) -> str:
        """Name under which the processes meet: no earlier run of the training used it."""
        return self.folder.name

    def save(self) -> Path:
        """Write it, whole or not at all."""
        values = {
            "model": self.model.model_dump(mode="json"),
            "training": self.training.model_dump(mode="json"),
            "preprocessing": self.preprocessing.to_dict(),
            "directory": str(self.directory),
            "files": self.files,
            "batch": self.batch,
            "per_node": self.per_node,
            "train_rows": self.train_rows,
            "validation_rows": self.validation_rows,
        }
        return write_json(self.folder / NAME, values)

    @classmethod
    def load(cls, path: Path) -> Job:
        """Inverse of :meth:`save`."""
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            **{
                **values,
                "model": _MODEL.validate_python(values["model"]),
                "training": TrainingSpec.model_validate(values["training"]),
                "preprocessing": Preprocessing.from_dict(values["preprocessing"]),
                "directory": Path(values["directory"]),
                "folder": path.parent,
            }
        )


def make_job_folder(checkpoints: Path) -> Path:
    """A folder for one run of a training, which only its owner can read."""
    folder = checkpoints / f"{_FOLDER}{uuid4().hex}"
    folder.mkdir(parents=True, mode=0o700)
    return folder


def job_folders(folder: Path) -> Iterator[Path]:
    """Folders of jobs in the folder or anywhere below, also of those that killed runs left.

    Other runs remove theirs meanwhile, which a walk passes over, and a glob does not.
    """
    for parent, names, _ in os.walk(folder):
        yield from (Path(parent) / name for name in names if name.startswith(_FOLDER))


def remove_jobs(checkpoints: Path) -> None:
    """Remove what killed runs left, rows above all; the caller holds the training's claim."""
    for folder in checkpoints.glob(f"{_FOLDER}*"):
        shutil.rmtree(folder, ignore_errors=True)


def write_json(path: Path, values: dict[str, Any]) -> Path:
    """Write a file that a reader sees whole or not at all."""
    draft = path.with_suffix(f".{uuid4().hex}.tmp")
    draft.write_text(json.dumps(values), encoding="utf-8")
    draft.replace(path)
    return path


def write_rows(
    folder: Path,
    name: str,
    table: pa.Table,
    rows: NDArray[np.int64],
    preprocessing: Preprocessing,
) -> None:
    """Raw numbers, category indices and targets of these rows, a stretch of rows at a time."""
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        "numeric": ((len(rows), len(preprocessing.numeric)), np.float32),
        "categorical": ((len(rows), len(preprocessing.categorical)), np.int64),
        "target": (
            (len(rows),),
            np.int64 if preprocessing.task == "multiclass" else np.float32,
        ),
    }
    arrays = {
        part: np.lib.format.open_memmap(
            _array(folder, name, part), mode="w+", dtype=kind, shape=shape
        )
        for part, (shape, kind) in shapes.items()
    }
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        first = int(chunk[0])
        # Rows ascend, so a stretch of them lies in a stretch of the table: a view, no copy.
        stretch = table.slice(first, int(chunk[-1]) - first + 1)
        places, end = chunk - first, start + len(chunk)
        arrays["numeric"][start:end] = preprocessing.numbers(stretch, places)
        arrays["categorical"][start:end] = preprocessing.categories(stretch, places)
        arrays["target"][start:end] = preprocessing.label.encode(stretch, places)
    for array in arrays.values():
        array.flush()


def read_rows(folder: Path, name: str, rows: range | None = None) -> list[NDArray[Any]]:
    """Numbers, category indices and targets of a shard, in memory; by default of all rows."""
    return [read_array(folder, name, part, rows) for part in _ARRAYS]


def read_array(folder: Path, name: str, part: str, rows: range | None = None) -> NDArray[Any]:
    """One of the arrays of :func:`write_rows`, or a shard of it."""
    mapped = np.load(_array(folder, name, part), mmap_mode="r", allow_pickle=False)
    wanted = mapped if rows is None else mapped[rows.start : rows.stop]
    return np.array(wanted)


def _array(folder: Path, name: str, part: str) -> Path:
    return folder / f"{name}-{part}.npy"
