"""Slices that were taken again: the newest revision of each counts, and all of them stay."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError
from mlops_assets.sources.incremental import SLICE, Slice
from mlops_assets.tables.publish import publish_staged

if TYPE_CHECKING:
    from resources.manifest import Draft, Manifest
    from resources.s3_folder import S3Folder
    from resources.store import Store


@dataclass(frozen=True)
class Taken:
    """What became of one partition.

    Attributes:
        key: Its name.
        manifests: Its slices, each in its newest revision; empty when it could not be taken.
        is_new: Whether one of them was published just now.
        problem: Why it could not be taken.
    """

    key: str
    manifests: tuple[Manifest, ...] = ()
    is_new: bool = False
    problem: MlopsError | None = None

    @property
    def rows(self) -> int:
        """Rows that it holds."""
        return sum(manifest.rows or 0 for manifest in self.manifests)

    @property
    def revision(self) -> int:
        """How often the part of it that changed most was taken."""
        return max(map(revision_of, self.manifests), default=0)


@dataclass(frozen=True)
class Slices:
    """The published slices of one growing source.

    Attributes:
        project: The project.
        source: Name of the source.
        store: Where they lie.
    """

    project: Project
    source: str
    store: Store

    @property
    def _first(self) -> str:
        return self.project.id.landing_collection(self.source)

    @property
    def _again(self) -> str:
        return self.project.id.revisions_collection(self.source)

    def newest(self) -> dict[str, tuple[str, str]]:
        """Collection and name of every slice's newest revision, by the slice's name."""
        found = {name: (self._first, name) for name in self.store.names(self._first)}
        again = self.store.names(self._again)
        return found | {_slice_name(name): (self._again, name) for name in again}

    @property
    def version(self) -> str | None:
        """Identity of all slices in their newest revisions; None when there are none."""
        return version_of(self.newest())

    def publish(
        self, part: Slice, folder: Path | S3Folder, draft: Draft, *, after: Manifest | None
    ) -> Manifest:
        """Publish a slice: the first time under its name, then as its next revision.

        Args:
            part: The slice.
            folder: Its files.
            draft: What the manifest says.
            after: The revision that it follows; None for the first time.

        Raises:
            AlreadyExistsError: Another run was first; nothing of this one is published.
            StoreError: It could not be written.
        """
        if after is None:
            return publish_staged(self.store, self._first, folder, draft, part.name)
        name = f"{part.name}.{revision_of(after) + 1:06}"
        return publish_staged(self.store, self._again, folder, draft, name)


def version_of(places: Mapping[str, tuple[str, str]]) -> str | None:
    """:attr:`Slices.version` of what :meth:`Slices.newest` found."""
    names = "\n".join(name for _, (_, name) in sorted(places.items()))
    return f"sha256:{hashlib.sha256(names.encode()).hexdigest()}" if names else None


def slice_of(manifest: Manifest) -> Slice:
    """The slice that a version is."""
    return Slice(**manifest.metadata[SLICE])


def revision_of(manifest: Manifest) -> int:
    """How often a slice was taken: 1 for the first time."""
    _, dot, number = (manifest.name or "").rpartition(".")
    return int(number) if "/revisions/" in manifest.collection and dot else 1


def _slice_name(name: str) -> str:
    return name.rpartition(".")[0]
