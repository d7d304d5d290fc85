"""Which files a source means, and which it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_assets.errors import SourceError
from mlops_assets.keys import ProjectId
from mlops_assets.sources import SourceContext
from mlops_assets.sources.parquet import read_schemas
from mlops_assets.sources.paths import FileSet, find_files


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    folder = tmp_path / "project_configs" / "team" / "mine"
    (folder / "data").mkdir(parents=True)
    for name in ("b.parquet", "a.parquet", "_SUCCESS", ".b.parquet.crc", "readme.md"):
        (folder / "data" / name).write_text(name)
    (folder / "data" / "_temporary").mkdir()
    (folder / "data" / "_temporary" / "c.parquet").write_text("unfinished")
    (folder / "data" / "deep").mkdir()
    (folder / "data" / "deep" / "c.parquet").write_text("c")
    other = tmp_path / "project_configs" / "team" / "other"
    other.mkdir()
    (other / "secret.parquet").write_text("secret")
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "s.parquet").write_text("s")
    return SourceContext(ProjectId("team", "mine"), folder, tmp_path, "shop")


def names(uri: str, context: SourceContext, file_format: str = "parquet") -> list[str]:
    found = find_files(uri, file_format, context)
    return [found.name(file) for file in found.files]


def test_a_folder_a_file_a_glob(context: SourceContext) -> None:
    assert names("data", context) == ["a.parquet", "b.parquet", "deep/c.parquet"]
    assert names("data/a.parquet", context) == ["a.parquet"]
    assert names("data/*.parquet", context) == ["a.parquet", "b.parquet"]
    assert names("data/**/*.parquet", context) == ["a.parquet", "b.parquet", "deep/c.parquet"]
    assert names("d*", context) == ["data/a.parquet", "data/b.parquet", "data/deep/c.parquet"]
    assert names("data/readme.md", context) == ["readme.md"]


def test_absolute_paths_are_for_shared_places(context: SourceContext, tmp_path: Path) -> None:
    assert names(str(tmp_path / "shared"), context) == ["s.parquet"]
    assert names(f"file://{tmp_path}/shared/*.parquet", context) == ["s.parquet"]
    assert names(str(context.project_directory / "data" / "a.parquet"), context) == ["a.parquet"]


def test_a_file_whose_name_looks_like_a_glob(context: SourceContext) -> None:
    (context.project_directory / "data" / "x[1].parquet").write_text("x")
    assert names("data/x[1].parquet", context) == ["x[1].parquet"]


@pytest.mark.parametrize("uri", ["../other/secret.parquet", "data/../../other", "/x/../y", "../*"])
def test_dots_do_not_climb(context: SourceContext, uri: str) -> None:
    with pytest.raises(SourceError, match="leaves the project"):
        names(uri, context)


@pytest.mark.parametrize("uri", ["", "/secret.parquet", "/*.parquet"])
def test_absolute_paths_do_not_reach_other_projects(
    context: SourceContext, tmp_path: Path, uri: str
) -> None:
    with pytest.raises(SourceError, match="leaves the project"):
        names(f"{tmp_path}/project_configs/team/other{uri}", context)


@pytest.mark.parametrize(
    "uri", ["data", "data/link.parquet", "data/*.parquet", "linked", "linked/*"]
)
@pytest.mark.parametrize("target", ["project_configs/team/other", "shared"])
def test_links_do_not_lead_out(
    context: SourceContext, tmp_path: Path, uri: str, target: str
) -> None:
    folder = context.project_directory
    file = next((tmp_path / target).glob("*.parquet"))
    (folder / "data" / "link.parquet").symlink_to(file)
    (folder / "linked").symlink_to(tmp_path / target)
    with pytest.raises(SourceError, match="leaves the project"):
        names(uri, context)


def test_a_link_from_a_shared_place_into_another_project(
    context: SourceContext, tmp_path: Path
) -> None:
    (tmp_path / "shared" / "l.parquet").symlink_to(
        tmp_path / "project_configs" / "team" / "other" / "secret.parquet"
    )
    with pytest.raises(SourceError, match="leaves the project"):
        names(str(tmp_path / "shared"), context)


def test_a_linked_project_root_is_no_escape(context: SourceContext, tmp_path: Path) -> None:
    """The checkout itself may be reached by a link."""
    (tmp_path / "checkout").symlink_to(tmp_path / "project_configs")
    linked = SourceContext(
        context.project, tmp_path / "checkout" / "team" / "mine", tmp_path, "shop"
    )
    assert names("data/a.parquet", linked) == ["a.parquet"]


@pytest.mark.parametrize("uri", ["nothing", "nothing*", "data/*.csv"])
def test_no_files_are_said(context: SourceContext, uri: str) -> None:
    with pytest.raises(SourceError, match="there are no files") as raised:
        names(uri, context)
    assert "team/mine shop" in str(raised.value)
    with pytest.raises(SourceError, match="there are no files"):
        names("data", context, "csv")


def test_unknown_places_are_refused(context: SourceContext) -> None:
    with pytest.raises(SourceError, match="no such place") as raised:
        names("hdfs://user:password@host/x", context)
    assert "password" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "fix"),
    [("a.csv", "write `format: csv` beside"), ("a.parquet", "write the file again")],
)
def test_a_file_that_is_no_parquet_says_what_its_name_tells(
    tmp_path: Path, name: str, fix: str
) -> None:
    (tmp_path / name).write_text("id,amount\n1,2\n")
    with pytest.raises(SourceError, match=fix):
        read_schemas(FileSet(tmp_path, (tmp_path / name,)), "here")


@pytest.mark.parametrize("named", [None, "kept", "file://{root}/kept", "{root}//kept/../kept/"])
@pytest.mark.parametrize("form", ["{0}/t/p/raw", "{0}//t/./p/raw/x.parquet", "{0}/*/p/raw", "link"])
def test_the_engines_own_store_is_no_source(
    context: SourceContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str | None,
    form: str,
) -> None:
    store = tmp_path / ("kept" if named else ".mlops/store")
    (store / "t/p/raw").mkdir(parents=True)
    (store / "t/p/raw/x.parquet").write_text("theirs")
    (tmp_path / "shared/link").symlink_to(store)
    if named:
        monkeypatch.setenv("MLOPS_STORE_URI", named.format(root=tmp_path))
    uri = f"{tmp_path}/shared/link/t/p/raw" if form == "link" else form.format(store)
    with pytest.raises(SourceError, match="own store"):
        find_files(uri, "parquet", context)
    assert names(f"{tmp_path}/shared/*.parquet", context) == ["s.parquet"]


def test_copies_of_a_store_in_s3_are_no_source(
    context: SourceContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_STORE_URI", "s3://bucket/mlops")
    copy = tmp_path / ".mlops/cache/s3-1/t/p/raw/x.parquet"
    copy.parent.mkdir(parents=True)
    copy.write_text("theirs")
    with pytest.raises(SourceError, match="own store"):
        find_files(str(copy), "parquet", context)
