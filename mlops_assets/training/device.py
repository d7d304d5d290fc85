"""Where and how precisely to compute, and how much memory and how many cores there are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.training import TrainingSpec
from mlops_assets.errors import TrainingError

if TYPE_CHECKING:
    import torch

RESIDENT_SHARE = 0.4
"""Share of the free memory that the training rows may take."""


@dataclass(frozen=True)
class Compute:
    """Device and arithmetic.

    Attributes:
        device: ``cpu`` or ``cuda``.
        precision: ``float32`` or ``bfloat16``.
    """

    device: str
    precision: str


def choose_compute(spec: TrainingSpec) -> Compute:
    """Follow ``devices`` and ``precision`` of the spec.

    Raises:
        TrainingError: CUDA is asked for and there is none.
    """
    import torch

    available = torch.cuda.is_available()
    if spec.devices == "cuda" and not available:
        raise TrainingError(
            "there is no CUDA device",
            where="training.devices",
            found=f"torch {torch.__version__} without a usable CUDA device",
            expected="an NVIDIA GPU with its driver, and a CUDA build of torch",
            fix="run on such a machine, or write `devices: auto`, which falls back to the CPU",
        )
    device = "cuda" if available and spec.devices != "cpu" else "cpu"
    if spec.precision != "auto":
        return Compute(device, spec.precision)
    fast = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return Compute(device, "bfloat16" if fast else "float32")


def memory_budget(device: str) -> int:
    """Bytes that the training rows may take on the device."""
    import torch

    if device == "cuda":
        free, _total = torch.cuda.mem_get_info()
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(free * RESIDENT_SHARE)


def usable_cores() -> int:
    """Cores that this process may use: its affinity, bounded by the container's CPU quota."""
    cores = len(os.sched_getaffinity(0))
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        limit, period, *_ = [*quota.read_text().split(), "100000"]
        if limit.isdigit() and int(period) > 0:
            cores = min(cores, max(1, int(limit) // int(period)))
    return cores


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch's operators use so many threads for a while."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the device's, or the machine's, memory ran out."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def device_name(compute: Compute) -> str:
    """``cpu``, or the kind of this process's CUDA device."""
    import torch

    return torch.cuda.get_device_name() if compute.device == "cuda" else compute.device


def torch_device(compute: Compute) -> torch.device:
    """The device as torch names it."""
    import torch

    return torch.device(compute.device)
