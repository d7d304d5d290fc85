"""Code versions of a project's assets: digests of what a person wrote that decides a result."""

from __future__ import annotations

import hashlib
import json

from mlops_assets import __version__
from mlops_assets.config.kafka import KafkaSource
from mlops_assets.config.project import Project
from mlops_assets.config.sql import SqlSource

PARTS = {
    "raw": ("sources", "checks"),
    "features": ("features", "checks"),
    "model": ("task", "features", "model", "training", "evaluation"),
    "evaluation": ("task", "evaluation"),
    "deployment": ("deployment",),
    "inference_log": ("monitoring",),
    "labels": ("monitoring",),
    "monitoring": ("monitoring", "checks"),
    "retrain_decision": ("monitoring", "automation"),
}
"""Which parts of the YAML decide which asset."""


def code_version(project: Project, stage: str, source: str | None = None) -> str:
    """A short digest of the YAML parts and files that decide one asset.

    Args:
        project: The project.
        stage: A key of :data:`PARTS`.
        source: For ``raw``, which source.
    """
    if source is not None and source not in project.spec.sources:
        stage = source  # the log or the labels, which monitoring declares
    written = {part: project.written.get(part) for part in PARTS[stage]}
    if stage == "raw" and source is not None:
        written = {part: (value or {}).get(source) for part, value in written.items()}
    digest = hashlib.sha256(json.dumps(written, sort_keys=True, default=str).encode())
    if source is not None:
        spec = project.spec.source(source)
        if isinstance(spec, SqlSource) and spec.query is not None:
            digest.update(project.content(spec.query))
        if isinstance(spec, KafkaSource):
            for _, name, _ in spec.files():
                digest.update(project.content(name))
    if stage == "features":
        digest.update(project.content(project.spec.features.query))
    if stage == "model" and project.spec.model.type == "custom":
        digest.update(project.content(project.spec.model.file))
    return f"{__version__}+{digest.hexdigest()[:12]}"
