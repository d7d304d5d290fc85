"""The store in a real S3 server: as complete or invisible as the local one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from mlops_assets.errors import AlreadyExistsError, EnvironmentProblemError, StoreError
from resources import s3, s3_client, s3_transfer
from resources.garbage import Removed
from resources.ledger import Ledger
from resources.manifest import Draft, Manifest
from resources.s3_store import S3Store
from resources.store import open_store
from tests.integration.s3 import faulty

pytestmark = pytest.mark.s3
ROOT = Path(__file__).parents[3]
NAME = "team/shop/features"


def publish(store: S3Store, body: str = "body", version: str = "sha256:1") -> Manifest:
    with store.staging(NAME) as staged:
        (staged / "part.parquet").write_text(body)
        (staged / "deep").mkdir()
        (staged / "deep" / "more.json").write_text("{}")
        return store.publish(NAME, staged, Draft(data_version=version, rows=1))


def other_machine(store: S3Store, tmp_path: Path) -> S3Store:
    """The same store, seen from a machine that has no copies."""
    return S3Store(store.uri, cache=tmp_path / f"other-{random.random()}")


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat for one second only."""
    monkeypatch.setattr(s3_client, "DEADLINE_SECONDS", s3_client.SMALL_SECONDS + 1)


@pytest.fixture
def proxy(s3_server_proxy: faulty.Proxy, store: S3Store) -> faulty.Proxy:
    """A proxy whose server is known to keep its promises."""
    store.create("known/server", b"")
    return s3_server_proxy


def test_what_was_published_is_read_back_elsewhere(store: S3Store, tmp_path: Path) -> None:
    manifest = publish(store)
    there = other_machine(store, tmp_path)
    assert there.latest(NAME) == manifest
    folder = there.path(manifest)
    assert (folder / "part.parquet").read_text() == "body"
    assert (folder / "deep" / "more.json").read_text() == "{}"
    assert [path.name for path in there.files(manifest)] == ["more.json", "part.parquet"]
    assert there.addresses(manifest) == [
        f"{store.uri}/{manifest.location}/{name}" for name in ("deep/more.json", "part.parquet")
    ]
    there.verify(manifest)


def test_versions_are_numbered_found_and_republished(store: S3Store) -> None:
    first = publish(store)
    second = publish(store, "other", "sha256:2")
    third = store.republish(first, inputs_digest="sha256:in", metadata={"a": 1})
    assert [m.sequence for m in store.manifests(NAME)] == [1, 2, 3]
    assert store.latest(NAME) == third
    assert third.location == first.location != second.location
    assert store.find(NAME, "sha256:1") == third
    assert store.find(NAME, "sha256:9") is None
    assert store.latest("team/shop/none") is None


def test_a_name_is_published_once(store: S3Store, tmp_path: Path) -> None:
    def attempt(number: int) -> bool:
        there = other_machine(store, tmp_path)
        with there.staging(NAME) as staged:
            (staged / "part.parquet").write_text(str(number))
            try:
                there.publish_as(NAME, "p0-0001", staged, Draft(data_version=f"sha256:{number}"))
            except AlreadyExistsError:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))
    assert sum(won) == 1
    assert store.names(NAME) == ["p0-0001"]
    found = store.named(NAME, "p0-0001")
    assert found.data_version == f"sha256:{won.index(True)}"
    assert store.files(found)[0].read_text() == str(won.index(True))
    # The losers left nothing behind.
    assert len({k.split("/_data/")[1].split("/")[0] for k in store._keys(f"{NAME}/_data")}) == 1


def test_files_of_several_versions_make_one(store: S3Store, tmp_path: Path) -> None:
    parts = [publish(store, str(n), f"sha256:{n}") for n in range(3)]
    wanted = [entry for part in parts[1:] for entry in part.entries if "part" in entry.path]
    whole = store.combine("team/shop/raw/all", wanted, Draft(data_version="sha256:all"))
    there = other_machine(store, tmp_path)
    assert [path.read_text() for path in there.files(whole)] == ["1", "2"]
    assert there.latest("team/shop/raw/all") == whole


def test_keys_are_created_once(store: S3Store) -> None:
    def attempt(number: int) -> bool:
        try:
            store.create("team/shop/ledger/000001.json", str(number).encode())
        except AlreadyExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))
    assert sum(won) == 1
    assert store.read("team/shop/ledger/000001.json") == str(won.index(True)).encode()
    assert store.keys("team/shop/ledger") == ["team/shop/ledger/000001.json"]
    assert store.keys("team/shop/led") == []
    with pytest.raises(StoreError, match="no such key"):
        store.read("team/shop/ledger/000002.json")


