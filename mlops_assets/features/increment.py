"""Features of new rows only, beside those that are there, where the query is row-wise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.project import Project
from mlops_assets.errors import StoreError

if TYPE_CHECKING:
    from resources.manifest import Manifest
    from resources.store import Store

PARTS = "parts"
"""Where a feature version's metadata keep the numbers of the parts that it consists of."""
INPUTS = "inputs"
"""Where a part's metadata keep the folders of the slices that it was made from."""
MAX_PARTS = 50
"""With more of them everything is computed anew, in one part."""
LAYOUT = 1
"""Raised when the way of computing parts changes, so that none of the old ones is used."""


@dataclass(frozen=True)
class Increment:
    """What there is to compute when one source grows.

    Attributes:
        source: The source.
        base: Identity of everything else that decides the result.
        kept: Parts that are still right.
        kept_files: Their files.
        slices: Folders of the slices that no kept part was made from.
        files: Their files.
        total: Number of all slices.
    """

    source: str
    base: str
    kept: tuple[Manifest, ...]
    kept_files: tuple[Path, ...]
    slices: tuple[str, ...]
    files: tuple[Path, ...]
    total: int

    @property
    def inputs_digest(self) -> str:
        """Identity of the part that is to be computed."""
        body = json.dumps([self.base, self.slices])
        return f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"


def plan_increment(
    project: Project,
    store: Store,
    raw: Mapping[str, Manifest],
    base: str,
    *,
    anew: bool,
) -> Increment | None:
    """What there is to compute, if a source grows by slices.

    Of several growing sources the one with most slices is followed; a change of the others, like
    that of the query, makes everything anew.

    Args:
        project: The project.
        store: Where raw data and features lie.
        raw: Newest raw version by source.
        base: Identity of everything but the raw data.
        anew: Use none of the parts that are there.

    Raises:
        StoreError: Files are missing.
    """
    growing = {name: _slices(manifest) for name, manifest in raw.items() if not manifest.location}
    if not growing or project.spec.features.incremental == "never":
        return None
    source = max(growing, key=lambda name: len(growing[name]))
    others = sorted((name, m.data_version) for name, m in raw.items() if name != source)
    columns = [[column.name, column.type] for column in raw[source].columns]
    body = json.dumps([LAYOUT, base, source, others, columns], sort_keys=True)
    identity = f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"
    slices = growing[source]
    kept = [] if anew else _kept(project, store, identity, set(slices))
    known = {folder for part in kept for folder in part.metadata[INPUTS]}
    new = tuple(sorted(set(slices) - known))
    files = [
        path
        for path, entry in zip(store.files(raw[source]), raw[source].entries, strict=True)
        if entry.location in new
    ]
    return Increment(
        source=source,
        base=identity,
        kept=tuple(kept),
        kept_files=tuple(path for part in kept for path in store.files(part)),
        slices=new,
        files=tuple(files),
        total=len(slices),
    )


def _slices(manifest: Manifest) -> list[str]:
    """Folders of the slices that a combined version consists of."""
    return sorted({str(entry.location) for entry in manifest.entries})


def _kept(project: Project, store: Store, base: str, slices: set[str]) -> list[Manifest]:
    """Parts of the newest features that were made in the same way from slices that still count."""
    latest = store.latest(project.id.features_collection)
    numbers = latest.metadata.get(PARTS, []) if latest else []
    if not numbers or len(numbers) >= MAX_PARTS:
        return []
    kept = []
    for number in numbers:
        try:
            part = store.version(project.id.feature_parts_collection, number)
            store.inspect(part)
        except StoreError:  # damaged: its slices are computed again
            continue
        if part.metadata["base"] == base and set(part.metadata[INPUTS]) <= slices:
            kept.append(part)
    return kept
