"""What was read once is not asked for again, and never wrong for that."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlops_assets.errors import StoreError
from resources import s3_store
from resources.ledger import Ledger
from resources.manifest import Draft, Manifest
from resources.s3_client import s3_client
from resources.s3_documents import Documents
from resources.s3_store import S3Store
from tests.integration.s3 import faulty

pytestmark = pytest.mark.s3
NAME = "team/shop/raw"
FOLDER = f"{NAME}/_manifests"


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test remembers nothing of the others."""
    monkeypatch.setattr(s3_store, "_DOCUMENTS", Documents())


def _publish(store: S3Store, version: str) -> Manifest:
    with store.staging(NAME) as staged:
        (staged / "part.parquet").write_text(version)
        return store.publish(NAME, staged, Draft(data_version=version))


def test_the_newest_version_of_a_content_is_found(store: S3Store) -> None:
    for number in [*range(35), 3]:
        _publish(store, f"sha256:{number}")
    found = {number: store.find(NAME, f"sha256:{number}") for number in (0, 3, 34)}
    assert {n: one and one.sequence for n, one in found.items()} == {0: 1, 3: 36, 34: 35}
    assert store.find(NAME, "sha256:new") is None


def test_a_repaired_manifest_is_seen_without_a_restart(store: S3Store) -> None:
    manifest = _publish(store, "sha256:1")
    key = store.place.key(f"{FOLDER}/000001.json")
    whole = s3_client().get_object(Bucket=store.place.bucket, Key=key)["Body"].read()
    for damaged in (whole[: len(whole) // 2], b'{"collection": 7}'):
        s3_client().put_object(Bucket=store.place.bucket, Key=key, Body=damaged)
        with pytest.raises(StoreError, match="manifest cannot be read"):
            store.latest(NAME)
    s3_client().put_object(Bucket=store.place.bucket, Key=key, Body=whole)
    assert store.latest(NAME) == manifest


def test_memory_is_bounded_by_bytes(store: S3Store) -> None:
    documents = Documents(most_bytes=1000)
    for number in range(10):
        store.create(f"team/{number}", b'"%s"' % (b"x" * 298))
        documents.get(store.place, f"team/{number}")
    assert documents._bytes == sum(map(len, documents._bodies.values())) == 900
    assert [name[2].rpartition("/")[2] for name in documents._bodies] == ["7", "8", "9"]


def test_all_named_versions_come_in_order(store: S3Store) -> None:
    for number in (3, 1, 2):
        with store.staging(NAME) as staged:
            (staged / "x").write_text(str(number))
            store.publish_as(NAME, f"p0-{number}", staged, Draft(data_version=str(number)))
    found = store.named_all((NAME, name) for name in store.names(NAME))
    assert [manifest.name for manifest in found] == ["p0-1", "p0-2", "p0-3"]


@pytest.mark.parametrize("versions", [5, 50])
def test_publishing_reads_no_history(
    store: S3Store, s3_server_proxy: faulty.Proxy, monkeypatch: pytest.MonkeyPatch, versions: int
) -> None:
    """A new process publishes a content that nobody has seen: as many requests as ever."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: _publish(store, f"sha256:{n}"), range(versions)))
    monkeypatch.setattr(s3_store, "_DOCUMENTS", Documents())
    s3_server_proxy.requests.clear()
    store.latest(NAME)
    assert store.find(NAME, "sha256:new") is None
    assert _publish(store, "sha256:new").sequence == versions + 1
    read = [path for method, path in s3_server_proxy.requests if method == "GET"]
    assert sum("_manifests/" in path and "list-type" not in path for path in read) == 1
    assert len(s3_server_proxy.requests) < 15


def test_ledger_entries_are_read_many_at_a_time(
    store: S3Store, s3_server_proxy: faulty.Proxy
) -> None:
    for number in range(32):
        Ledger(store, "team/shop/ledger").append(
            "deploy", version=1, bundle_id="b", run_id="r", reason="", expected_head=number
        )
    s3_server_proxy.plan(faulty.slow(0.5), times=32, method="GET", part="ledger/0000")
    started = time.monotonic()
    entries = Ledger(store, "team/shop/ledger").entries()
    assert [entry.sequence for entry in entries] == list(range(1, 33))
    assert time.monotonic() - started < 8  # 16 s one by one
