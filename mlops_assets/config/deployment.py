"""``deployment:`` where and how the model is served."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mlops_assets.config.base import URL_PATTERN, ExistingPorts, Spec
from mlops_assets.config.problems import FieldProblem, FieldProblems

GRPC_PATTERN = r"^(grpc://)?(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+):\d{1,5}$"


def _no_address(folder: str) -> str:
    """Refuse what Triton would read itself: versions are written here as files."""
    if "://" in folder:
        raise FieldProblems([FieldProblem((), "an address", "a folder, as this machine sees it")])
    return folder


GrpcUrl = Annotated[str, Field(max_length=500, pattern=GRPC_PATTERN), ExistingPorts]
HttpUrl = Annotated[str, Field(max_length=500, pattern=URL_PATTERN), ExistingPorts]
Folder = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_no_address)]


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
    grpc_url: GrpcUrl | None = None
    """``host:port`` of another Triton; by default ``MLOPS_TRITON_GRPC_URL`` or the embedded one."""
    http_url: HttpUrl | None = None
    """Base URL that clients of that Triton use, such as ``http://triton:8000``; beside
    ``grpc_url``. By default ``MLOPS_TRITON_HTTP_URL`` or the embedded one."""
    model_repository: Folder | None = None
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

    @model_validator(mode="after")
    def _both_addresses(self) -> TritonDeployment:
        if (self.grpc_url is None) != (self.http_url is None):
            absent, given = ("http_url", "grpc_url")[:: 1 if self.grpc_url else -1]
            expected = f"the same Triton's address, as {given} is given"
            raise FieldProblems([FieldProblem((absent,), "nothing", expected)])
        return self


DeploymentSpec = TritonDeployment
"""A second backend makes this a union tagged by ``type``."""
