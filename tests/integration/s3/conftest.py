"""A real S3 server with one bucket for the session, and a new prefix for each test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.s3_client import s3_client
from resources.s3_server import S3Server, start_s3_server
from resources.s3_store import S3Store
from tests.integration.s3 import faulty


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = start_s3_server(tmp_path_factory.mktemp("s3"))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def s3_environment(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3_uri(s3_environment: None) -> str:
    """A place of the test's own; the server has room for few buckets."""
    names = [item["Name"] for item in s3_client().list_buckets()["Buckets"]]
    if "tests" not in names:
        s3_client().create_bucket(Bucket="tests")
    return f"s3://tests/{uuid.uuid4().hex[:12]}"


@pytest.fixture
def s3_server_proxy(
    store: S3Store, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[faulty.Proxy]:
    """A proxy before the server, at an address that nobody asked before."""
    with faulty.faulty_proxy(s3_server.endpoint) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running.endpoint)
        yield running


@pytest.fixture
def store(s3_uri: str, tmp_path: Path) -> S3Store:
    return S3Store(s3_uri, cache=tmp_path / "cache")
