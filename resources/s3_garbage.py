"""Which objects of a store in S3 are nobody's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from resources.manifest import Manifest
from resources.manifest_store import DATA, locations_of


def find_garbage(
    listed: Iterable[tuple[str, datetime]], manifests: Sequence[Manifest], *, before: datetime
) -> dict[str, list[str]]:
    """Old data that no manifest names: whole folders, and files beside those that are named.

    Args:
        listed: Keys and when each was written.
        manifests: All of the store, read after the listing.
        before: What was written since is no garbage; nor is a folder with such a file.

    Returns:
        For each folder, and for each file in a folder that is named, the keys to remove.
    """
    folders: dict[str, dict[str, datetime]] = defaultdict(dict)
    for key, changed in listed:
        head, is_data, tail = key.partition(f"/{DATA}/")
        if is_data:
            folders[f"{head}/{DATA}/{tail.partition('/')[0]}"][key] = changed
    places = {place for manifest in manifests for place in locations_of(manifest)}
    named = {f"{e.location}/{e.path}" for manifest in manifests for e in manifest.entries}
    garbage: dict[str, list[str]] = {}
    for folder, files in folders.items():
        if folder in places:
            late = [key for key in files if files[key] < before and key not in named]
            garbage |= {key: [key] for key in late}
        elif max(files.values()) < before:
            garbage[folder] = list(files)
    return garbage