def test_the_ledger_lives_there(store: S3Store, tmp_path: Path) -> None:
    ledger = Ledger(store, "team/shop/ledger")
    ledger.append("deploy", version=1, bundle_id="b", run_id="r", reason="", expected_head=0)
    ledger.append("promote", version=1, bundle_id="b", run_id="r", reason="", expected_head=1)
    seen = Ledger(other_machine(store, tmp_path), "team/shop/ledger").state()
    assert seen.champion_version == 1


@pytest.mark.parametrize("name", ["../x", "/x", "x//y", "_data/x", "x/../y", "", "x/"])
def test_names_stay_inside_the_store(store: S3Store, name: str) -> None:
    with pytest.raises(StoreError, match="not a name"):
        store.create(name, b"")
    with pytest.raises(StoreError, match="not a name"):
        store.keys(name)


def test_damage_is_found_and_named(store: S3Store, tmp_path: Path) -> None:
    manifest = publish(store)
    key = f"{store.place.prefix}/{manifest.location}/part.parquet"
    s3_client.s3_client().put_object(Bucket=store.place.bucket, Key=key, Body=b"BODY")
    with pytest.raises(StoreError, match=r"part\.parquet: a file was changed"):
        other_machine(store, tmp_path).path(manifest)
    store.path(manifest)  # the copy that was checked when it was made
    with pytest.raises(StoreError, match="a file was changed"):
        store.verify(manifest)
    s3_client.s3_client().delete_object(Bucket=store.place.bucket, Key=key)
    with pytest.raises(StoreError, match=r"part\.parquet: a file is missing"):
        other_machine(store, tmp_path).path(manifest)


def in_folder(store: S3Store, manifest: Manifest) -> list[str]:
    listed = store.place.listing(f"{manifest.location}/")
    return [store.place.name(item.key) for item in listed]


def test_a_file_that_no_manifest_names_is_garbage_and_no_damage(
    store: S3Store, tmp_path: Path
) -> None:
    """An executor's attempt may end after the others were counted, or the version published."""
    (tmp_path / "rows").write_text("rows")
    with store.folder(NAME) as folder:
        entry = folder.put(tmp_path / "rows", "part-0-first.parquet")
        folder.settle([entry], rows=1)
        folder.put(tmp_path / "rows", "part-0-second.parquet")
        manifest = store.publish_folder(NAME, folder, Draft(data_version="sha256:1", rows=1))
    counted = f"{manifest.location}/part-0-first.parquet"
    assert in_folder(store, manifest) == [counted]
    time.sleep(1.1)
    folder.put(tmp_path / "rows", "part-0-third.parquet")
    there = other_machine(store, tmp_path)
    there.verify(manifest)
    assert [path.name for path in there.files(manifest)] == ["part-0-first.parquet"]
    assert [path.name for path in there.path(manifest).iterdir()] == ["part-0-first.parquet"]
    assert store.collect_garbage(timedelta(hours=1)) == []
    time.sleep(1.1)
    late = [Removed(f"{manifest.location}/part-0-third.parquet", 4)]
    assert store.collect_garbage(timedelta(seconds=1), dry_run=True) == late
    assert store.collect_garbage(timedelta(seconds=1)) == late
    assert in_folder(store, manifest) == [counted]
    there.verify(manifest)


def test_nothing_of_a_bucket_that_was_copied_is_garbage(store: S3Store) -> None:
    """There the files may be younger than all that names them."""
    manifest = publish(store)
    time.sleep(1.1)
    for name in in_folder(store, manifest):
        key = store.place.key(name)
        body = s3_client.s3_client().get_object(Bucket=store.place.bucket, Key=key)["Body"].read()
        s3_client.s3_client().put_object(Bucket=store.place.bucket, Key=key, Body=body)
    time.sleep(1.1)
    assert store.collect_garbage(timedelta(seconds=1)) == []
    store.verify(manifest)


def test_a_server_without_ranges_gives_large_files_too(
    store: S3Store, s3_server_proxy: faulty.Proxy, tmp_path: Path
) -> None:
    body = os.urandom(s3_transfer.PART_BYTES + 1000)
    with store.staging("large") as staged:
        (staged / "part").write_bytes(body)
        manifest = store.publish("large", staged, Draft(data_version="1"))
    s3_server_proxy.plan(faulty.without_range, times=9, method="GET", part="/_data/")
    elsewhere = S3Store(store.uri, cache=tmp_path / "elsewhere")
    assert (elsewhere.path(manifest) / "part").read_bytes() == body
    assert len(s3_server_proxy.faults) == 8


def test_a_damaged_copy_is_fetched_again(store: S3Store) -> None:
    manifest = publish(store)
    copy = store.path(manifest) / "part.parquet"
    copy.write_text("cut")
    assert (store.path(manifest) / "part.parquet").read_text() == "body"


