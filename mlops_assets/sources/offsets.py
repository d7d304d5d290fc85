"""Read ranges of offsets again: after a schema was corrected, or the engine that reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.partitions import partitions_by_offset
from mlops_assets.config.project import Project
from mlops_assets.errors import AlreadyExistsError, MlopsError, SourceError
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.columns import columns_of
from mlops_assets.sources.incremental import LATEST, REJECTED, SLICE, Slice
from mlops_assets.sources.registry import incremental_source_for
from mlops_assets.sources.revisions import Slices, Taken, slice_of

if TYPE_CHECKING:
    from resources.manifest import Manifest
    from resources.store import Store

_DIGITS = 12


def partition_key(part: Slice, size: int) -> str:
    """Name of the range of offsets that a slice begins in: ``p00000-000001000000``."""
    begin = int(part.start) // size * size
    return f"{part.series}-{begin:0{_DIGITS}}"


def by_partition(manifests: Iterable[Manifest], size: int) -> dict[str, tuple[Manifest, ...]]:
    """Slices with rows or dead letters by the range of offsets that they lie in."""
    found: dict[str, tuple[Manifest, ...]] = {}
    for manifest in manifests:
        if manifest.rows or manifest.metadata[REJECTED]:
            key = partition_key(slice_of(manifest), size)
            found[key] = (*found.get(key, ()), manifest)
    return found


def read_again(project: Project, source: str, keys: Sequence[str], store: Store) -> Iterator[Taken]:
    """Read what was taken of some ranges of offsets again.

    A slice that turns out to hold the same stays; another becomes its next revision. Where each
    slice begins and ends never changes, so that no message is lost or doubled.

    Args:
        project: The project.
        source: Which of its sources.
        keys: Names of ranges, as :func:`partition_key` makes them.
        store: Where the slices lie.

    Yields:
        What became of each range; one that the source no longer has keeps what was taken.
    """
    rule = partitions_by_offset(project.spec.source(source))
    if rule is None:
        raise ValueError("the source is not taken by offsets")
    slices = Slices(project, source, store)
    manifests = [store.named(*place) for _, place in sorted(slices.newest().items())]
    members: Mapping[str, tuple[Manifest, ...]] = by_partition(manifests, rule.offsets)
    for key in keys:
        try:
            yield _read_partition(slices, key, members)
        except MlopsError as error:
            yield Taken(key, problem=error)


def _read_partition(slices: Slices, key: str, members: Mapping[str, tuple[Manifest, ...]]) -> Taken:
    if key not in members:
        raise SourceError(
            "nothing was taken of this range of offsets",
            where=f"{slices.project.id} {slices.source} {key}",
            expected="a range that the sensor took before",
            fix="wait for the sensor: new offsets are taken in their order",
        )
    found = [_read_slice(slices, manifest) for manifest in members[key]]
    return Taken(key, tuple(found), is_new=tuple(found) != members[key])


def _read_slice(slices: Slices, manifest: Manifest) -> Manifest:
    """The slice's newest revision, after it was read again."""
    from resources.manifest import Draft

    project, source, store = slices.project, slices.source, slices.store
    spec, part = project.spec.source(source), slice_of(manifest)
    with store.staging(project.id.landing_collection(source)) as folder:
        context = SourceContext.of(project, source, folder)
        written = incremental_source_for(spec).write(spec, part, folder, context)
        content = _content(folder)
        if content == {file.path: file.sha256 for file in manifest.files}:
            return manifest
        draft = Draft(
            data_version=f"{part.name}-{part.end}-{_identity(content)}",
            rows=written.rows,
            metadata={
                SLICE: asdict(replace(part, detail={**part.detail, LATEST: written.latest})),
                REJECTED: written.rejected,
                **columns_of(folder),
            },
        )
        try:
            return slices.publish(part, folder, draft, after=manifest)
        except AlreadyExistsError:  # another run read it again at the same time
            return store.named(*slices.newest()[part.name])


def _content(folder: Path) -> dict[str, str]:
    """SHA-256 by file."""
    found = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as body:
            found[path.name] = hashlib.file_digest(body, "sha256").hexdigest()
    return found


def _identity(content: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(content.items())).encode()).hexdigest()[:16]
