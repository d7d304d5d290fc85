"""Read everything in a store again, and tell what is not as it was published."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlops_assets.errors import StoreError
from resources.garbage import folder_of
from resources.manifest import FileEntry, Manifest
from resources.manifest_names import manifest_name
from resources.manifest_store import DamageError
from resources.store import Store

_AT_ONCE = 200
"""Documents in memory."""


@dataclass
class Verification:
    """What came of reading everything.

    Attributes:
        versions: How many versions there are.
        files: How many files were read and are whole.
        bytes: How much they hold.
        documents: How many other documents were read: ledger entries, records.
        problems: What is damaged.
    """

    versions: int = 0
    files: int = 0
    bytes: int = 0
    documents: int = 0
    problems: list[StoreError] = field(default_factory=list)


def verify_store(store: Store, below: str = "") -> Verification:
    """Read every byte below a prefix; files that several versions share are read once.

    Args:
        store: The store.
        below: Such as ``team/project``; everything by default.

    Raises:
        StoreError: The store is away. What is damaged is in the answer instead.
    """
    found = Verification()
    keys = store.everything(below)
    seen: set[tuple[str, str]] = set()
    for key in keys:
        if manifest_name(key):
            _verify_version(store, key, seen, found)
    _verify_documents(store, keys, found)
    return found


def _verify_version(
    store: Store, key: str, seen: set[tuple[str, str]], found: Verification
) -> None:
    found.versions += 1
    store.forget(key)
    try:
        manifest = store.manifest_at(key)
        new = [entry for entry in manifest.entries if _identity(entry) not in seen]
        seen |= {_identity(entry) for entry in new}
        if new:
            store.verify(_only(manifest, new))
    except DamageError as error:
        found.problems.append(error)
        return
    found.files += len(new)
    found.bytes += sum(entry.bytes for entry in new)


def _identity(entry: FileEntry) -> tuple[str, str]:
    return str(entry.location), entry.path


def _only(manifest: Manifest, entries: list[FileEntry]) -> Manifest:
    """The version with some of its files, all of which say their folder."""
    if len(entries) == len(manifest.files):
        return manifest
    return manifest.model_copy(update={"files": tuple(entries), "location": ""})


def _verify_documents(store: Store, keys: Iterable[str], found: Verification) -> None:
    documents = [key for key in keys if key.endswith(".json") and folder_of(key) is None]
    documents = [key for key in documents if not manifest_name(key)]
    for key in documents:
        store.forget(key)
    for start in range(0, len(documents), _AT_ONCE):
        some = documents[start : start + _AT_ONCE]
        for key, body in zip(some, store.read_all(some), strict=True):
            _verify_document(store, key, body, found)


def _verify_document(store: Store, key: str, body: bytes, found: Verification) -> None:
    found.documents += 1
    try:
        json.loads(body)
    except ValueError as error:
        found.problems.append(
            DamageError(
                "a document cannot be read",
                where=f"{store.uri}/{key}",
                found=str(error),
                fix="restore the file from a backup; documents are never changed by the engine",
            )
        )
