"""``deployment:`` where and how the model is served."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from mlops_assets.config.base import Spec

Url = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class DynamicBatchingSpec(Spec):
    """Triton's dynamic batcher."""

    max_queue_delay_us: int = Field(default=0, ge=0, le=1_000_000)
    """Microseconds a request may wait for company."""


class ToleranceSpec(Spec):
    """How far torch, ONNX Runtime and Triton may differ on the same rows."""

    absolute: float = Field(default=1e-4, ge=0)
    """Largest absolute difference of a prediction (regression: in label standard deviations)."""
    relative: float = Field(default=1e-3, ge=0)
    """Largest relative difference, added to the absolute one."""
    decisions_changed: float = Field(default=0.0005, ge=0, lt=1)
    """Largest share of rows whose decision (class) differs."""


class TritonDeployment(Spec):
    """NVIDIA Triton."""

    type: Literal["triton"] = "triton"
    """``triton``"""
    grpc_url: Url | None = None
    """``host:port`` of another Triton; by default ``MLOPS_TRITON_GRPC_URL`` or the embedded one."""
    http_url: Url | None = None
    """Base URL that clients use; by default ``MLOPS_TRITON_HTTP_URL`` or the embedded one."""
    model_repository: Url | None = None
    """That Triton's model repository as this machine sees it; by default
    ``MLOPS_TRITON_REPOSITORY`` or ``triton_repo``."""
    max_batch_size: int = Field(default=256, ge=1, le=65_536)
    """Largest batch of one inference."""
    dynamic_batching: DynamicBatchingSpec | None = DynamicBatchingSpec()
    """Joins requests that arrive together; ``null`` turns it off."""
    instances: int = Field(default=1, ge=1, le=64)
    """Copies of the model that run in parallel."""
    keep_versions: int = Field(default=3, ge=1, le=20)
    """Versions that stay loaded, champion included, so that a rollback is instant."""
    golden_rows: int = Field(default=64, ge=8, le=4096)
    """Test rows whose served predictions are compared before a promotion."""
    tolerance: ToleranceSpec = ToleranceSpec()
    """How far the runtimes may differ."""


DeploymentSpec = TritonDeployment
"""A second backend makes this a union tagged by ``type``."""
