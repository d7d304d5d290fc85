"""A candidate under a model name of its own, where no client looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlops_assets.errors import ServerUnavailableError
from mlops_assets.serving.apply import publish_bundle
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
    try:
        publish_bundle(site, name, version, bundle)
        config = model_config(site.project, bundle.schema, (version,), name=name)
        site.target.repository.write_config(config)
        site.client.load(name, (version,))
        return compare_golden(site.client, site.project, bundle, name, version)
    finally:
        discard_candidate(site)


def discard_candidate(site: Site) -> bool:
    """Unload and remove the candidate; returns whether there was one.

    A server that is away has nothing loaded when it returns.
    """
    name = site.project.id.triton_candidate
    repository = site.target.repository
    found = (repository.root / name).exists()
    try:
        if found or site.client.ready_versions(name):
            site.client.unload(name)
            found = True
    except ServerUnavailableError:
        return found
    finally:
        repository.remove(name)
        repository.clear_staging(name)
    return found
