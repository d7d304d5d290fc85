"""Checkpoints: one safetensors file each, whose header carries the JSON state. No pickle.

Imports torch: import this module inside functions.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

_log = logging.getLogger(__name__)
_PREFIX = "epoch-"
_SUFFIX = ".safetensors"
_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """State after a number of whole epochs.

    Attributes:
        epoch: Epochs done.
        tensors: Weights, averages, best weights, optimizer moments.
        state: Everything else, as JSON values.
    """

    epoch: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> Path:
    """Write it so that a reader sees all of it or nothing, and drop those before the last two."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{_PREFIX}{checkpoint.epoch:06d}{_SUFFIX}"
    header = {"epoch": str(checkpoint.epoch), "state": json.dumps(checkpoint.state)}
    tensors = {name: _copy(value) for name, value in checkpoint.tensors.items()}
    temporary = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    with temporary.open("wb") as file:
        file.write(save(tensors, header))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_directory(directory)
    for old in _checkpoint_files(directory)[:-_KEPT]:
        old.unlink(missing_ok=True)
    return path


def _copy(value: Tensor) -> Tensor:
    """A copy that shares no memory, as safetensors asks for."""
    return value.detach().cpu().contiguous().clone()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checkpoint_files(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"{_PREFIX}*{_SUFFIX}"))


class Found(NamedTuple):
    """A checkpoint and its file."""

    path: Path
    checkpoint: Checkpoint


def latest_checkpoint(directory: Path) -> Checkpoint | None:
    """The newest readable checkpoint; a damaged one is passed over for the one before it."""
    newest = newest_checkpoint(directory)
    return newest.checkpoint if newest else None


def newest_checkpoint(directory: Path) -> Found | None:
    """As :func:`latest_checkpoint`, with its file."""
    for path in reversed(_checkpoint_files(directory)):
        try:
            return Found(path, read_checkpoint(path))
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            _log.warning("passing over %s, which cannot be read: %s", path, error)
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Inverse of :func:`save_checkpoint`."""
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Checkpoint(int(header["epoch"]), tensors, json.loads(header["state"]))


def file_digest(path: Path) -> str:
    """``sha256:…`` of a checkpoint's bytes."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def remove_checkpoints(directory: Path) -> None:
    """Remove the checkpoints and leftovers of killed writers; other files stay."""
    if not directory.is_dir():
        return
    for path in [*_checkpoint_files(directory), *directory.glob(f"{_PREFIX}*.tmp")]:
        path.unlink(missing_ok=True)
    if not any(directory.iterdir()):
        directory.rmdir()


def prefixed(prefix: str, tensors: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors under ``<prefix>.<name>``."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of :func:`prefixed`."""
    start = f"{prefix}."
    return {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Moments and step counts of each parameter, as ``<place>.<name>``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{place}.{name}": torch.as_tensor(value)
        for place, values in state.items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Inverse of :func:`optimizer_tensors`, into an optimizer over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        place, name = key.split(".", 1)
        state.setdefault(int(place), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
