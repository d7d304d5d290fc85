"""What training gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.training.preprocessing import Preprocessing

if TYPE_CHECKING:
    from mlops_assets.training.core import Core
    from mlops_assets.training.placement import Placement


@dataclass(frozen=True)
class EpochResult:
    """One pass over the training rows.

    Attributes:
        epoch: Its number, from 1.
        train_loss: Mean loss of the training rows while the weights moved.
        validation_loss: Loss of the validation rows under the averaged weights.
        metrics: A few metrics of the validation rows.
        rows_per_second: Training rows a second, validation not counted.
        learning_rate: At the end of the epoch.
        seconds: Duration, validation counted.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    metrics: dict[str, float]
    rows_per_second: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class TrainingResult:
    """A trained model.

    Attributes:
        module: Raw numbers and category indices to answers; on the CPU, in evaluation mode.
        preprocessing: What was fitted before the weights.
        history: All epochs.
        best_epoch: The epoch whose weights the module has.
        seconds: Duration of this call.
        device: ``cpu`` or ``cuda``.
        precision: ``float32`` or ``bfloat16``.
        batch_size: Rows a step, in the end.
        resumed_from: Epoch of the checkpoint from which this call went on, if any.
        placement: Where it ran.
    """

    module: Core
    preprocessing: Preprocessing
    history: tuple[EpochResult, ...]
    best_epoch: int
    seconds: float
    device: str
    precision: str
    batch_size: int
    resumed_from: int | None
    placement: Placement
