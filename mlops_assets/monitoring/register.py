"""Take new files of the inference log or of the labels into the store, each exactly once.

Every run that finds new files publishes one immutable segment; its manifest names the files and
their digests, so that a file is known by its name and a killed run leaves nothing half taken. Of
two runs that take the same file at once both may publish it: readers use the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.config.metrics import Task
from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError, NoFilesError
from mlops_assets.monitoring.normalize import read_file
from mlops_assets.monitoring.stream_files import StreamFile, find_stream_files
from mlops_assets.monitoring.stream_slices import find_slices, slices_digest
from mlops_assets.monitoring.streams import Stream
from mlops_assets.sources.base import SourceContext

if TYPE_CHECKING:
    from resources.manifest import Manifest
    from resources.store import Store

NO_FILES = "none"
"""Digest of a stream without files."""
FILES = "files"
"""Where a segment's metadata list its files."""


@dataclass(frozen=True)
class Registration:
    """What one look at a stream's files did.

    Attributes:
        segment: What was published, if there was anything new.
        files: Number of files that were taken.
        rows: Their rows.
        refused: Message by file that could not be used; it is tried again next time.
        changed: Files that changed after they were taken; they stay as they were taken.
        known: Number of files taken so far.
    """

    segment: Manifest | None
    files: int
    rows: int
    refused: dict[str, str]
    changed: tuple[str, ...]
    known: int


@dataclass(frozen=True)
class Part:
    """One file of a stream in the store.

    Attributes:
        path: Its Parquet file.
        name: Its name in the stream.
        rows: Number of rows.
        start: Time of its first row, for the log.
        end: Time of its last row, for the log.
        taken_at: When it was taken (UTC).
    """

    path: Path
    name: str
    rows: int
    start: datetime | None
    end: datetime | None
    taken_at: datetime


def stream_digest(project: Project, stream: Stream, store: Store) -> str:
    """Identity of the files that are there now, cheap enough for a sensor: no file is opened."""
    if stream.place.source is not None:
        return slices_digest(project, stream.name, store) or NO_FILES
    digest = hashlib.sha256()
    found = _find(project, stream)
    if not found:
        return NO_FILES
    for file in found:
        digest.update(f"{file.name}\0{file.bytes}\0{file.stamp}\n".encode())
    return digest.hexdigest()[:32]


def register(project: Project, stream: Stream, store: Store) -> Registration:
    """Publish a segment of all files that are new.

    A file that cannot be read holds no other file up.

    Raises:
        SourceError: The place is not allowed.
        StoreError: The store cannot be written.
    """
    collection = project.id.segments_collection(stream.name)
    known = {entry["name"]: entry["digest"] for entry, _ in _entries(store, collection)}
    refused: dict[str, str] = {}
    changed: list[str] = []
    taken: list[dict[str, Any]] = []
    with store.staging(collection) as staged, store.staging(collection) as workspace:
        for file in _files(project, stream, store, known):
            if file.name in known:
                changed += [file.name] if _is_changed(file, known[file.name]) else []
                continue
            try:
                part = staged / f"part-{len(taken):05d}.parquet"
                entry = _take(file.fetch(workspace), part, stream, project.spec.task)
                taken.append({"name": file.name, **entry})
            except MlopsError as error:
                refused[file.name] = str(error)
        segment = _publish(store, collection, staged, taken) if taken else None
    rows = sum(entry["rows"] for entry in taken)
    return Registration(segment, len(taken), rows, refused, tuple(changed), len(known) + len(taken))


def parts(project: Project, stream: Stream, store: Store) -> list[Part]:
    """Every file that was taken, each once, in the order in which they were taken."""
    collection = project.id.segments_collection(stream.name)
    found: dict[str, Part] = {}
    folders: dict[str, Path] = {}
    for entry, manifest in _entries(store, collection):
        if entry["name"] in found:
            continue
        if manifest.location not in folders:
            folders[manifest.location] = store.path(manifest)
        folder = folders[manifest.location]
        found[entry["name"]] = Part(
            folder / entry["part"],
            entry["name"],
            entry["rows"],
            _moment(entry["start"]),
            _moment(entry["end"]),
            manifest.created_at,
        )
    return list(found.values())


def _files(
    project: Project, stream: Stream, store: Store, known: Collection[str]
) -> list[StreamFile]:
    if stream.place.source is not None:
        return find_slices(project, stream.name, store, known)
    return _find(project, stream)


def _find(project: Project, stream: Stream) -> list[StreamFile]:
    context = SourceContext.of(project, stream.name, project.directory)
    try:
        return find_stream_files(str(stream.place.uri), stream.place.format or "parquet", context)
    except NoFilesError:
        return []


def _entries(store: Store, collection: str) -> Iterator[tuple[dict[str, Any], Manifest]]:
    for manifest in store.manifests(collection):
        for entry in manifest.metadata[FILES]:
            yield entry, manifest


def _take(path: Path, part: Path, stream: Stream, task: Task) -> dict[str, Any]:
    import pyarrow.compute as pc
    import pyarrow.parquet

    digest = _digest(path)
    table = read_file(path, stream, task)
    pyarrow.parquet.write_table(table, part)
    start = end = None
    if stream.time and table.num_rows:
        bounds = pc.min_max(table[stream.time]).as_py()
        start, end = bounds["min"].isoformat(), bounds["max"].isoformat()
    entry = {"digest": digest, "part": part.name, "rows": table.num_rows}
    return entry | {"start": start, "end": end}


def _publish(store: Store, collection: str, staged: Path, taken: list[dict[str, Any]]) -> Manifest:
    from resources.manifest import Draft

    names = "\n".join(f"{entry['name']}\0{entry['digest']}" for entry in taken)
    draft = Draft(
        data_version=f"sha256:{hashlib.sha256(names.encode()).hexdigest()}",
        rows=sum(entry["rows"] for entry in taken),
        metadata={FILES: taken},
    )
    return store.publish(collection, staged, draft)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{path.stat().st_size}:{content}"


def _is_changed(file: StreamFile, digest: str) -> bool:
    """By size only: reading every file again each time would cost more the longer it runs."""
    return file.bytes != int(digest.partition(":")[0])


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