def test_garbage_is_what_nobody_sees_and_nobody_writes(store: S3Store) -> None:
    manifest = publish(store)
    combined = store.combine("team/shop/raw", manifest.entries[:1], Draft(data_version="sha256:c"))
    with store.staging(NAME) as staged:
        (staged / "x").write_text("x")
        store._place(staged, f"{NAME}/_data/20260101T000000-left")  # as a killed writer leaves it
    assert store.collect_garbage(timedelta(hours=1)) == []
    time.sleep(1.1)
    left = Removed(f"{NAME}/_data/20260101T000000-left", 1)
    assert store.collect_garbage(timedelta(seconds=1), dry_run=True) == [left]
    assert store.collect_garbage(timedelta(seconds=1), below="team/other") == []
    assert store.collect_garbage(timedelta(seconds=1), below="team") == [left]
    store.verify(manifest)
    store.verify(combined)


CHILD = """
import sys
from pathlib import Path
from resources.s3_store import S3Store
from resources.manifest import Draft
store = S3Store(sys.argv[1], cache=Path(sys.argv[2]))
for number in range(1000):
    with store.staging("team/shop/features") as staged:
        for part in range(3):
            (staged / f"{part}.parquet").write_bytes(b"%d" % number * 20_000)
        store.publish("team/shop/features", staged, Draft(data_version=f"sha256:{number}"))
    print(number, flush=True)
"""


def test_a_killed_publisher_leaves_old_or_new_never_half(store: S3Store, tmp_path: Path) -> None:
    for attempt in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, store.uri, str(tmp_path / "child")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert child.stdout is not None
        for _ in range(3):
            child.stdout.readline()
        time.sleep(random.Random(attempt).uniform(0, 0.1))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    there = other_machine(store, tmp_path)
    found = there.manifests(NAME)
    assert len(found) >= 12
    assert [m.sequence for m in found] == list(range(1, len(found) + 1))
    for manifest in found:
        there.verify(manifest)


@pytest.mark.parametrize("fault", [faulty.server_error, faulty.slow(1.0), faulty.done_but_lost])
def test_a_key_is_created_on_a_bad_day(
    store: S3Store, proxy: faulty.Proxy, fault: faulty.Fault
) -> None:
    proxy.plan(fault, times=2, method="PUT")
    store.create("team/key", b"mine")
    assert store.read("team/key") == b"mine"
    with pytest.raises(AlreadyExistsError):
        store.create("team/key", b"mine")


def test_a_lost_answer_does_not_publish_twice(store: S3Store, proxy: faulty.Proxy) -> None:
    proxy.plan(faulty.done_but_lost, method="PUT", part="_manifests")
    manifest = publish(store)
    assert store.manifests(NAME) == [manifest]


@pytest.mark.parametrize("fault", [faulty.server_error, faulty.cut_body, faulty.slow(1.0)])
def test_files_arrive_whole_on_a_bad_day(
    store: S3Store, proxy: faulty.Proxy, fault: faulty.Fault, tmp_path: Path
) -> None:
    manifest = publish(store, "long" * 100_000)
    there = other_machine(store, tmp_path)
    proxy.plan(fault, method="GET", part="part.parquet")
    assert (there.path(manifest) / "part.parquet").read_text() == "long" * 100_000
    assert not proxy.faults


LISTING_FAULTS = [
    faulty.server_error,
    faulty.cut_listing,
    faulty.half_xml,
    faulty.empty_answer,
    faulty.no_token,
    faulty.done_but_lost,
]


@pytest.mark.parametrize("fault", LISTING_FAULTS, ids=lambda fault: fault.__name__)
def test_a_listing_in_doubt_is_asked_for_again(
    store: S3Store, proxy: faulty.Proxy, fault: faulty.Fault
) -> None:
    store.create("team/a", b"1")
    store.create("team/b", b"2")
    proxy.plan(fault, times=2, method="GET", part="list-type=2")
    assert store.keys("team") == ["team/a", "team/b"]
    assert not proxy.faults


@pytest.mark.parametrize("fault", LISTING_FAULTS[:-1], ids=lambda fault: fault.__name__)
def test_a_listing_that_stays_in_doubt_is_an_error_never_empty(
    store: S3Store,
    proxy: faulty.Proxy,
    fault: faulty.Fault,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(store)
    impatient(monkeypatch)
    proxy.plan(fault, times=1000, method="GET", part="list-type=2")
    with pytest.raises(StoreError, match="S3"):
        store.latest(NAME)


def test_many_keys_come_in_pages(store: S3Store) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: store.create(f"team/many/{n:05d}", b"x"), range(1100)))
    assert store.keys("team/many") == [f"team/many/{n:05d}" for n in range(1100)]


