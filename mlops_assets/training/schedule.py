"""Batch size and learning rate where the project leaves them to us."""

from __future__ import annotations

import math

from mlops_assets.config.training import TrainingSpec

_STEPS_AN_EPOCH = 48
_SMALLEST_BATCH = 32
_LARGEST_BATCH = 4096
_BASE_RATE = 1e-3
_BASE_BATCH = 256
_LARGEST_RATE = 4e-3
_WARMUP = 0.02


def batch_size(spec: TrainingSpec, rows: int) -> int:
    """Rows a step: as written, or the power of two that gives about 48 steps an epoch."""
    if spec.batch_size != "auto":
        return min(spec.batch_size, rows)
    wanted: int = 2 ** round(math.log2(max(1, rows / _STEPS_AN_EPOCH)))
    return min(rows, max(_SMALLEST_BATCH, min(_LARGEST_BATCH, wanted)))


def peak_rate(spec: TrainingSpec, batch: int) -> float:
    """Peak learning rate: as written, or growing with the square root of the batch size.

    Adam's steps have a noise that falls with that root (Malladi et al. 2022, "On the SDEs and
    Scaling Rules for Adaptive Gradient Algorithms").
    """
    if spec.learning_rate != "auto":
        return spec.learning_rate
    return min(_LARGEST_RATE, max(_BASE_RATE, _BASE_RATE * math.sqrt(batch / _BASE_BATCH)))


def rate_factor(progress: float) -> float:
    """Share of the peak rate after this share of the planned training: warm-up, then cosine."""
    return min(1.0, progress / _WARMUP) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
