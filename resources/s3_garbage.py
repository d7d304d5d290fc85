"""What killed writers leave in S3: data folders without a manifest, unfinished uploads, probes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from resources.garbage import DataFolder, Removed, folder_of, indexed_folders
from resources.s3 import S3Object, S3Place
from resources.s3_client import attempted
from resources.s3_conditions import PROBES
from resources.s3_transfer import Target, abort


@dataclass(frozen=True)
class Upload:
    """An upload in parts that was begun and neither ended nor thrown away.

    Attributes:
        target: The key that it would become.
        identity: The server's name for it.
        bytes: How much was sent.
    """

    target: Target
    identity: str
    bytes: int


def unnamed_data(
    place: S3Place, prefix: str, before: datetime
) -> tuple[dict[str, DataFolder], dict[str, S3Object]]:
    """Data below a prefix that nobody wrote to since and that may be nobody's.

    Returns:
        Folders that the index does not know, and files, by their keys, that are younger than their
        folder's entry in it: an attempt of an executor wrote them late, or the bucket was copied.
    """
    files: dict[str, list[S3Object]] = {}
    known: dict[str, datetime] = {}
    for item in place.listing(prefix):
        key = place.name(item.key)
        folder = folder_of(key)
        if folder is not None:
            files.setdefault(folder, []).append(item)
        known |= dict.fromkeys(indexed_folders([key]), item.changed)
    folders = {name: DataFolder() for name in files.keys() - known.keys()}
    for name, found in folders.items():
        for item in files[name]:
            found.add(place.name(item.key), item.bytes, item.changed)
    late = {
        place.name(item.key): item
        for name in files.keys() & known.keys()
        for item in files[name]
        if known[name] < item.changed < before
    }
    return {n: f for n, f in folders.items() if f.newest < before}, late


def old_probes(place: S3Place, before: datetime) -> list[S3Object]:
    """Objects by which a server was asked whether it keeps conditions, and that stayed."""
    return [item for item in place.listing(f"{PROBES}/") if item.changed < before]


def old_uploads(place: S3Place, prefix: str, before: datetime) -> list[Upload]:
    """Uploads in parts below a prefix that were begun before a time.

    Raises:
        StoreError: The server does not say.
    """
    found = []
    for item in _uploads(place, place.key(prefix)):
        if item["Initiated"] < before:
            where = f"s3://{place.bucket}/{item['Key']}"
            target = Target(place.bucket, item["Key"], where)
            found.append(Upload(target, item["UploadId"], _sent(target, item["UploadId"])))
    return found


def throw_away(upload: Upload) -> None:
    """Let the server forget an upload's parts.

    Raises:
        StoreError: It refused.
    """
    abort(upload.target, upload.identity)


def describe(place: S3Place, upload: Upload) -> Removed:
    """An upload, for people."""
    return Removed(f"{place.name(upload.target.key)} (unfinished upload)", upload.bytes)


def _uploads(place: S3Place, prefix: str) -> Iterator[dict[str, Any]]:
    marker: dict[str, str] = {}
    while True:
        request = {"Bucket": place.bucket, "Prefix": prefix, **marker}
        where = f"s3://{place.bucket}/{prefix}"
        page = attempted(partial(_page, request), where, "cleaned of unfinished uploads")
        yield from page.get("Uploads", ())
        if not page.get("IsTruncated"):
            return
        marker = {
            "KeyMarker": page["NextKeyMarker"],
            "UploadIdMarker": page["NextUploadIdMarker"],
        }


def _page(request: dict[str, str], client: Any) -> dict[str, Any]:
    page: dict[str, Any] = client.list_multipart_uploads(**request)
    return page


def _sent(target: Target, identity: str) -> int:
    """Bytes of an upload's first 1,000 parts."""

    def parts(client: Any) -> int:
        try:
            answer = client.list_parts(**target.named, UploadId=identity)
        except client.exceptions.NoSuchUpload:
            return 0
        return sum(part["Size"] for part in answer.get("Parts", ()))

    return attempted(parts, target.where, "cleaned")
