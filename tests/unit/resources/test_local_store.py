"""The local store: complete or invisible, whoever is killed and whoever else writes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from mlops_assets.errors import AlreadyExistsError, EnvironmentProblemError, StoreError
from resources import durable
from resources.garbage import Removed
from resources.local_store import LocalStore
from resources.manifest import Column, Draft, Manifest
from resources.store import open_store

ROOT = Path(__file__).parents[3]
NAME = "team/shop/features"


def draft(version: str = "sha256:1", **more: object) -> Draft:
    return Draft(data_version=version, rows=1, columns=(Column(name="x", type="int"),), **more)


def publish(store: LocalStore, body: str = "body", version: str = "sha256:1") -> Manifest:
    with store.staging(NAME) as staged:
        (staged / "part.parquet").write_text(body)
        (staged / "deep").mkdir()
        (staged / "deep" / "more.json").write_text("{}")
        return store.publish(NAME, staged, draft(version))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def staging(store: LocalStore) -> list[Path]:
    return list((store.root / ".staging").glob("*"))


def versions(store: LocalStore, collection: str = NAME) -> list[Path]:
    return list((store.root / collection / "_data").glob("*"))


def test_what_was_published_is_read_back(store: LocalStore) -> None:
    manifest = publish(store)
    assert store.latest(NAME) == manifest
    assert store.manifests(NAME) == [manifest]
    assert (store.path(manifest) / "part.parquet").read_text() == "body"
    assert [entry.path for entry in manifest.files] == ["deep/more.json", "part.parquet"]
    assert manifest.sequence == 1
    store.verify(manifest)
    assert staging(store) == []


def test_an_empty_collection(store: LocalStore) -> None:
    assert store.latest(NAME) is None
    assert store.manifests(NAME) == []
    assert store.find(NAME, "sha256:1") is None
    assert store.keys("team/shop/ledger") == []


def test_find_takes_the_newest_of_a_content(store: LocalStore) -> None:
    publish(store, version="sha256:1")
    publish(store, version="sha256:2")
    again = publish(store, version="sha256:1")
    assert store.find(NAME, "sha256:1") == again
    assert store.find(NAME, "sha256:3") is None


def test_republish_points_at_the_same_data(store: LocalStore) -> None:
    first = publish(store)
    second = store.republish(first, inputs_digest="sha256:new", metadata={"a": 1})
    assert second.sequence == 2
    assert (second.location, second.data_version) == (first.location, first.data_version)
    assert (second.inputs_digest, second.metadata) == ("sha256:new", {"a": 1})
    assert len(versions(store)) == 1


@pytest.mark.parametrize("damage", ["missing", "shorter", "longer", "added", "folder"])
def test_path_names_the_damaged_file(store: LocalStore, damage: str) -> None:
    manifest = publish(store)
    file = store.path(manifest) / "part.parquet"
    if damage == "missing":
        file.unlink()
    elif damage == "folder":
        durable.remove_tree(file.parent)
    elif damage == "added":
        file = file.with_name("extra.parquet")
        file.write_text("more rows")
    else:
        file.write_text("bo" if damage == "shorter" else "body and more")
    name = "deep/more.json" if damage == "folder" else file.name
    with pytest.raises(StoreError, match=name):
        store.path(manifest)


def test_verify_finds_a_change_of_the_same_size(store: LocalStore) -> None:
    manifest = publish(store)
    (store.path(manifest) / "part.parquet").write_text("bodz")
    store.path(manifest)
    with pytest.raises(StoreError, match=r"part\.parquet"):
        store.verify(manifest)


def test_a_damaged_manifest_is_named(store: LocalStore) -> None:
    publish(store)
    (store.root / NAME / "_manifests" / "000001.json").write_text("{")
    with pytest.raises(StoreError, match=r"000001\.json"):
        store.latest(NAME)


def test_an_error_while_staging_leaves_nothing(store: LocalStore) -> None:
    with pytest.raises(RuntimeError), store.staging(NAME) as staged:
        (staged / "part.parquet").write_text("half")
        raise RuntimeError
    assert staging(store) == []
    assert store.latest(NAME) is None


def test_links_are_not_published(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="link"), store.staging(NAME) as staged:
        (staged / "part.parquet").symlink_to(tmp_path)
        store.publish(NAME, staged, draft())
    assert store.latest(NAME) is None
    assert versions(store) == []


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a//b", "a/../b", "", "a/_data/x", ".x", "a\n", "a/"]
)
def test_names_stay_inside_the_store(store: LocalStore, name: str) -> None:
    for act in (store.latest, store.stage, store.read, store.keys):
        with pytest.raises(StoreError, match="not a name"):
            act(name)
    with pytest.raises(StoreError, match="not a name"):
        store.create(name, b"")


def test_a_manifest_cannot_point_elsewhere(store: LocalStore) -> None:
    manifest = publish(store).model_copy(update={"location": "../../etc", "files": ()})
    with pytest.raises(StoreError, match="not a name"):
        store.path(manifest)


def test_keys_are_created_once(store: LocalStore) -> None:
    store.create("team/shop/ledger/000001.json", b"one")
    with pytest.raises(AlreadyExistsError, match=r"000001\.json"):
        store.create("team/shop/ledger/000001.json", b"two")
    store.create("team/shop/ledger/000002.json", b"two")
    assert store.read("team/shop/ledger/000001.json") == b"one"
    assert store.keys("team/shop/ledger") == [
        "team/shop/ledger/000001.json",
        "team/shop/ledger/000002.json",
    ]
    with pytest.raises(StoreError, match="no such key"):
        store.read("team/shop/ledger/000003.json")
    assert staging(store) == []


def test_teams_may_have_any_name(store: LocalStore) -> None:
    """A collection named like the store's own folders is not taken for garbage."""
    name = "data/manifests/features"
    with store.staging(name) as staged:
        (staged / "x").write_text("x")
        manifest = store.publish(name, staged, draft())
    store.create("data/manifests/ledger/000001.json", b"{}")
    assert store.collect_garbage(timedelta(seconds=-10)) == []
    store.verify(manifest)


