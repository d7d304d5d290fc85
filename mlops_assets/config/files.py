"""Files and folders that a project may name: inside its own folder, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import get_args

from mlops_assets.config.kafka import KafkaSource
from mlops_assets.config.model import CustomModel
from mlops_assets.config.monitoring import StreamFormat
from mlops_assets.config.problems import FieldProblem, Location, nearest, show
from mlops_assets.config.project import ProjectSpec
from mlops_assets.config.sources import SUFFIXES, FilesSource, format_of
from mlops_assets.config.sql import SqlSource
from mlops_assets.keys import ProjectId

PROJECTS = "project_configs"
CONFIG_FILE = "defs.yaml"
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^@]*)?$")
_MAX_FILE_BYTES = 1024 * 1024
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_GLOB = re.compile(r"[*?\[{]")


def find_folder_problem(directory: Path, root: Path) -> tuple[str, str] | None:
    """What is wrong with a project's folder: (found, expected), or None.

    A folder is ``project_configs/<team>/<project>``, both usable names, and no link leads it to
    another place.
    """
    projects = root / PROJECTS
    try:
        team, name = directory.relative_to(projects).parts
    except ValueError:
        return f"the folder {directory}", f"a folder {PROJECTS}/<team>/<project>"
    try:
        ProjectId(team, name)
    except ValueError as error:
        return str(error).partition(" is not ")[0], "lower_case_words of at most 60 characters"
    if directory.resolve() != projects.resolve() / team / name:
        return "a link to another folder", "a folder of its own"
    return None


def find_file_problems(spec: ProjectSpec, directory: Path) -> Iterator[FieldProblem]:
    """Problems with the files that a spec names; the files are not read."""
    named: list[tuple[Location, str, str]] = [(("features", "query"), spec.features.query, ".sql")]
    if isinstance(spec.model, CustomModel):
        named.append((("model", "file"), spec.model.file, ".py"))
    for _, place, source in spec.every_source():
        if isinstance(source, SqlSource) and source.query is not None:
            named.append(((*place, "query"), source.query, ".sql"))
        if isinstance(source, KafkaSource):
            named += (((*place, *at), file, end) for at, file, end in source.files())
            yield from _certificate_problems(source, place, directory)
    for location, relative, suffix in named:
        if problem := _file_problem(location, relative, suffix, directory):
            yield problem
    for location, uri, form in _addresses(spec):
        if problem := _uri_problem(location, uri, directory) or _ending_problem(
            location, uri, form
        ):
            yield problem


def _addresses(spec: ProjectSpec) -> Iterator[tuple[Location, str, str]]:
    """Addresses of data, with the format in which they are read."""
    for name, source in spec.sources.items():
        if isinstance(source, FilesSource):
            yield ("sources", name, "uri"), source.uri, source.format
    for name in ("inference_log", "labels"):
        stream = getattr(spec.monitoring, name)
        if stream is not None and stream.uri is not None:
            yield ("monitoring", name, "uri"), stream.uri, stream.format or "parquet"


def _ending_problem(location: Location, uri: str, form: str) -> FieldProblem | None:
    """A warning, as a folder may have any name."""
    told = format_of(uri)
    if told in (None, form):
        return None
    found = f"a name as of {told} files, though they are read as {form}"
    is_stream = location[0] == "monitoring"
    known = get_args(StreamFormat) if is_stream else tuple(SUFFIXES)
    expected = f"`format: {told}` beside it" if told in known else f"files of {' or '.join(known)}"
    return FieldProblem(location, found, expected, severity="warning")


def _certificate_problems(
    source: KafkaSource, place: Location, directory: Path
) -> Iterator[FieldProblem]:
    """Relative paths; an absolute one may lie in a container only."""
    for at, file in source.certificates():
        path, location = PurePosixPath(file), (*place, *at)
        if path.is_absolute():
            continue
        expected = "a file inside the project's folder, or an absolute path"
        if ".." in path.parts:
            yield FieldProblem(location, "a path with ..", expected)
        elif not (directory / file).is_file():
            yield FieldProblem(location, f"{show(file)}, which does not exist", expected)


def _file_problem(
    location: Location, relative: str, suffix: str, directory: Path
) -> FieldProblem | None:
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or "\\" in relative or ":" in relative:
        return FieldProblem(
            location, show(relative), f"a {suffix} file inside the project's folder"
        )
    if path.suffix != suffix:
        return FieldProblem(
            location,
            show(relative),
            f"a {suffix} file inside the project's folder",
            _nearest_file(relative, suffix, directory),
        )
    file = directory / relative
    if not file.is_file():
        return FieldProblem(
            location,
            f"{show(relative)}, which does not exist",
            "a file inside the project's folder",
            _nearest_file(relative, suffix, directory),
        )
    if not file.resolve().is_relative_to(directory.resolve()):
        return FieldProblem(
            location, f"{show(relative)}, a link out of the project's folder", "a file inside it"
        )
    if (size := file.stat().st_size) > _MAX_FILE_BYTES:
        return FieldProblem(location, f"{size:,} bytes", f"at most {_MAX_FILE_BYTES:,} bytes")
    return None


def _nearest_file(relative: str, suffix: str, directory: Path) -> str | None:
    files = [path.name for path in sorted(directory.glob(f"*{suffix}"))]
    return nearest(relative, files) or (files[0] if len(files) == 1 else None)


def _uri_problem(location: Location, uri: str, directory: Path) -> FieldProblem | None:
    """Data may lie anywhere but in the folder of another project."""
    if uri.startswith("file://"):
        uri = uri.removeprefix("file://")
    elif uri.startswith("s3://"):
        return None if _BUCKET.match(uri) else _bucket_problem(location, uri)
    elif _SCHEME.match(uri):
        return FieldProblem(location, f"{uri.partition('://')[0]}://…", "a path, or s3://…")
    if uri.startswith(("~", "$")) or "${" in uri:
        found = "~ or $, which only a shell knows"
        return FieldProblem(location, found, 'an absolute path, or "{{ env.NAME }}/…"')
    path = PurePosixPath(uri)
    if ".." in path.parts:
        return FieldProblem(location, "a path with ..", "an absolute path, or one without ..")
    fixed: list[str] = []
    for part in path.parts:
        if _GLOB.search(part):
            break
        fixed.append(part)
    target = (directory / PurePosixPath(*fixed)).resolve()
    own = directory.resolve()
    projects = own.parent.parent
    if target.is_relative_to(projects) and not target.is_relative_to(own):
        return FieldProblem(location, "a path into another project's folder", "the project's own")
    return None


def _bucket_problem(location: Location, uri: str) -> FieldProblem:
    """What the bucket is called is not shown: it may come from the environment."""
    bucket = uri.removeprefix("s3://").partition("/")[0]
    if "@" in uri or not bucket:
        found = "s3:// with a user" if "@" in uri else "s3:// without a bucket"
        return FieldProblem(location, found, "s3://<bucket>/…, credentials in the environment")
    expected = "3 to 63 lower-case letters, digits, dots and hyphens after s3://"
    return FieldProblem(location, "a bucket whose name S3 does not allow", expected)
