"""``training.distributed:`` one training on more than one device or machine."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from mlops_assets.config.base import ExistingPorts, Spec, Timeout

Endpoint = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+:[0-9]{1,5}$"), ExistingPorts]
"""``host:port``."""


class DistributedSpec(Spec):
    """Data-parallel training: each process holds its share of the rows, all share each step."""

    processes_per_node: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = "auto"
    """Processes on each machine; ``auto`` is one for each CUDA device, and one on the CPU, whose
    cores a single process uses anyway."""
    nodes: int = Field(default=1, ge=1, le=256)
    """Machines; with more than one, each of the others runs ``mlops_assets.training.join``."""
    rendezvous: Endpoint | None = None
    """``host:port`` of the machine where processes meet, such as ``{{ env.TRAINING_HOST }}:29400``;
    only for ``nodes`` > 1."""
    backend: Literal["auto", "gloo", "nccl"] = "auto"
    """How gradients travel; ``auto`` is NCCL where each process has a CUDA device of its own, else
    Gloo."""
    timeout: Timeout = timedelta(minutes=10)
    """How long a process waits for the others before it takes them for lost."""
    max_restarts: int = Field(default=3, ge=0, le=100)
    """How often all processes begin again from the last checkpoint after one of them died."""
