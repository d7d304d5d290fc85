"""Names in a store: which are allowed, and what they say.

The layout is that of :mod:`resources.manifest_store`.
"""

from __future__ import annotations

import re
from pathlib import Path

from mlops_assets.errors import StoreError
from resources.content_index import entry_key
from resources.garbage import DATA
from resources.manifest import FileEntry, Manifest

MANIFESTS = "_manifests"
_WORD = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_KEY = re.compile(rf"{_WORD}(/{_WORD})*")
_LOCATION = re.compile(rf"{_KEY.pattern}/{DATA}/[A-Za-z0-9-]+")
MANIFEST_FILE = re.compile(rf"({_WORD})\.json")
_MANIFEST = re.compile(rf"(?!.*/{DATA}/).*/{MANIFESTS}/{MANIFEST_FILE.pattern}")
NUMBER = re.compile(r"\d{6,}")
"""The name of a version that has none of its own, as :func:`number_name` writes it."""


def checked(name: str, form: re.Pattern[str] = _KEY) -> str:
    """A collection or key that stays inside the store.

    Raises:
        StoreError: It would not.
    """
    if not form.fullmatch(name):
        raise StoreError(
            "not a name that the store can hold",
            found=repr(name),
            expected="words of letters, digits, '_', '-' and '.', joined by '/'",
        )
    return name


def checked_version_name(collection: str, name: str) -> str:
    """A name for a version, which no number can be.

    Raises:
        StoreError: It is a number, or none that the store can hold.
    """
    if NUMBER.fullmatch(checked(name)) or "/" in name:
        raise StoreError(
            "not a name for a version",
            where=collection,
            found=repr(name),
            expected="a word that is no number",
        )
    return name


def checked_location(location: str | None) -> str:
    """A version's folder that stays inside the store.

    Raises:
        StoreError: It would not.
    """
    return checked(location or "", _LOCATION)


def checked_path(entry: FileEntry) -> str:
    """A file's path that stays inside its folder.

    Raises:
        StoreError: It would not.
    """
    parts = Path(entry.path).parts
    if not parts or Path(entry.path).is_absolute() or ".." in parts:
        raise StoreError(
            "a manifest names a file outside its folder",
            found=repr(entry.path),
            fix="restore the manifest from a backup; it is never changed by the engine",
        )
    return entry.path


def locations_of(manifest: Manifest) -> set[str]:
    """Every folder that a version's files lie in."""
    return {str(entry.location) for entry in manifest.entries} | {manifest.location}


def manifest_key(collection: str, name: str) -> str:
    """Key of a manifest."""
    return f"{checked(collection)}/{MANIFESTS}/{name}.json"


def manifest_name(key: str) -> str | None:
    """Name of the manifest that a key holds, or None when it holds something else."""
    match = _MANIFEST.fullmatch(key)
    return match[1] if match else None


def version_name(manifest: Manifest) -> str:
    """What a version is called in its collection: its name, or its number."""
    return manifest.name or number_name(manifest.sequence)


def index_key(manifest: Manifest) -> str:
    """Key of a version's entry in the index of contents."""
    name = version_name(manifest)
    return entry_key(manifest.collection, name, manifest.data_version, manifest.location)


def number_name(number: int) -> str:
    """A number as a name; names sort as the numbers do."""
    return f"{number:06d}"
