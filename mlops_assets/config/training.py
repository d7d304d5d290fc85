"""``training:`` how the model is fitted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlops_assets.config.base import Spec
from mlops_assets.config.distributed import DistributedSpec


class TrainingSpec(Spec):
    """How the model is fitted. The defaults suit tabular data of 10³ to 10⁷ rows."""

    epochs: int = Field(default=60, ge=1, le=10_000)
    """At most so many passes over the training rows; early stopping usually ends it sooner."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Rows a step; ``auto`` grows with the number of rows."""
    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """Peak learning rate, after a short warm-up and before a fall to 0; ``auto`` is 0.004."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay (AdamW)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic; ``auto`` is bfloat16 on CUDA devices that have it, else float32."""
    devices: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto`` takes CUDA when there is one; ``cuda`` fails without one."""
    distributed: DistributedSpec | None = None
    """More than one process, on one machine or several; by default one process."""
    on_out_of_memory: Literal["halve_batch", "fail"] = "halve_batch"
    """What to do when the device's memory runs out."""
    early_stopping: int = Field(default=4, ge=0)
    """Stop after so many epochs without a better validation loss; 0 never stops."""
    checkpoint_every: int = Field(default=1, ge=1)
    """Epochs between checkpoints; a killed run goes on from the last one."""
    seed: int = Field(default=7, ge=0, lt=2**32)
    """Seed of every random choice."""
