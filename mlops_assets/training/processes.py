"""How many processes train together."""

from __future__ import annotations

from dataclasses import dataclass

from mlops_assets.config.training import TrainingSpec
from mlops_assets.training.device import Compute


@dataclass(frozen=True)
class Processes:
    """Processes of one training.

    Attributes:
        per_node: On each machine.
        nodes: Machines.
    """

    per_node: int
    nodes: int

    @property
    def total(self) -> int:
        """On all machines."""
        return self.per_node * self.nodes


def process_count(spec: TrainingSpec, compute: Compute) -> Processes:
    """As ``training.distributed`` says; ``auto`` is one for each CUDA device, else one."""
    distributed = spec.distributed
    if distributed is None:
        return Processes(1, 1)
    if distributed.processes_per_node != "auto":
        return Processes(distributed.processes_per_node, distributed.nodes)
    import torch

    devices = torch.cuda.device_count() if compute.device == "cuda" else 1
    return Processes(max(1, devices), distributed.nodes)
