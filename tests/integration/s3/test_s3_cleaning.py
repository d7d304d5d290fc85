"""Leftovers in S3 and copies on this machine."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from resources.cleaning import clean_copies
from resources.garbage import Removed
from resources.manifest import Draft, Manifest
from resources.s3_client import s3_client
from resources.s3_store import S3Store
from resources.verification import verify_store
from tests.integration.s3 import faulty

pytestmark = pytest.mark.s3
NAME = "shop/a/raw/x"


def _publish(store: S3Store, body: str = "body") -> Manifest:
    with store.staging(NAME) as staged:
        (staged / "part").write_text(body)
        return store.publish(NAME, staged, Draft(data_version=f"sha256:{body}"))


def _uploads(store: S3Store) -> list[str]:
    place = store.place
    answer = s3_client().list_multipart_uploads(Bucket=place.bucket, Prefix=place.key(""))
    return [place.name(upload["Key"]) for upload in answer.get("Uploads", ())]


def test_unfinished_uploads_are_thrown_away(store: S3Store) -> None:
    place, client = store.place, s3_client()
    key = f"{NAME}/_data/20260101T000000-0/part"
    for team in ("shop", "shop2"):
        whole = place.key(key.replace("shop", team))
        upload = client.create_multipart_upload(Bucket=place.bucket, Key=whole)["UploadId"]
        client.upload_part(
            Bucket=place.bucket, Key=whole, UploadId=upload, PartNumber=1, Body=b"12345"
        )
    assert store.collect_garbage(timedelta(hours=1), below="shop") == []
    time.sleep(1.1)
    wanted = [Removed(f"{key} (unfinished upload)", 5)]
    assert store.collect_garbage(timedelta(seconds=1), below="shop", dry_run=True) == wanted
    assert len(_uploads(store)) == 2
    assert store.collect_garbage(timedelta(seconds=1), below="shop") == wanted
    assert _uploads(store) == [key.replace("shop", "shop2")]
    assert store.collect_garbage(timedelta(seconds=1), below="shop") == []


def test_a_store_without_garbage_costs_three_requests(
    store: S3Store, s3_server_proxy: faulty.Proxy
) -> None:
    manifests = [_publish(store, str(number)) for number in range(5)]
    time.sleep(1.1)
    s3_server_proxy.requests.clear()
    assert store.collect_garbage(timedelta(seconds=1), below="shop") == []
    assert len(s3_server_proxy.requests) == 3  # data, probes, uploads
    for manifest in manifests:
        store.verify(manifest)


def test_an_old_store_without_an_index_loses_nothing(store: S3Store) -> None:
    manifest = _publish(store)
    index = [key for key in store.everything() if "_by_content" in key]
    assert len(index) == 1
    store.place.delete(index)
    time.sleep(1.1)
    assert store.collect_garbage(timedelta(seconds=1)) == []
    assert [key for key in store.everything() if "_by_content" in key] == index
    store.verify(manifest)


def test_copies_go_when_nobody_used_them(store: S3Store, tmp_path: Path) -> None:
    used, unused = _publish(store, "used"), _publish(store, "unused")
    cache = tmp_path / "cache"
    for path in cache.rglob("*"):
        os.utime(path, (time.time() - 8 * 86_400,) * 2)
    folder = store.path(used)
    (gone,) = clean_copies(cache, timedelta(days=7))
    assert gone.bytes == len("unused")
    assert gone.name.endswith(unused.location)
    assert (folder / "part").read_text() == "used"
    assert (store.path(unused) / "part").read_text() == "unused"  # fetched again


def test_verifying_reads_s3_and_fills_no_disk(store: S3Store, tmp_path: Path) -> None:
    first = _publish(store, "one")
    store.combine("shop/a/raw/all", first.entries, Draft(data_version="sha256:c"))
    store.create("shop/a/ledger/000001.json", b"{}")
    there = S3Store(store.uri, cache=tmp_path / "other")
    found = verify_store(there, "shop/a")
    assert (found.versions, found.files, found.documents) == (2, 1, 1)
    assert found.problems == []
    assert [path for path in (tmp_path / "other").rglob("*") if path.is_file()] == []
    key = store.place.key(f"{first.location}/part")
    s3_client().put_object(Bucket=store.place.bucket, Key=key, Body=b"ONE")
    (problem,) = verify_store(there).problems
    assert "a file was changed" in str(problem)
