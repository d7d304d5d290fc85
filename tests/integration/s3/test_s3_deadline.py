"""A server that hangs, is not there or comes late: one deadline for all tries of a request."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mlops_assets.errors import StoreError
from resources import s3_client, s3_transfer
from resources.s3 import S3Place
from resources.s3_server import S3Server
from resources.s3_store import S3Store
from tests.integration.s3 import faulty

pytestmark = pytest.mark.s3
MIB = 1024 * 1024


@pytest.fixture
def black_hole(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        yield address


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> float:
    """Deadlines that a test can wait for."""
    monkeypatch.setattr(s3_client, "SMALL_SECONDS", 0.5)
    monkeypatch.setattr(s3_client, "LARGE_SECONDS", 1.0)
    monkeypatch.setattr(s3_client, "DEADLINE_SECONDS", 4.0)
    return 4.0


def _file(folder: Path, size: int) -> Path:
    path = folder / "file"
    path.write_bytes(bytes(range(256)) * (size // 256))
    return path


OPERATIONS: dict[str, Callable[[S3Place, Path], object]] = {
    "read": lambda place, _: place.read("key"),
    "create": lambda place, _: place.create("key", b"body"),
    "list": lambda place, _: list(place.listing("")),
    "download": lambda place, folder: place.download("key", folder / "copy"),
    "upload": lambda place, folder: place.upload(_file(folder, MIB), "key"),
    "upload in parts": lambda place, folder: place.upload(_file(folder, 17 * MIB), "key"),
    "delete": lambda place, _: place.delete(["key"]),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_server_that_hangs_is_given_up_at_the_deadline(
    name: str, black_hole: str, short: float, tmp_path: Path
) -> None:
    started = time.monotonic()
    with pytest.raises(StoreError, match="did not answer"):
        OPERATIONS[name](S3Place("bucket", "prefix"), tmp_path)
    assert 1.0 < time.monotonic() - started < short + 2  # the clients are made meanwhile


def test_a_server_that_hangs_is_asked_again(black_hole: str, short: float) -> None:
    asked: list[float] = []

    def ask(client: object) -> None:
        asked.append(time.monotonic())
        client.get_object(Bucket="bucket", Key="key")  # type: ignore[attr-defined]

    with pytest.raises(s3_client.AwayError):
        s3_client.attempted(ask, "s3://bucket/key", "read")
    assert 3 <= len(asked) <= 7
    assert asked[1] - asked[0] < 1.0  # the first silence, and a pause


def test_a_refused_port_is_tried_until_the_deadline_and_said(
    s3_environment: None, monkeypatch: pytest.MonkeyPatch, short: float
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(StoreError, match="did not answer") as caught:
        S3Place("bucket").read("key")
    assert 1.0 < time.monotonic() - started < short + 2
    assert "AWS_ENDPOINT_URL_S3" in str(caught.value)


def test_a_server_that_starts_late_is_waited_for(
    store: S3Store, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("team/key", b"body")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
    late = threading.Thread(target=_forward_later, args=(port, s3_server.endpoint), daemon=True)
    late.start()
    started = time.monotonic()
    assert store.place.read("team/key") == b"body"
    assert time.monotonic() - started > 2.5


def _forward_later(port: int, endpoint: str) -> None:
    """Three seconds later, pass one connection on to the server."""
    time.sleep(3)
    with socket.create_server(("127.0.0.1", port)) as server:
        client, _ = server.accept()
        upstream = urlsplit(endpoint)
        with client, socket.create_connection((upstream.hostname, upstream.port)) as real:
            back = threading.Thread(target=_pass_on, args=(real, client), daemon=True)
            back.start()
            _pass_on(client, real)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    while some := source.recv(65_536):
        target.sendall(some)


@pytest.mark.parametrize("size", [0, 256, 16 * MIB, 16 * MIB + 256, 40 * MIB])
def test_files_of_all_sizes_arrive_whole(store: S3Store, tmp_path: Path, size: int) -> None:
    path = _file(tmp_path, size)
    store.place.upload(path, "file")
    store.place.download("file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("fault", [faulty.server_error, faulty.done_but_lost])
def test_parts_are_repeated_one_by_one(
    store: S3Store, s3_server_proxy: faulty.Proxy, tmp_path: Path, fault: faulty.Fault
) -> None:
    path = _file(tmp_path, 40 * MIB)
    s3_server_proxy.plan(fault, method="PUT", part="partNumber=2")
    s3_server_proxy.plan(fault, method="POST", part="uploadId=")
    store.place.upload(path, "file")
    sent = [path for method, path in s3_server_proxy.requests if method == "PUT"]
    assert len(sent) == 4  # three parts, one of them twice
    s3_server_proxy.plan(fault, times=2, method="GET", part="file")
    store.place.download("file", tmp_path / "copy")
    assert not s3_server_proxy.faults
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


def test_a_refused_part_leaves_no_upload(
    store: S3Store, s3_server_proxy: faulty.Proxy, tmp_path: Path
) -> None:
    s3_server_proxy.plan(faulty.denied, method="PUT", part="partNumber=2")
    with pytest.raises(StoreError, match="could not be written"):
        store.place.upload(_file(tmp_path, 40 * MIB), "file")
    place = store.place
    found = s3_client.s3_client().list_multipart_uploads(Bucket=place.bucket, Prefix=place.key(""))
    assert found.get("Uploads", []) == []


def test_an_object_that_changes_between_two_parts_is_not_mixed(
    store: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.place.upload(_file(tmp_path, 17 * MIB), "file")
    first = s3_transfer._fetch_first

    def changed(target: s3_transfer.Target, path: Path) -> tuple[int, str]:
        found = first(target, path)
        (tmp_path / "file").write_bytes(bytes(17 * MIB))
        store.place.upload(tmp_path / "file", "file")
        return found

    monkeypatch.setattr(s3_transfer, "_fetch_first", changed)
    with pytest.raises(StoreError, match="changed while it was read"):
        store.place.download("file", tmp_path / "copy")