def age(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    for each in [*path.rglob("*"), path]:
        os.utime(each, (moment, moment))


def test_garbage_is_what_nobody_sees_and_nobody_writes(store: LocalStore) -> None:
    kept = publish(store)
    age(store.path(kept), 10_000)
    old, fresh, active = (store.stage(NAME) for _ in range(3))
    for path in (old, fresh, active):
        (path / "file").write_text("x")
    age(old, 10_000)
    age(active, 10_000)
    os.utime(active / "file")  # an old folder whose writer is still at work
    unnamed = store.root / NAME / "_data" / "20200101T000000-000000000000"
    unnamed.mkdir()
    (unnamed / "file").write_text("x")
    age(unnamed, 10_000)
    young = unnamed.with_name("20200101T000000-111111111111")
    young.mkdir()
    removed = store.collect_garbage(timedelta(hours=1))
    wanted = sorted(p.relative_to(store.root).as_posix() for p in (old, unnamed))
    assert removed == [Removed(name, 1) for name in wanted]
    assert fresh.is_dir()
    assert active.is_dir()
    assert young.is_dir()
    store.verify(kept)


def test_data_just_moved_into_place_are_not_old(store: LocalStore, tmp_path: Path) -> None:
    """Between the move and the manifest, files that took long to write must not look old."""
    source = tmp_path / "long"
    source.mkdir()
    (source / "file").write_text("x")
    age(source, 10_000)
    target = store.root / NAME / "_data" / "name"
    durable.move_directory(source, target)
    assert store.collect_garbage(timedelta(hours=1)) == []
    assert target.is_dir()


def run_child(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + program, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


PREAMBLE = """
import hashlib, os, resource, sys
sys.path.insert(0, os.getcwd())
from pathlib import Path
from mlops_assets.errors import AlreadyExistsError, StoreError
from resources.local_store import LocalStore
from resources.manifest import Draft

NAME = "team/shop/features"
store = LocalStore(Path(sys.argv[1]))


def publish(text, files=1):
    with store.staging(NAME) as staged:
        for number in range(files):
            (staged / f"part-{number}").write_text(text)
        draft = Draft(data_version="sha256:" + hashlib.sha256(text.encode()).hexdigest(),
                      metadata={"text": text, "files": files})
        return store.publish(NAME, staged, draft)
"""


def test_concurrent_publishers_lose_nothing(store: LocalStore) -> None:
    program = "for n in range(25): print(publish(f'{sys.argv[2]}-{n}').sequence)"
    children = [run_child(program, store.root, number) for number in range(4)]
    outputs = [child.communicate(timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [0] * 4
    numbers = sorted(int(line) for output in outputs for line in output.split())
    assert numbers == list(range(1, 101))
    texts = {manifest.metadata["text"] for manifest in store.manifests(NAME)}
    assert texts == {f"{child}-{n}" for child in range(4) for n in range(25)}
    for manifest in store.manifests(NAME):
        store.verify(manifest)


def test_one_of_many_creates_a_key(store: LocalStore) -> None:
    program = """
for n in range(50):
    try:
        store.create(f"team/shop/ledger/{n:06d}.json", sys.argv[2].encode() * 1000)
        print(n)
    except AlreadyExistsError:
        pass
"""
    children = [run_child(program, store.root, number) for number in range(4)]
    won = [child.communicate(timeout=60)[0].split() for child in children]
    assert sorted(int(n) for numbers in won for n in numbers) == list(range(50))
    for child, numbers in enumerate(won):
        for n in numbers:
            body = store.read(f"team/shop/ledger/{int(n):06d}.json")
            assert body == str(child).encode() * 1000


def test_a_killed_publisher_leaves_old_or_new_never_half(store: LocalStore) -> None:
    """Twenty publishers are killed at random moments, the reader looks after each."""
    program = """
print("ready", flush=True)
for n in range(10_000):
    publish(f"{sys.argv[2]}-{n}" * 2_000, files=3)
"""
    moments = random.Random(7)
    complete = 0
    for round_number in range(20):
        child = run_child(program, store.root, round_number)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0, 0.06) * (1 + round_number))  # slow machines come late
        child.send_signal(signal.SIGKILL)
        child.communicate()
        manifests = store.manifests(NAME)
        assert [m.sequence for m in manifests] == list(range(1, len(manifests) + 1))
        for manifest in manifests[complete:]:
            store.verify(manifest)
            assert len(manifest.files) == 3
        complete = len(manifests)
    assert complete > 0
    store.collect_garbage(timedelta(seconds=-10))
    assert staging(store) == []
    assert len(versions(store)) == complete
    for manifest in store.manifests(NAME):
        store.verify(manifest)


@pytest.mark.parametrize("point", ["before the rename", "after the rename", "before the link"])
def test_killed_at_a_step_of_the_publication(store: LocalStore, point: str) -> None:
    before = publish(store)
    program = """
import signal
from resources import durable
point = sys.argv[2]
move, create = durable.move_directory, durable.create_file

def die(): os.kill(os.getpid(), signal.SIGKILL)

def stop_move(source, target):
    if point == "before the rename": die()
    move(source, target)
    if point == "after the rename": die()

def stop_create(path, body, *, scratch):
    os.link = lambda *a: die()
    create(path, body, scratch=scratch)

durable.move_directory, durable.create_file = stop_move, stop_create
publish("new")
"""
    child = run_child(program, store.root, point)
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert store.manifests(NAME) == [before]
    store.verify(before)
    assert publish(store).sequence == 2
    assert len(store.collect_garbage(timedelta(seconds=-10))) > 0
    assert len(versions(store)) == 2
    assert staging(store) == []


@pytest.mark.parametrize("limit", [100, 700])
def test_a_full_disk_leaves_nothing_visible(store: LocalStore, limit: int) -> None:
    """With files limited to 100 bytes the data do not fit; with 700, the manifest does not."""
    before = publish(store)
    program = """
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    publish("x" * 500)
except StoreError as error:
    print(error)
"""
    output = run_child(program, store.root, limit).communicate(timeout=60)[0]
    assert "the disk is full" in output
    assert "free space" in output
    assert store.manifests(NAME) == [before]
    assert len(versions(store)) == 1
    assert staging(store) == []


def test_everything_is_synced_before_it_is_visible(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut only what was synced is there: the order of the calls is the safeguard."""
    calls: list[str] = []
    real_fsync, real_link, real_rename = os.fsync, os.link, Path.rename

    def fsync(descriptor: int) -> None:
        calls.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink()}")
        real_fsync(descriptor)

    def link(source: Path, target: Path) -> None:
        calls.append(f"sync? {source}")
        calls.append(f"link {target}")
        real_link(source, target)

    def rename(source: Path, target: Path) -> Path:
        calls.append(f"rename {source}")
        return real_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(Path, "rename", rename)
    manifest = publish(store)
    where = {call: position for position, call in enumerate(calls)}
    renamed = next(i for i, call in enumerate(calls) if call.startswith("rename "))
    staged = calls[renamed].removeprefix("rename ")
    for name in ("part.parquet", "deep/more.json", "deep", "."):
        path = staged if name == "." else f"{staged}/{name}"
        assert where[f"sync {path}"] < renamed
    linked = next(i for i, call in enumerate(calls) if call.startswith("link "))
    draft_file = calls[linked - 1].removeprefix("sync? ")
    data = str(store.root / NAME / "_data")
    assert renamed < where[f"sync {data}"] < linked
    assert where[f"sync {draft_file}"] < linked
    assert calls[linked + 1] == f"sync {store.root / NAME}/_manifests"
    assert calls[-1] == f"sync {store.root / NAME}/_by_content"
    assert manifest.sequence == 1


def test_open_store(tmp_path: Path) -> None:
    assert open_store(tmp_path).uri == str(tmp_path)
    assert open_store(f"file://{tmp_path}").uri == str(tmp_path)
    with pytest.raises(EnvironmentProblemError) as raised:
        open_store("s3://key:secret@bucket/x")
    assert "secret" not in str(raised.value)


def test_manifests_are_plain_json(store: LocalStore) -> None:
    publish(store)
    document = json.loads((store.root / NAME / "_manifests" / "000001.json").read_text())
    assert document["data_version"] == "sha256:1"
    assert not Path(document["location"]).is_absolute()


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store)
    store.create("team/shop/ledger/000001.json", b"{}")

    def refuse(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    for look in (lambda: store.latest(NAME), lambda: store.keys("team/shop/ledger")):
        with pytest.raises(StoreError, match="the store cannot be read"):
            look()


class Counting(LocalStore):
    """Counts what is read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read_keys: list[str] = []

    def _read(self, key: str) -> bytes:
        self.read_keys.append(key)
        return super()._read(key)


@pytest.mark.parametrize("versions", [5, 50])
def test_a_new_content_is_known_as_new_without_reading_history(
    tmp_path: Path, versions: int
) -> None:
    store = Counting(tmp_path / "store")
    for number in range(versions):
        publish(store, str(number), f"sha256:{number}")
    store.read_keys.clear()
    assert store.find(NAME, "sha256:new") is None
    assert store.read_keys == []
    found = store.find(NAME, "sha256:3")
    assert found is not None
    assert found.sequence == 4
    assert store.read_keys == [f"{NAME}/_manifests/000004.json"]


def test_a_store_without_an_index_gets_one_when_somebody_looks(tmp_path: Path) -> None:
    store = Counting(tmp_path / "store")
    for number in (1, 2, 1, 3):
        publish(store, str(number), f"sha256:{number}")
    durable.remove_tree(store.root / NAME / "_by_content")
    publish(store, "4", "sha256:4")
    store.read_keys.clear()
    found = store.find(NAME, "sha256:1")
    assert found is not None
    assert found.sequence == 3
    assert len(store.read_keys) == 5  # four without an entry, and the one that was meant
    store.read_keys.clear()
    assert store.find(NAME, "sha256:9") is None
    assert store.read_keys == []


def test_a_publisher_killed_before_its_index_entry_is_found_all_the_same(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "_note", lambda store, manifest: None)
        publish(store, "body", "sha256:1")
    found = store.find(NAME, "sha256:1")
    assert found is not None
    assert found.sequence == 1


def test_a_damaged_manifest_is_no_content(store: LocalStore) -> None:
    publish(store, "one", "sha256:1")
    publish(store, "again", "sha256:1")
    publish(store, "two", "sha256:2")
    (store.root / NAME / "_manifests/000002.json").write_text("{")
    found = store.find(NAME, "sha256:1")
    assert found is not None
    assert found.sequence == 1
    (store.root / NAME / "_manifests/000001.json").write_text("{")
    durable.remove_tree(store.root / NAME / "_by_content")
    assert store.find(NAME, "sha256:1") is None
    assert store.find(NAME, "sha256:2") is not None
    with pytest.raises(StoreError, match="cannot be read"):
        store.version(NAME, 1)


def test_an_entry_that_lies_is_not_believed(store: LocalStore) -> None:
    publish(store, "one", "sha256:1")
    (entry,) = (store.root / NAME / "_by_content").iterdir()
    entry.rename(entry.with_name(entry.name.replace("000001", "000007")))
    assert store.find(NAME, "sha256:1") == store.latest(NAME)
    assert store.find(NAME, "sha256:2") is None
