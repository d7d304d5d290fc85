"""A candidate under a model name of its own, where no client looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_assets.errors import ServerUnavailableError
from mlops_assets.serving.golden import compare_golden
from mlops_assets.serving.target import model_config

if TYPE_CHECKING:
    from mlops_assets.serving.site import Site
    from mlops_assets.training.bundle import Bundle


def verify_candidate(site: Site, bundle: Bundle, version: int) -> dict[str, Any]:
    """Load the candidate, compare its golden rows, and unload it.

    Returns:
        The comparison with torch and with ONNX Runtime, as JSON.

    Raises:
        DeploymentError: Triton refused to load it or to answer.
        ParityError: It answers, but not as it should.
    """
    name = site.project.id.triton_candidate
    repository = site.target.repository
    try:
        repository.publish(name, version, bundle.onnx_path)
        repository.write_config(model_config(site.project, bundle.schema, (version,), name=name))
        site.client.load(name, (version,))
        return compare_golden(site.client, site.project, bundle, name, version)
    finally:
        discard_candidate(site)


def discard_candidate(site: Site) -> None:
    """Unload and remove the candidate; a server that is away has nothing loaded when it returns."""
    try:
        site.client.unload(site.project.id.triton_candidate)
    except ServerUnavailableError:
        return
    finally:
        site.target.repository.remove(site.project.id.triton_candidate)
