"""What stores of all kinds have in common: versions by manifests, over keys that are created once.

<collection>/_manifests/000001.json    numbered or named, created once, never changed
<collection>/_by_content/000001~…      which content a number has (resources.content_index)
<collection>/_data/<folder>/…          the files of a version
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from mlops_assets.errors import AlreadyExistsError, StoreError
from resources.content_index import INDEX, content_mark, read_entries
from resources.garbage import DATA
from resources.manifest import Draft, FileEntry, Manifest
from resources.manifest_names import (
    MANIFEST_FILE,
    MANIFESTS,
    NUMBER,
    checked,
    checked_location,
    checked_path,
    checked_version_name,
    index_key,
    locations_of,
    manifest_key,
    manifest_name,
    number_name,
    version_name,
)

T = TypeVar("T")
R = TypeVar("R")

_RECENT = 100
"""More publishers than that are never at work on one collection at once."""
_AT_ONCE = 100
"""Manifests in memory, where all of a store are read."""


class DamageError(StoreError):
    """Something in the store is not as it was published."""


class DamagedManifestError(DamageError):
    """A manifest is there and cannot be read."""


class ManifestStore(ABC):
    """A :class:`~resources.store.Store` without its place."""

    uri: str

    @abstractmethod
    def stage(self, collection: str) -> Path:
        """A new private local folder."""

    @abstractmethod
    def path(self, manifest: Manifest) -> Path:
        """The version's folder, with exactly the files of the manifest in their sizes."""

    @abstractmethod
    def files(self, manifest: Manifest) -> list[Path]:
        """The version's files, wherever they lie."""

    @abstractmethod
    def create(self, key: str, body: bytes) -> None:
        """Create a key with its whole content, unless it is taken."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Content of a key."""

    @abstractmethod
    def _discard(self, staged: Path) -> None:
        """Remove a staged folder that was not published."""

    @abstractmethod
    def _place(self, staged: Path, location: str) -> tuple[FileEntry, ...]:
        """Move a staged folder to its place, durably, where no manifest names it yet."""

    @abstractmethod
    def _withdraw(self, location: str) -> None:
        """Remove a placed folder that no manifest names."""

    @abstractmethod
    def _create(self, key: str, body: bytes) -> None:
        """:meth:`create` for keys of the engine's own form."""

    @abstractmethod
    def _read(self, key: str) -> bytes:
        """:meth:`read` for keys of the engine's own form."""

    @abstractmethod
    def _listed(self, folder: str) -> list[str]:
        """Names of the keys that lie directly in a folder of the engine's own."""

    @abstractmethod
    def _writing(self, where: Path) -> Any:
        """A context that turns the place's own errors into a StoreError."""

    @contextmanager
    def staging(self, collection: str) -> Iterator[Path]:
        """:meth:`stage` for a block; what was not published is gone after it."""
        path = self.stage(collection)
        try:
            with self._writing(path):
                yield path
        finally:
            self._discard(path)

    def publish(self, collection: str, staged: Path, draft: Draft) -> Manifest:
        """Sync the staged files, put them in their place, then let a manifest appear."""
        return self._publish(collection, staged, draft, None)

    def publish_as(self, collection: str, name: str, staged: Path, draft: Draft) -> Manifest:
        """The same, under a name that nobody has yet."""
        return self._publish(collection, staged, draft, checked_version_name(collection, name))

    def combine(self, collection: str, files: Sequence[FileEntry], draft: Draft) -> Manifest:
        """A new manifest for files that are there."""
        return self._append(collection, "", tuple(files), draft)

    def republish(
        self, manifest: Manifest, *, inputs_digest: str | None, metadata: dict[str, Any]
    ) -> Manifest:
        """A new manifest for data that are there."""
        draft = Draft(
            data_version=manifest.data_version,
            inputs_digest=inputs_digest,
            rows=manifest.rows,
            columns=manifest.columns,
            metadata=metadata,
        )
        return self._append(manifest.collection, manifest.location, manifest.files, draft)

    def latest(self, collection: str) -> Manifest | None:
        """The newest version."""
        numbers = self._numbers(collection)
        return self._load(collection, number_name(numbers[-1])) if numbers else None

    def version(self, collection: str, sequence: int) -> Manifest:
        """The version of that number."""
        return self._load(checked(collection), number_name(sequence))

    def manifests(self, collection: str) -> list[Manifest]:
        """All versions, oldest first."""
        return self._load_all([(collection, number_name(n)) for n in self._numbers(collection)])

    def names(self, collection: str) -> list[str]:
        """Names of all versions that have one, in order; their manifests are not read."""
        names = self._manifest_names(checked(collection))
        return [name for name in names if not NUMBER.fullmatch(name)]

    def named(self, collection: str, name: str) -> Manifest:
        """The version of that name."""
        return self._load(collection, checked(name))

    def named_all(self, places: Iterable[tuple[str, str]]) -> list[Manifest]:
        """The versions of these collections and names, in this order."""
        return self._load_all([(collection, checked(name)) for collection, name in places])

    def find(self, collection: str, data_version: str) -> Manifest | None:
        """The newest version with this content; one whose manifest is damaged is none."""
        marks = read_entries(self._listed(f"{checked(collection)}/{INDEX}"))
        numbers = self._numbers(collection)
        unknown = [number for number in numbers if number not in marks]
        for manifest in self._together(lambda n: self._readable(collection, n), unknown):
            if manifest is not None:
                self._note(manifest)
                marks[manifest.sequence] = content_mark(manifest.data_version)
        wanted = content_mark(data_version)
        same = (number for number in reversed(numbers) if marks.get(number) == wanted)
        found = (self._readable(collection, number) for number in same)
        return next((m for m in found if m is not None and m.data_version == data_version), None)

    def read_all(self, keys: Sequence[str]) -> list[bytes]:
        """Contents of keys, in their order."""
        return self._together(self.read, keys)

    def _publish(self, collection: str, staged: Path, draft: Draft, name: str | None) -> Manifest:
        folder = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}"
        location = f"{checked(collection)}/{DATA}/{folder}"
        try:
            files = self._place(staged, location)
            if name is None:
                return self._append(collection, location, files, draft)
            return self._create_manifest(collection, name, location, files, draft)
        except AlreadyExistsError:
            with suppress(StoreError):
                self._withdraw(location)
            raise
        except BaseException:
            with suppress(StoreError):
                if not self._is_referenced(collection, location, name):
                    self._withdraw(location)
            raise

    def _append(
        self, collection: str, location: str, files: tuple[FileEntry, ...], draft: Draft
    ) -> Manifest:
        while True:
            name = number_name((self._numbers(collection) or [0])[-1] + 1)
            try:
                return self._create_manifest(collection, name, location, files, draft)
            except AlreadyExistsError:
                if name not in self._manifest_names(collection):
                    raise  # it is there and not listed: to go on would be to go on for ever
                # Another publisher took the number.

    def _create_manifest(
        self,
        collection: str,
        name: str,
        location: str,
        files: tuple[FileEntry, ...],
        draft: Draft,
    ) -> Manifest:
        is_number = NUMBER.fullmatch(name) is not None
        manifest = Manifest(
            **draft.model_dump(),
            collection=collection,
            sequence=int(name) if is_number else 0,
            name=None if is_number else name,
            location=location,
            created_at=datetime.now(UTC),
            files=files,
        )
        body = manifest.model_dump_json(indent=1, exclude_none=True).encode()
        self._create(manifest_key(collection, name), body)
        self._note(manifest)
        return manifest

    def _note(self, manifest: Manifest) -> None:
        """Add a version to the index of contents; who cannot leaves it to who looks next."""
        with suppress(StoreError):
            self._create(index_key(manifest), manifest.data_version.encode())

    def _each_manifest(self, keys: Collection[str], *, note: bool) -> Iterator[Manifest]:
        """The manifests among a store's keys; never many in memory at once.

        Args:
            keys: All keys below a prefix.
            note: Add those to the index that have no entry among the keys.

        Raises:
            StoreError: One is damaged, or is another store's: what it names cannot be told.
        """
        known = {key for key in keys if f"/{INDEX}/" in key}

        def look(key: str) -> Manifest:
            manifest = self.manifest_at(key)
            self.forget(key)
            own = manifest_key(manifest.collection, version_name(manifest))
            if key != own:
                raise StoreError(
                    "a manifest lies where it does not belong, as those of a store inside a store",
                    where=f"{self.uri}/{key}",
                    found=key,
                    expected=own,
                    fix="move the inner store out of the outer one, or what was copied away",
                )
            if note and index_key(manifest) not in known:
                self._note(manifest)
            return manifest

        names = [key for key in keys if manifest_name(key)]
        for start in range(0, len(names), _AT_ONCE):
            yield from self._together(look, names[start : start + _AT_ONCE])

    def _readable(self, collection: str, number: int) -> Manifest | None:
        """A version, unless its manifest is damaged."""
        try:
            return self.version(collection, number)
        except DamagedManifestError:
            return None

    def _numbers(self, collection: str) -> list[int]:
        names = self._manifest_names(checked(collection))
        return sorted(int(name) for name in names if NUMBER.fullmatch(name))

    def _manifest_names(self, collection: str) -> list[str]:
        """Names of a collection's manifests, in order."""
        found = map(MANIFEST_FILE.fullmatch, self._listed(f"{collection}/{MANIFESTS}"))
        return sorted(match[1] for match in found if match)

    def _load(self, collection: str, name: str) -> Manifest:
        return self.manifest_at(manifest_key(collection, name))

    def _load_all(self, places: Sequence[tuple[str, str]]) -> list[Manifest]:
        """The manifests of some collections and names, in this order."""
        return self._together(lambda place: self._load(*place), places)

    def _together(self, function: Callable[[T], R], things: Sequence[T]) -> list[R]:
        """A function's answers for some things, in their order."""
        return [function(thing) for thing in things]

    def manifest_at(self, key: str) -> Manifest:
        """The version whose manifest is this key."""
        try:
            return parse_manifest(self._read(key), f"{self.uri}/{key}")
        except StoreError:
            self.forget(key)
            raise

    def forget(self, key: str) -> None:  # noqa: B027 - a store that remembers nothing needs none
        """Read a key anew when it is next asked for."""

    def _is_referenced(self, collection: str, location: str, name: str | None) -> bool:
        """Whether the manifest that was being written when something failed is there."""
        if name is not None:
            names = [name] if name in self._manifest_names(collection) else []
        else:
            names = [number_name(number) for number in self._numbers(collection)[-_RECENT:]]
        return any(location in locations_of(self._load(collection, n)) for n in names)


def parse_manifest(body: bytes, where: object) -> Manifest:
    """Read a manifest.

    Raises:
        DamagedManifestError: It is damaged, or names what lies elsewhere than in a store.
    """
    try:
        manifest = Manifest.model_validate_json(body)
        for location in {manifest.location, *(f.location for f in manifest.files)} - {None, ""}:
            checked_location(location)
        for entry in manifest.files:
            checked_path(entry)
    except ValidationError as error:
        found = f"{error.error_count()} problems, the first: {error.errors()[0]['msg']}"
    except StoreError as error:
        found = f"{error.problem}: {error.found}"
    else:
        return manifest
    raise DamagedManifestError(
        "the manifest cannot be read",
        where=where,
        found=found,
        fix="restore the file from a backup; manifests are never changed by the engine",
    )


def damage(manifest: Manifest, where: object, problem: str) -> DamageError:
    """The error about a version that is not as it was published."""
    version = manifest.name or f"version {manifest.sequence}"
    return DamageError(
        problem,
        where=where,
        expected=f"{version} of {manifest.collection} as it was published",
        fix="restore the file, or make the version again with `mlops run --force`",
    )
