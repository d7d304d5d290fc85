"""The identity of a training: everything that decides its result."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import Any

from mlops_assets.config.project import Project
from mlops_assets.config.training import TrainingSpec


def training_key(project: Project, features_version: str, code_version: str = "") -> str:
    """``sha256:…`` of the features, the parts of the spec, the code and the torch version.

    The same key means that a bundle which is there need not be trained again.

    Args:
        project: The project.
        features_version: Data version of the features.
        code_version: Version of the engine's code.

    Raises:
        ConfigError: A custom model's file is unusable.
    """
    spec = project.spec
    parts: dict[str, Any] = {
        "features_version": features_version,
        "code_version": code_version,
        "torch": version("torch"),
        "task": spec.task,
        "features": spec.features.model_dump(
            mode="json", include={"entity", "time", "label", "inputs", "pii"}
        ),
        "model": spec.model.model_dump(mode="json"),
        "training": _training_part(spec.training),
        "split": spec.evaluation.split.model_dump(mode="json"),
        "golden_rows": spec.deployment.golden_rows,
    }
    if spec.model.type == "custom":
        from mlops_assets.models.custom import custom_source

        source = custom_source(spec.model, project.directory, project.files)
        parts["custom_model"] = hashlib.sha256(source.encode()).hexdigest()
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _training_part(spec: TrainingSpec) -> dict[str, Any]:
    """What decides the weights: how many processes, but not how they find each other."""
    part = spec.model_dump(
        mode="json", exclude={"checkpoint_every", "on_out_of_memory", "distributed"}
    )
    if spec.distributed is not None:
        part["distributed"] = spec.distributed.model_dump(
            mode="json", include={"processes_per_node", "nodes"}
        )
    return part
