"""Make one model on Triton match the deployment ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.config.project import Project
from mlops_assets.errors import BundleError, StoreError
from mlops_assets.serving.target import model_config
from mlops_assets.training.bundle import Bundle, open_bundle
from mlops_assets.training.bundle_schema import ONNX_FILE

if TYPE_CHECKING:
    from mlops_assets.serving.site import Site
    from resources.ledger import LedgerState
    from resources.store import Store


@dataclass(frozen=True)
class Plan:
    """What should serve.

    Attributes:
        champion: Bundle of the live version.
        bundles: Bundle of every version to serve.
    """

    champion: Bundle
    bundles: dict[int, Bundle]

    @property
    def versions(self) -> tuple[int, ...]:
        """Versions to serve, newest first; clients that name none get the first."""
        return tuple(sorted(self.bundles, reverse=True))


def stored_bundle(project: Project, store: Store, bundle_id: str) -> Bundle:
    """A bundle by its content.

    Raises:
        StoreError: It is not in the store.
        BundleError: It was changed.
    """
    manifest = store.find(project.id.bundles_collection, bundle_id)
    if manifest is None:
        raise StoreError(
            "a bundle that the ledger names is not in the store",
            where=project.id.bundles_collection,
            expected=bundle_id,
            fix="restore the store from its backup, or roll back to another version",
        )
    return open_bundle(store.path(manifest))


def make_plan(project: Project, store: Store, state: LedgerState) -> Plan | None:
    """The versions that the ledger wants served; None when nothing is live.

    An earlier version stays loaded only if it takes the champion's inputs, because a model's
    versions share one configuration, and only if its bundle is still good.

    Raises:
        StoreError: The champion's bundle is not in the store.
        BundleError: The champion's bundle was changed.
    """
    if state.champion is None:
        return None
    champion = stored_bundle(project, store, state.champion.bundle_id)
    bundles = {state.champion.version: champion}
    for version in state.serving[1:]:
        try:
            bundle = stored_bundle(project, store, state.bundles[version])
        except (StoreError, BundleError):
            continue
        if bundle.schema == champion.schema:
            bundles[version] = bundle
    return Plan(champion, bundles)


def publish_bundle(site: Site, model: str, version: int, bundle: Bundle) -> bool:
    """Put a bundle's graph into the model repository; returns whether it was not there.

    Raises:
        DeploymentError: It could not be written; nothing is visible.
    """
    sha256 = bundle.info.files[ONNX_FILE]["sha256"]
    return site.target.repository.publish(model, version, bundle.onnx_path, sha256)


def write_plan(site: Site, plan: Plan) -> list[str]:
    """Publish what is missing and write the configuration; returns what was done.

    Raises:
        DeploymentError: Something could not be written.
    """
    done = [
        f"version {version} written"
        for version, bundle in plan.bundles.items()
        if publish_bundle(site, site.model, version, bundle)
    ]
    config = model_config(site.project, plan.champion.schema, plan.versions)
    if site.target.repository.write_config(config):
        done.append("configuration written")
    return done


def apply_plan(site: Site, plan: Plan) -> list[str]:
    """Write what is missing, load, and say what was done.

    Raises:
        DeploymentError: The server refused it, or something could not be written.
        ServerUnavailableError: The server does not answer.
    """
    done = write_plan(site, plan)
    if done or site.client.ready_versions(site.model) != set(plan.versions):
        site.client.load(site.model, plan.versions)
        done.append(f"versions {', '.join(map(str, plan.versions))} loaded")
    return done


def restore(site: Site, *, server_is_away: bool = False) -> list[str]:
    """Make the model match the ledger as it is now; returns what was done.

    Args:
        site: The project's place; its lock is held.
        server_is_away: Correct the files only, so that the server comes back to them.
    """
    plan = make_plan(site.project, site.store, site.state())
    if plan is not None:
        return write_plan(site, plan) if server_is_away else apply_plan(site, plan)
    done = []
    if not server_is_away and site.client.ready_versions(site.model):
        site.client.unload(site.model)
        done.append("unloaded, because the ledger has no live version")
    site.target.repository.remove(site.model)
    return done
