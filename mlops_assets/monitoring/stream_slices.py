"""Slices of a topic or a table as files of a stream: those of ingestions that came to their end.

An ingestion takes one series after the other, such as a topic's partitions. If it is killed or
its broker goes away in between, requests of one moment are partly there; a window that closed on
them would be judged by a part of its traffic. So a slice counts once everything is there that was
waiting when it was planned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.project import Project
from mlops_assets.monitoring.stream_files import StreamFile
from mlops_assets.sources.incremental import PLANNED
from mlops_assets.sources.landing import newest
from mlops_assets.sources.revisions import slice_of

if TYPE_CHECKING:
    from resources.manifest import Manifest
    from resources.store import Store

SEPARATOR = "/"
"""Between a slice's name and that of its file, in the name of a :class:`StreamFile`."""


def slices_digest(project: Project, stream: str, store: Store) -> str | None:
    """Identity of the slices that were taken, None before the first; the source is not asked."""
    names = store.names(project.id.landing_collection(stream))
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:32] if names else None


def find_slices(
    project: Project, stream: str, store: Store, known: Collection[str]
) -> list[StreamFile]:
    """The files of slices that are not known yet, in the order of their names.

    Args:
        project: The project.
        stream: ``inference_log`` or ``labels``.
        store: Where the slices lie.
        known: Names of files that were taken.

    Raises:
        StoreError: The store cannot be read.
    """
    collection = project.id.landing_collection(stream)
    taken = {name.partition(SEPARATOR)[0] for name in known}
    ends = {part.series: part.end for part in map(slice_of, newest(project, stream, store))}
    new = ((collection, name) for name in store.names(collection) if name not in taken)
    found = store.named_all(new)
    return [
        file for manifest in found if _is_whole(manifest, ends) for file in _files(manifest, store)
    ]


def _is_whole(manifest: Manifest, ends: dict[str, str]) -> bool:
    planned: dict[str, str] = manifest.metadata[PLANNED]
    return all(ends.get(series, "") >= end for series, end in planned.items())


def _files(manifest: Manifest, store: Store) -> list[StreamFile]:
    def fetch(path: str) -> Path:
        return store.path(manifest) / path

    return [
        StreamFile(
            f"{manifest.name}{SEPARATOR}{entry.path}",
            entry.bytes,
            entry.sha256,
            lambda _folder, path=entry.path: fetch(path),  # type: ignore[misc]
        )
        for entry in manifest.files
        if entry.path.endswith(".parquet")
    ]
