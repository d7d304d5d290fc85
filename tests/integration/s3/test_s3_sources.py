"""Sources and streams whose files lie in S3."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.config.sources import FilesSource
from mlops_assets.errors import NoFilesError, SourceError
from mlops_assets.keys import ProjectId
from mlops_assets.monitoring.stream_files import find_stream_files
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.executor_objects import _heads, footers
from mlops_assets.sources.files import Files
from mlops_assets.sources.objects import ObjectSet, find_objects
from mlops_assets.tables.executor_tasks import RemoteFile
from resources import s3_client as asking
from resources.s3 import S3Object, S3Place
from resources.s3_client import s3_client
from resources.s3_server import S3Server
from resources.spark import spark_session
from tests.integration.s3 import faulty

pytestmark = [pytest.mark.s3, pytest.mark.spark]


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return spark_session(home=tmp_path_factory.mktemp("home"))


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    return SourceContext(ProjectId("team", "mine"), tmp_path, workspace, "shop")


def put(uri: str, name: str, body: bytes) -> None:
    place = S3Place.parse(uri)
    s3_client().put_object(Bucket=place.bucket, Key=place.key(name), Body=body)


def parquet(start: int, rows: int) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": list(range(start, start + rows))}), buffer)
    return buffer.getvalue()


def names(uri: str, context: SourceContext, kind: str = "parquet") -> list[str]:
    found = find_objects(uri, kind, context)
    return [found.name(item) for item in found.objects]


def test_objects_of_a_folder_a_key_and_a_glob(s3_uri: str, context: SourceContext) -> None:
    for name in (
        "in/a.parquet",
        "in/deep/b.parquet",
        "in/_SUCCESS",
        "in/_temporary/c.parquet",
        "in/.hidden.parquet",
        "in/note.txt",
        "in/day=2/d.parquet",
        "inner/e.parquet",
    ):
        put(s3_uri, name, b"x")
    put(s3_uri, "in/empty.parquet", b"")
    everything = ["a.parquet", "day=2/d.parquet", "deep/b.parquet"]
    assert names(f"{s3_uri}/in", context) == everything
    assert names(f"{s3_uri}/in/", context) == everything
    assert names(f"{s3_uri}/in/a.parquet", context) == ["a.parquet"]
    assert names(f"{s3_uri}/in/*.parquet", context) == ["a.parquet"]
    assert names(f"{s3_uri}/in/*/?.parquet", context) == ["day=2/d.parquet", "deep/b.parquet"]
    assert names(f"{s3_uri}/in/day=*", context) == ["day=2/d.parquet"]
    assert names(f"{s3_uri}/in/**/*.parquet", context) == everything
    assert names(f"{s3_uri}/in/[ax].parquet", context) == ["a.parquet"]
    for nothing in ("other", "in/*.csv", "i"):
        with pytest.raises(NoFilesError, match="there are no files"):
            names(f"{s3_uri}/{nothing}", context)


def test_the_digest_follows_the_bytes(s3_uri: str, context: SourceContext) -> None:
    spec = FilesSource(type="files", uri=f"{s3_uri}/in")
    put(s3_uri, "in/a.parquet", parquet(0, 3))
    first = Files().digest(spec, context)
    put(s3_uri, "in/a.parquet", parquet(0, 3))
    assert Files().digest(spec, context) == first
    put(s3_uri, "in/a.parquet", parquet(1, 3))
    assert Files().digest(spec, context) != first


def test_rows_are_read(s3_uri: str, context: SourceContext, spark: Any) -> None:
    for number in range(3):
        put(s3_uri, f"in/{number}.parquet", parquet(number * 10, 10))
    spec = FilesSource(type="files", uri=f"{s3_uri}/in")
    Files().inspect(spec, context)
    assert Files().read(spark, spec, context).count() == 30
    put(s3_uri, "text/a.csv", b"id,name\n1,x\n2,y\n")
    put(s3_uri, "text/b.csv.gz", __import__("gzip").compress(b"id,name\n3,z\n"))
    text = FilesSource(type="files", uri=f"{s3_uri}/text", format="csv")
    found = Files().read(spark, text, context)
    assert sorted(row.name for row in found.collect()) == ["x", "y", "z"]


def test_a_cut_file_is_named(s3_uri: str, context: SourceContext) -> None:
    put(s3_uri, "in/good.parquet", parquet(0, 3))
    put(s3_uri, "in/cut.parquet", parquet(0, 300)[:100])
    with pytest.raises(SourceError, match=r"cut\.parquet \(100 bytes\)"):
        Files().inspect(FilesSource(type="files", uri=f"{s3_uri}/in"), context)


def test_names_do_not_leave_the_workspace(context: SourceContext) -> None:
    """Some servers refuse such names themselves; others keep them."""
    item = S3Object("in/../../../out.parquet", 4, '"etag"', datetime.now(UTC))
    found = ObjectSet(S3Place("bucket", "in"), (item,))
    with pytest.raises(SourceError, match="leaves its folder"):
        found.fetch(context.workspace)


@pytest.mark.parametrize(
    "names", [("a/b.csv", "a//b.csv"), ("a.csv", "a.csv/part.csv"), ("./a.csv",)]
)
def test_keys_that_would_be_one_file_are_refused(
    names: tuple[str, ...], context: SourceContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Amazon keeps such keys apart; the server of these tests does not."""
    items = [S3Object(f"in/{name}", 4, '"etag"', datetime.now(UTC)) for name in names]
    monkeypatch.setattr(S3Place, "listing", lambda place, prefix: iter(items))
    monkeypatch.setattr(S3Place, "head", lambda place, name: None)
    with pytest.raises(SourceError, match="cannot be a file's"):
        find_objects("s3://bucket/in", "csv", context)


