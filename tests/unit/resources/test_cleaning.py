"""What killed runs left is removed, and nothing that lives."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from mlops_assets.errors import StoreError
from resources import durable
from resources.cleaning import LIMIT, clean
from resources.garbage import Removed
from resources.local_store import LocalStore
from resources.manifest import Draft, Manifest
from resources.settings import Settings
from resources.verification import verify_store

OLD = 30 * 86_400
OUTSIDE = (
    '{"data_version": "1", "collection": "shop/a/raw/x", "sequence": 1, "location": "LOCATION", '
    '"created_at": "2024-01-01T00:00:00Z", "files": [{"path": "PATH", "bytes": 1, "sha256": "0"}]}'
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({}, tmp_path)


@pytest.fixture
def store(settings: Settings) -> LocalStore:
    return LocalStore(Path(settings.store_uri))


def publish(store: LocalStore, collection: str, body: str = "body") -> Manifest:
    with store.staging(collection) as staged:
        (staged / "part").write_text(body)
        return store.publish(collection, staged, Draft(data_version=f"sha256:{body}"))


def age(path: Path) -> None:
    moment = time.time() - OLD
    for each in [*path.rglob("*"), path]:
        os.utime(each, (moment, moment))


def left(store: LocalStore, collection: str, name: str) -> Path:
    """What a writer leaves that is killed before its manifest."""
    folder = store.root / collection / "_data" / name
    durable.make_directory(folder)
    (folder / "part").write_text("12345")
    return folder


def test_leftovers_go_and_what_lives_stays(settings: Settings, store: LocalStore) -> None:
    manifest = publish(store, "shop/a/raw/x")
    combined = store.combine("shop/a/raw/all", manifest.entries, Draft(data_version="sha256:c"))
    garbage = left(store, "shop/a/raw/x", "20200101T000000-000000000000")
    copy = settings.home / "cache/s3-1/shop/a/raw/x/_data/20200101T000000-1/part"
    used = settings.home / "cache/s3-1/shop/a/raw/x/_data/20200101T000000-2/part"
    for path in (copy, used):
        durable.make_directory(path.parent)
        path.write_text("copy")
    age(settings.home)
    os.utime(used.parent)
    young = left(store, "shop/a/raw/x", "20300101T000000-000000000000")
    staged = store.stage("shop/a/raw/x")
    (staged / "part").write_text("at work")
    wanted = [
        Removed("shop/a/raw/x/_data/20200101T000000-000000000000", 5),
        Removed(f"{settings.home}/cache/s3-1/shop/a/raw/x/_data/20200101T000000-1", 4),
    ]
    assert clean(settings, dry_run=True) == wanted
    assert garbage.is_dir()
    assert clean(settings) == wanted
    assert clean(settings) == []
    assert not garbage.exists()
    assert not copy.exists()
    assert used.exists()
    assert young.exists()
    assert staged.exists()
    for version in (manifest, combined):
        store.verify(version)


def test_a_team_cleans_its_own_part(settings: Settings, store: LocalStore) -> None:
    mine = left(store, "shop/a/raw/x", "20200101T000000-000000000000")
    theirs = left(store, "shop2/a/raw/x", "20200101T000000-000000000000")
    age(settings.home)
    assert [one.name for one in clean(settings, below="shop")] == [
        mine.relative_to(store.root).as_posix()
    ]
    assert theirs.is_dir()


def test_a_store_without_garbage_costs_no_manifest(
    settings: Settings, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        publish(store, "shop/a/raw/x", str(number))
    age(settings.home)

    def unread(body: bytes, where: object) -> Manifest:
        raise AssertionError(where)

    monkeypatch.setattr("resources.manifest_store.parse_manifest", unread)
    assert clean(settings) == []


def test_versions_without_an_index_are_no_garbage(settings: Settings, store: LocalStore) -> None:
    manifest = publish(store, "shop/a/raw/x")
    with store.staging("shop/a/landing/x") as staged:
        (staged / "part").write_text("slice")
        named = store.publish_as("shop/a/landing/x", "p0-1", staged, Draft(data_version="1"))
    for folder in list(store.root.rglob("_by_content")):
        durable.remove_tree(folder)
    age(settings.home)
    assert clean(settings) == []
    assert len(list(store.root.rglob("_by_content/*"))) == 2
    store.verify(manifest)
    store.verify(named)


def test_a_damaged_manifest_stops_the_cleaning(settings: Settings, store: LocalStore) -> None:
    publish(store, "shop/a/raw/x")
    garbage = left(store, "shop/a/raw/x", "20200101T000000-000000000000")
    (store.root / "shop/a/raw/x/_manifests/000001.json").write_text("{")
    age(settings.home)
    with pytest.raises(StoreError, match="manifest cannot be read"):
        clean(settings, LIMIT)
    assert garbage.is_dir()


def test_a_version_keeps_its_folders_of_any_name(settings: Settings, store: LocalStore) -> None:
    with store.staging("shop/a/raw/x") as staged:
        for inner in ("_data/one", "_by_content", "_manifests"):
            durable.make_directory(staged / inner)
            (staged / inner / "000001.json").write_text("{")
        manifest = store.publish("shop/a/raw/x", staged, Draft(data_version="1"))
    garbage = left(store, "shop/a/raw/x", "20200101T000000-000000000000")
    age(settings.home)
    assert [one.name for one in clean(settings)] == [garbage.relative_to(store.root).as_posix()]
    store.verify(manifest)


def test_a_store_within_a_store_is_not_judged(settings: Settings, store: LocalStore) -> None:
    inner = LocalStore(store.root / "dev")
    manifest = publish(inner, "shop/a/raw/x")
    durable.remove_tree(inner.root / "shop/a/raw/x/_by_content")
    age(settings.home)
    with pytest.raises(StoreError, match="a store inside a store"):
        clean(settings)
    assert clean(settings, below="shop") == []
    inner.verify(manifest)


def test_looking_writes_nothing(settings: Settings, store: LocalStore) -> None:
    publish(store, "shop/a/raw/x")
    durable.remove_tree(store.root / "shop/a/raw/x/_by_content")
    age(settings.home)
    before = store.everything()
    assert clean(settings, dry_run=True) == []
    assert store.everything() == before


def test_several_clean_while_others_work(settings: Settings, store: LocalStore) -> None:
    """Folders vanish while they are looked at, and nobody minds."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            with store.staging("shop/a/raw/x") as staged:
                durable.make_directory(staged / "a/b")
                (staged / "a/b/part").write_text("x")

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work) for _ in range(2)]
        try:
            for turn in range(20):
                folders = [left(store, "shop/a/raw/x", f"20200101T000000-{n}") for n in range(20)]
                for folder in folders:
                    (folder / "deep").mkdir()
                    (folder / "deep/part").write_text(str(turn))
                    age(folder)
                cleaners = [pool.submit(clean, settings) for _ in range(2)]
                found = {one.name for cleaner in cleaners for one in cleaner.result()}
                assert len(found) == len(folders)
                assert not any(folder.exists() for folder in folders)
        finally:
            is_over.set()
        for worker in workers:
            worker.result()


