"""Rules between the fields of ``training:``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlops_assets.config.problems import FieldProblem, Location

if TYPE_CHECKING:
    from mlops_assets.config.project import ProjectSpec

_PART: Location = ("training", "distributed")


def find_training_problems(spec: ProjectSpec) -> Iterator[FieldProblem]:
    """What ``training.distributed`` asks for and the rest of ``training`` makes impossible."""
    training = spec.training
    distributed = training.distributed
    if distributed is None:
        return
    if distributed.nodes > 1 and distributed.rendezvous is None:
        yield FieldProblem(
            (*_PART, "rendezvous"),
            f"nothing, with {distributed.nodes} nodes",
            "host:port of the machine where the processes meet",
        )
    if distributed.nodes == 1 and distributed.rendezvous is not None:
        yield FieldProblem(
            (*_PART, "rendezvous"),
            f"{distributed.rendezvous}, with 1 node",
            "`nodes` of 2 or more, or no rendezvous: one machine needs none",
        )
    if distributed.backend == "nccl" and training.devices == "cpu":
        yield FieldProblem(
            (*_PART, "backend"), "nccl with `devices: cpu`", "gloo or auto: NCCL needs CUDA devices"
        )
    if distributed.processes_per_node != "auto" and training.batch_size != "auto":
        processes = distributed.processes_per_node * distributed.nodes
        if training.batch_size < processes:
            yield FieldProblem(
                ("training", "batch_size"),
                f"{training.batch_size}, fewer rows than the {processes} processes",
                f"{processes} or more: all processes share the rows of each step",
            )
