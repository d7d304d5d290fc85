"""Which server, repository and model names a project's deployment means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlops_assets.config.project import Project
from mlops_assets.training.bundle_schema import BundleSchema
from resources.settings import Settings
from resources.triton.repository import ModelConfig, ModelRepository, Tensor


@dataclass(frozen=True)
class Target:
    """A project's place on a Triton server.

    Attributes:
        grpc_url: ``host:port`` over which models are loaded.
        http_url: Base address for clients.
        repository: The server's model repository.
    """

    grpc_url: str
    http_url: str
    repository: ModelRepository

    @classmethod
    def of(cls, project: Project, settings: Settings) -> Target:
        """The place that the YAML names, else the environment's, else the embedded server."""
        spec = project.spec.deployment
        folder = Path(spec.model_repository) if spec.model_repository else None
        return cls(
            grpc_url=(spec.grpc_url or settings.triton_grpc_url).removeprefix("grpc://"),
            http_url=(spec.http_url or settings.triton_http_url).rstrip("/"),
            repository=ModelRepository(folder or settings.triton_repository),
        )

    def model_url(self, project: Project) -> str:
        """Address of the model's own description."""
        return f"{self.http_url}/v2/models/{project.id.triton_model}"

    def predict_url(self, project: Project) -> str:
        """Address that answers predictions."""
        return f"{self.model_url(project)}/infer"


def model_config(
    project: Project, schema: BundleSchema, versions: tuple[int, ...], *, name: str | None = None
) -> ModelConfig:
    """The configuration under which versions are served.

    Args:
        project: The project.
        schema: Inputs and output of the champion.
        versions: Versions to serve.
        name: Model name; by default the one that clients call.
    """
    spec = project.spec.deployment
    batching = spec.dynamic_batching
    return ModelConfig(
        name=name or project.id.triton_model,
        inputs=tuple(
            Tensor(column.name, "TYPE_FP32" if column.kind == "numeric" else "TYPE_STRING")
            for column in schema.inputs
        ),
        outputs=(Tensor(schema.output_name, "TYPE_FP32", max(len(schema.classes), 1)),),
        versions=versions,
        max_batch_size=spec.max_batch_size,
        queue_delay_us=batching.max_queue_delay_us if batching else None,
        instances=spec.instances,
    )
