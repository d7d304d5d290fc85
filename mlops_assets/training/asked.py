"""What a training starts from, and what it leaves, wherever it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.project import Project
from mlops_assets.training.device import Compute
from mlops_assets.training.preprocessing import Preprocessing
from mlops_assets.training.result import EpochResult
from mlops_assets.training.split import Split

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor

    from mlops_assets.training.core import Core
    from mlops_assets.training.placement import Placement


@dataclass(frozen=True)
class Asked:
    """A training that is asked for.

    Attributes:
        table: Features.
        split: Their division into rows.
        project: The project.
        preprocessing: Fitted on the training rows.
        compute: Device and arithmetic.
        checkpoints: Folder of this training alone.
    """

    table: pa.Table
    split: Split
    project: Project
    preprocessing: Preprocessing
    compute: Compute
    checkpoints: Path


@dataclass(frozen=True)
class Trained:
    """A training that is done.

    Attributes:
        core: The module with the best weights, on the CPU, in evaluation mode.
        history: All epochs.
        best_epoch: The epoch whose weights the module has.
        batch_size: Rows a step, in the end.
        resumed_from: Epoch of the checkpoint from which this run went on, if any.
        categorical: Category indices of the training rows.
        placement: Where it ran.
    """

    core: Core
    history: tuple[EpochResult, ...]
    best_epoch: int
    batch_size: int
    resumed_from: int | None
    categorical: Tensor
    placement: Placement
