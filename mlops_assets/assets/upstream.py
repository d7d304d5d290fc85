"""What an asset reads from the assets above it, always through the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.errors import StoreError

if TYPE_CHECKING:
    from resources.manifest import Manifest
    from resources.store import Store


def require_latest(store: Store, collection: str, asset: str) -> Manifest:
    """The newest published version of a collection.

    Raises:
        StoreError: Nothing was published yet.
    """
    manifest = store.latest(collection)
    if manifest is None:
        raise StoreError(
            "nothing was published yet",
            where=collection,
            expected=f"at least one version of `{asset}`",
            fix=f"materialize `{asset}` first, or run the whole lifecycle with `mlops run`",
        )
    return manifest
