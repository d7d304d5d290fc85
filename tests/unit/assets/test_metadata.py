"""What the UI shows about a version."""

from __future__ import annotations

from datetime import UTC, datetime

from mlops_assets.assets.metadata import location
from resources.manifest import FileEntry, Manifest


def manifest(folder: str, *others: str) -> Manifest:
    files = [
        FileEntry(path=f"{n}.parquet", bytes=1, sha256="0" * 64, location=other)
        for n, other in enumerate(("", *others))
        if folder or other
    ]
    return Manifest(
        collection="c",
        sequence=1,
        location=folder,
        created_at=datetime.now(UTC),
        files=files,
        data_version="sha256:1",
    )


def test_the_folders_of_a_version_that_has_none_of_its_own_are_shown() -> None:
    assert location(manifest("a/one")).path == "a/one"
    assert location(manifest("", "a/one", "a/two", "a/one")).path == "a/one, a/two"
    many = manifest("", *(f"f{n}" for n in range(9)))
    assert location(many, manifest("a")).path == "a, f0, f1, f2, f3 and 5 more"