@pytest.mark.parametrize("store", ["{0}/store", "{0}/store/", "s3://{1}//{2}//store//"])
@pytest.mark.parametrize(
    "uri",
    [
        "{0}/store/other/team/raw",
        "{0}//store/other/team/raw/",
        "s3://{1}//{2}/store/other/team/raw/a.parquet",
        "{0}/x/../store/other/team/raw",
        "{0}/./store",
        "{0}/stor?/other/team/raw/a.parquet",
        "{0}/*/other/team/raw",
        "{0}/**/*.parquet",
        "{0}",
    ],
)
def test_the_engines_own_store_is_no_source(
    s3_uri: str,
    context: SourceContext,
    monkeypatch: pytest.MonkeyPatch,
    store: str,
    uri: str,
) -> None:
    parts = (s3_uri, *s3_uri.removeprefix("s3://").split("/"))
    put(s3_uri, "store/other/team/raw/a.parquet", b"theirs")
    put(s3_uri, "store2/a.parquet", b"mine")
    monkeypatch.setenv("MLOPS_STORE_URI", store.format(*parts))
    with pytest.raises(SourceError, match="own store"):
        find_objects(uri.format(*parts), "parquet", context)
    with pytest.raises(SourceError, match="own store"):
        find_stream_files(uri.format(*parts), "parquet", context)
    assert names(f"{s3_uri}/store2", context) == ["a.parquet"]


def test_a_store_that_is_the_whole_bucket_is_no_source(
    s3_uri: str, context: SourceContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_STORE_URI", "s3://tests")
    with pytest.raises(SourceError, match="own store"):
        find_objects(f"{s3_uri}/in", "parquet", context)


def test_a_source_away_is_never_an_empty_one(
    s3_uri: str, context: SourceContext, proxy: faulty.Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3_uri, "in/a.parquet", b"x")
    monkeypatch.setattr(asking, "DEADLINE_SECONDS", asking.SMALL_SECONDS + 1)
    for fault in (faulty.server_error, faulty.cut_listing, faulty.empty_answer):
        proxy.faults.clear()
        proxy.plan(fault, times=1000, part="list-type=2")
        with pytest.raises(SourceError, match="S3") as raised:
            find_objects(f"{s3_uri}/in", "parquet", context)
        assert not isinstance(raised.value, NoFilesError)
        assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(raised.value)


@pytest.mark.parametrize("fault", [faulty.server_error, faulty.denied, faulty.cut_body])
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_s3_in_trouble_is_no_corrupt_file(
    s3_uri: str,
    context: SourceContext,
    proxy: faulty.Proxy,
    monkeypatch: pytest.MonkeyPatch,
    fault: faulty.Fault,
    kind: str,
) -> None:
    put(s3_uri, f"in/a.{kind}", parquet(0, 3))
    found = find_objects(f"{s3_uri}/in", kind, context)
    monkeypatch.setattr(asking, "DEADLINE_SECONDS", asking.SMALL_SECONDS + 1)
    proxy.plan(fault, times=1000, method="GET", part=f"a.{kind}")
    with pytest.raises(SourceError, match="S3") as raised:
        if kind == "csv":
            _heads(found, context)
        else:
            files = [RemoteFile(found.place.bucket, i.key, i.bytes) for i in found.objects]
            footers(files, context.where)
    assert "corrupt" not in str(raised.value)
    assert raised.value.where == context.where
    wanted = "allow s3:GetObject" if fault is faulty.denied else "run again"
    assert wanted in str(raised.value.fix)


@pytest.fixture
def proxy(s3_server: S3Server, s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    with faulty.faulty_proxy(s3_server.endpoint) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running.endpoint)
        yield running