def test_everything_whole_is_said_to_be(store: LocalStore) -> None:
    parts = [publish(store, "shop/a/raw/x", str(n)) for n in range(3)]
    entries = [entry for part in parts for entry in part.entries]
    store.combine("shop/a/raw/all", entries, Draft(data_version="sha256:all"))
    store.republish(parts[0], inputs_digest=None, metadata={})
    store.create("shop/a/ledger/000001.json", b"{}")
    found = verify_store(store)
    assert (found.versions, found.files, found.bytes, found.documents) == (5, 3, 3, 1)
    assert found.problems == []
    assert verify_store(store, "shop/b").versions == 0


@pytest.mark.parametrize(
    ("damaged", "body", "problem"),
    [
        ("_data/*/part", "BODY", "changed"),
        ("_data/*/part", None, "missing"),
        ("_manifests/000001.json", "{", "manifest cannot be read"),
        ("_manifests/000001.json", OUTSIDE.replace("PATH", "../x"), "manifest cannot be read"),
        ("_manifests/000001.json", OUTSIDE.replace("LOCATION", "../x"), "manifest cannot be read"),
        ("../../ledger/000001.json", '{"a"', "document cannot be read"),
    ],
)
def test_damage_is_told_and_the_rest_is_read(
    store: LocalStore, damaged: str, body: str | None, problem: str
) -> None:
    publish(store, "shop/a/raw/x")
    publish(store, "shop/a/raw/y")
    store.create("shop/a/ledger/000001.json", b"{}")
    (path,) = (store.root / "shop/a/raw/x").resolve().glob(damaged)
    path.unlink()
    if body is not None:
        path.write_text(body)
    found = verify_store(store, "shop/a")
    (error,) = found.problems
    assert problem in str(error)
    assert error.fix
    assert found.versions == 2
    assert found.files + found.documents >= 2


def test_the_limit_is_longer_than_a_run() -> None:
    assert timedelta(days=1) <= LIMIT