def test_wrong_credentials_are_said_without_them(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-word")
    monkeypatch.setattr(s3_client, "_client", s3_client._client.__wrapped__)
    with pytest.raises(StoreError, match="credentials in the environment") as caught:
        store.latest(NAME)
    assert "very-secret-word" not in str(caught.value)


@pytest.mark.parametrize("missing", ["bucket", "kind"])
def test_unusable_addresses(
    missing: str, s3_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing == "bucket":
        store = open_store("s3://no-such-bucket-here/x", cache=tmp_path)
        with pytest.raises(StoreError, match="create the bucket"):
            store.latest(NAME)
    else:
        monkeypatch.setenv("MLOPS_S3_SSE", "rot13")
        with pytest.raises(Exception, match="MLOPS_S3_SSE"):
            open_store("s3://bucket/x", cache=tmp_path)


@pytest.mark.parametrize(
    "wanted",
    [
        {"MLOPS_S3_SSE": "AES256"},
        {"MLOPS_S3_SSE": "aws:kms", "MLOPS_S3_SSE_KMS_KEY_ID": "alias/ours"},
    ],
)
def test_everything_is_encrypted_as_asked(
    wanted: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against moto, since the other server refuses keys that it does not manage."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    try:
        client = s3_client.s3_client()
        bucket = f"encrypted-{uuid.uuid4().hex[:8]}"  # moto's memory outlives its server
        client.create_bucket(Bucket=bucket)
        publish(S3Store(f"s3://{bucket}/x", cache=tmp_path))
        found = client.list_objects_v2(Bucket=bucket)["Contents"]
        heads = [client.head_object(Bucket=bucket, Key=item["Key"]) for item in found]
    finally:
        server.stop()
    assert len(heads) == 4
    assert {head["ServerSideEncryption"] for head in heads} == {wanted["MLOPS_S3_SSE"]}
    keys = {head.get("SSEKMSKeyId") for head in heads}
    assert keys == {wanted.get("MLOPS_S3_SSE_KMS_KEY_ID")}


def test_a_manifest_that_arrives_late_finds_its_files(
    store: S3Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A writer is stopped while its last request is on its way."""
    real = s3.S3Place.create
    late: list[threading.Timer] = []

    def create(place: s3.S3Place, name: str, body: bytes) -> None:
        late.append(threading.Timer(0.3, real, (place, name, body)))
        late[-1].start()
        raise KeyboardInterrupt

    monkeypatch.setattr(s3.S3Place, "create", create)
    with pytest.raises(KeyboardInterrupt):
        publish(store)
    late[0].join()
    (manifest,) = store.manifests(NAME)
    other_machine(store, tmp_path).verify(manifest)


@pytest.mark.parametrize("uri", ["s3://AKIA:se/cret@bucket/in", "s3://key:secret@bucket", "s3://"])
def test_a_secret_in_an_address_is_not_shown(uri: str, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblemError) as caught:
        S3Store(uri, cache=tmp_path)
    assert "se/cret" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "AKIA" not in str(caught.value)


def test_a_folder_that_others_fill_is_published_once(store: S3Store, tmp_path: Path) -> None:
    here = tmp_path / "part"
    here.write_text("body")
    with store.folder(NAME) as first, store.folder(NAME) as second:
        for folder in (first, second):
            folder.put(here, "failed.parquet")
            folder.settle([folder.put(here, "part.parquet")], rows=3)
        kept = store.publish_folder(NAME, first, Draft(data_version="1", rows=first.rows), "a")
        with pytest.raises(AlreadyExistsError):
            store.publish_folder(NAME, second, Draft(data_version="2", rows=second.rows), "a")
    assert store.named(NAME, "a") == kept
    assert (kept.rows, [entry.path for entry in kept.entries]) == (3, ["part.parquet"])
    store.verify(kept)
    folders = {key.split("/")[-2] for key in store.keys(NAME) if key.endswith(".parquet")}
    assert folders == {kept.location.rpartition("/")[2]}
    with pytest.raises(StoreError, match="not a name"), store.folder(NAME) as third:
        store.publish_folder(NAME, third, Draft(data_version="3"), "000001")


def test_a_file_that_is_not_there_as_it_was_told_is_not_published(
    store: S3Store, tmp_path: Path
) -> None:
    here = tmp_path / "part"
    here.write_text("body")
    with pytest.raises(StoreError, match="not there as it was written"), store.folder(NAME) as made:
        entry = made.put(here, "part.parquet")
        made.settle([entry.model_copy(update={"bytes": 5})], rows=1)
    assert store.keys(NAME) == []
