"""What of a store in S3 is nobody's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from resources.manifest import FileEntry, Manifest
from resources.s3_garbage import find_garbage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLD, YOUNG = NOW - timedelta(days=3), NOW - timedelta(hours=1)
BEFORE = NOW - timedelta(days=1)


def manifest(location: str, *paths: str) -> Manifest:
    files = tuple(FileEntry(path=path, bytes=1, sha256="0" * 64) for path in paths)
    return Manifest(
        collection="team/raw",
        sequence=1,
        name="000001",
        location=location,
        data_version="sha256:1",
        created_at=OLD,
        files=files,
    )


def test_whole_folders_and_files_beside_named_ones() -> None:
    named = manifest("team/raw/_data/named", "a", "deep/b")
    listed = [
        ("team/raw/_manifests/000001.json", OLD),
        ("team/raw/_data/named/a", OLD),
        ("team/raw/_data/named/deep/b", OLD),
        ("team/raw/_data/named/late", OLD),
        ("team/raw/_data/named/deep/late", OLD),
        ("team/raw/_data/named/just-now", YOUNG),
        ("team/raw/_data/killed/a", OLD),
        ("team/raw/_data/killed/b", OLD),
        ("team/raw/_data/going-on/a", OLD),
        ("team/raw/_data/going-on/b", YOUNG),
    ]
    assert find_garbage(listed, [named], before=BEFORE) == {
        "team/raw/_data/named/late": ["team/raw/_data/named/late"],
        "team/raw/_data/named/deep/late": ["team/raw/_data/named/deep/late"],
        "team/raw/_data/killed": ["team/raw/_data/killed/a", "team/raw/_data/killed/b"],
    }
    assert find_garbage([], [], before=BEFORE) == {}
