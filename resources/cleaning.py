"""Remove what killed runs left, in the store and among this machine's copies of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from resources.garbage import Removed
from resources.local_store import LocalStore
from resources.settings import Settings
from resources.store import open_store

LIMIT = timedelta(days=7)
"""What is older and belongs to nothing is removed."""
SHORTEST = timedelta(days=1)
"""What nobody changed for so long is nobody's work: a run that takes longer writes meanwhile, and
runs of the sample instance end before (``max_runtime_seconds`` in deploy/dagster/dagster.yaml)."""
CACHE = "cache"


def clean(
    settings: Settings, older_than: timedelta = LIMIT, *, below: str = "", dry_run: bool = False
) -> list[Removed]:
    """Remove what belongs to nothing and nobody changed or used since a while.

    That is: data folders that no manifest names, folders of writers that died, unfinished uploads
    to S3, and copies in ``MLOPS_HOME/cache`` of what lies in S3.

    Args:
        settings: Where everything is.
        older_than: What is younger stays.
        below: Only what lies below this prefix of the store, such as a team; copies are those of
            all teams, because a machine has one disk.
        dry_run: Only say what would be removed.

    Returns:
        What was removed.

    Raises:
        StoreError: The store is away, or a manifest is damaged: it may name what looks like
            garbage, so nothing is removed.
    """
    store = open_store(settings.store_uri)
    removed = store.collect_garbage(older_than, below=below, dry_run=dry_run)
    return removed + clean_copies(settings.home / CACHE, older_than, dry_run=dry_run)


def clean_copies(cache: Path, older_than: timedelta, *, dry_run: bool = False) -> list[Removed]:
    """Remove copies of what lies in S3 that were not used since a while, of all stores."""
    removed = []
    for folder in sorted(cache.glob("s3-*")):
        found = LocalStore(folder).collect_garbage(older_than, dry_run=dry_run)
        removed += [Removed(f"{cache}/{folder.name}/{one.name}", one.bytes) for one in found]
    return removed
