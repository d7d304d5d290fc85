"""Triton's model repository: configurations and immutable version folders.

The layout is the one that NVIDIA's container serves with its native ONNX Runtime backend:
``<model>/config.pbtxt`` and ``<model>/<version>/model.onnx``.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.errors import DeploymentError, LedgerConflictError
from resources.durable import file_digest, sync_directory, write_file

MODEL_FILE = "model.onnx"
CONFIG_FILE = "config.pbtxt"
STAGING = ".staging"
LOCKS = ".locks"
LOCK_SECONDS = 300.0
"""A change of a served model waits so long for another one to end."""


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

    @contextmanager
    def lock(self, model: str, *, wait_seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Only one process at a time changes what clients of a model get.

        The lock ends with its process, however that ends.

        Raises:
            LedgerConflictError: Another process holds it for too long.
        """
        folder = self.root / LOCKS
        with _explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / model, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            end = time.monotonic() + wait_seconds
            while not _try_lock(descriptor):
                if time.monotonic() >= end:
                    raise LedgerConflictError(
                        "another process is changing what is served",
                        where=f"{model} in {self.root}",
                        fix="wait for it and try again",
                    )
                time.sleep(0.05)
            yield
        finally:
            os.close(descriptor)

    def publish(self, model: str, version: int, onnx: Path, sha256: str) -> bool:
        """Make a version's folder appear with its complete content.

        It is written and synced elsewhere in the same file system and then renamed; a folder
        with the same content is left as it is.

        Args:
            model: Model name.
            version: Its version.
            onnx: The graph.
            sha256: What the graph's SHA-256 should be.

        Returns:
            Whether something was written.

        Raises:
            DeploymentError: The disk is full or not writable, or the graph was changed; nothing
                is visible.
        """
        target = self._version(model, version)
        if self.digest(model, version) == sha256:
            return False
        staged, replaced = self._staged(model), self._staged(model)
        with _explained(target), _removed(staged), _removed(replaced):
            staged.mkdir(parents=True)
            _copy(onnx, staged / MODEL_FILE)
            if file_digest(staged / MODEL_FILE) != sha256:
                raise DeploymentError(
                    "the graph is not the one that was trained",
                    where=onnx,
                    fix="restore the bundle from a backup, or train again",
                )
            sync_directory(staged)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.rename(replaced)
            staged.rename(target)
            sync_directory(target.parent)
        return True

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
        staged = self._staged(config.name)
        with _explained(path), _removed(staged):
            folder.mkdir(parents=True, exist_ok=True)
            staged.mkdir(parents=True)
            write_file(staged / CONFIG_FILE, text.encode())
            (staged / CONFIG_FILE).replace(path)
            sync_directory(folder)
        return True

    def digest(self, model: str, version: int) -> str | None:
        """SHA-256 of a version's graph; None when there is none."""
        path = self._version(model, version) / MODEL_FILE
        return file_digest(path) if path.exists() else None

    def touch(self, model: str, version: int) -> None:
        """Make the next load replace a version, though its content is the same."""
        with _explained(self._version(model, version)):
            os.utime(self._version(model, version) / MODEL_FILE)

    def versions(self, model: str) -> list[int]:
        """Version folders of a model, oldest first."""
        folder = self.root / model
        names = [entry.name for entry in folder.iterdir()] if folder.exists() else []
        return sorted(int(name) for name in names if name.isdigit())

    def prune(self, model: str, keep: Iterable[int]) -> list[int]:
        """Remove the version folders that are not to be kept; returns which."""
        kept = set(keep)
        gone = [version for version in self.versions(model) if version not in kept]
        with _explained(self.root / model):
            for version in gone:
                shutil.rmtree(self._version(model, version))
        return gone

    def remove(self, model: str) -> None:
        """Remove a model's folder."""
        with _explained(self.root / model):
            if (self.root / model).exists():
                shutil.rmtree(self.root / model)

    def clear_staging(self, model: str) -> None:
        """Remove what killed deployments of a model left; for the holder of its lock only."""
        for leftover in (self.root / STAGING).glob(f"{model}~*"):
            shutil.rmtree(leftover)

    def _staged(self, model: str) -> Path:
        return self.root / STAGING / f"{model}~{uuid.uuid4().hex}"

    def _version(self, model: str, version: int) -> Path:
        return self.root / model / str(version)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("xb") as writer:
        shutil.copyfileobj(reader, writer)
        writer.flush()
        os.fsync(writer.fileno())


@contextmanager
def _removed(staged: Path) -> Iterator[None]:
    """Whatever happens in the block, the staged folder is gone after it."""
    try:
        yield
    finally:
        shutil.rmtree(staged, ignore_errors=True)


@contextmanager
def _explained(where: Path) -> Iterator[None]:
    """Turn an operating system's refusal into an error that says what to do."""
    try:
        yield
    except OSError as error:
        raise DeploymentError(
            "the model repository could not be written",
            where=where,
            found=error.strerror or str(error),
            fix="make room or correct the folder's permissions; the live model goes on",
        ) from error
