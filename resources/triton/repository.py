"""Triton's model repository: configurations and immutable version folders.

The layout is the one that NVIDIA's container serves with its native ONNX Runtime backend:
``<model>/config.pbtxt`` and ``<model>/<version>/model.onnx``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.errors import DeploymentError
from resources.durable import sync_directory, write_file

MODEL_FILE = "model.onnx"
CONFIG_FILE = "config.pbtxt"
STAGING = ".staging"


@dataclass(frozen=True)
class Tensor:
    """One input or output of a served model, without its batch dimension.

    Attributes:
        name: Its name.
        datatype: Triton's name of the type, such as ``TYPE_FP32``.
        width: Its only dimension.
    """

    name: str
    datatype: str
    width: int = 1


@dataclass(frozen=True)
class ModelConfig:
    """What a ``config.pbtxt`` says.

    Attributes:
        name: Model name.
        inputs: Input tensors.
        outputs: Output tensors.
        versions: Versions to serve; clients that name none get the highest.
        max_batch_size: Largest batch.
        queue_delay_us: How long the dynamic batcher may wait; None turns it off.
        instances: Copies that run in parallel.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    versions: tuple[int, ...]
    max_batch_size: int
    queue_delay_us: int | None
    instances: int

    def render(self) -> str:
        """The file's text, in protobuf text format."""
        versions = ", ".join(str(version) for version in sorted(self.versions))
        lines = [
            f"name: {json.dumps(self.name)}",
            'backend: "onnxruntime"',
            f"default_model_filename: {json.dumps(MODEL_FILE)}",
            f"max_batch_size: {self.max_batch_size}",
            *_tensors("input", self.inputs),
            *_tensors("output", self.outputs),
            f"instance_group [{{ count: {self.instances}, kind: KIND_AUTO }}]",
            f"version_policy {{ specific {{ versions: [{versions}] }} }}",
        ]
        if self.queue_delay_us is not None:
            lines.append(
                f"dynamic_batching {{ max_queue_delay_microseconds: {self.queue_delay_us} }}"
            )
        return "\n".join([*lines, ""])


def _tensors(kind: str, tensors: Sequence[Tensor]) -> list[str]:
    return [
        f"{kind} [{{ name: {json.dumps(tensor.name)}, data_type: {tensor.datatype}, "
        f"dims: [{tensor.width}] }}]"
        for tensor in tensors
    ]


class ModelRepository:
    """A folder that a Triton server reads.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def publish(self, model: str, version: int, onnx: Path) -> None:
        """Make a version's folder appear with its complete content.

        It is written and synced elsewhere in the same file system and then renamed; a folder
        with the same content is left as it is.

        Raises:
            DeploymentError: The disk is full or not writable; nothing is visible.
        """
        target = self._version(model, version)
        if self.digest(model, version) == file_digest(onnx):
            return
        staged = self.root / STAGING / uuid.uuid4().hex
        try:
            staged.mkdir(parents=True)
            write_file(staged / MODEL_FILE, onnx.read_bytes())
            sync_directory(staged)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                shutil.rmtree(target)
            staged.rename(target)
            sync_directory(target.parent)
        except OSError as error:
            raise DeploymentError(
                "the version could not be written into the model repository",
                where=target,
                found=error.strerror or str(error),
                fix="make room or correct the folder's permissions; the live model goes on",
            ) from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def write_config(self, config: ModelConfig) -> bool:
        """Replace a model's configuration, whole; returns whether it was another before.

        Raises:
            DeploymentError: It could not be written; the old one is in place.
        """
        folder = self.root / config.name
        path = folder / CONFIG_FILE
        text = config.render()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return False
        draft = self.root / STAGING / uuid.uuid4().hex
        try:
            folder.mkdir(parents=True, exist_ok=True)
            draft.parent.mkdir(parents=True, exist_ok=True)
            write_file(draft, text.encode())
            draft.replace(path)
            sync_directory(folder)
        except OSError as error:
            raise DeploymentError(
                "the model's configuration could not be written",
                where=path,
                found=error.strerror or str(error),
                fix="make room or correct the folder's permissions; the live model goes on",
            ) from error
        finally:
            draft.unlink(missing_ok=True)
        return True

    def digest(self, model: str, version: int) -> str | None:
        """SHA-256 of a version's graph; None when there is none."""
        path = self._version(model, version) / MODEL_FILE
        return file_digest(path) if path.exists() else None

    def versions(self, model: str) -> list[int]:
        """Version folders of a model, oldest first."""
        folder = self.root / model
        names = [entry.name for entry in folder.iterdir()] if folder.exists() else []
        return sorted(int(name) for name in names if name.isdigit())

    def prune(self, model: str, keep: Iterable[int]) -> list[int]:
        """Remove the version folders that are not to be kept; returns which."""
        kept = set(keep)
        gone = [version for version in self.versions(model) if version not in kept]
        for version in gone:
            shutil.rmtree(self._version(model, version))
        return gone

    def remove(self, model: str) -> None:
        """Remove a model's folder."""
        shutil.rmtree(self.root / model, ignore_errors=True)

    def clear_staging(self) -> None:
        """Remove what killed deployments left."""
        shutil.rmtree(self.root / STAGING, ignore_errors=True)

    def _version(self, model: str, version: int) -> Path:
        return self.root / model / str(version)


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
