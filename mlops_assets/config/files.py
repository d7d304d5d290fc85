"""Files and folders that a project may name: inside its own folder, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mlops_assets.config.kafka import KafkaSource
from mlops_assets.config.model import CustomModel
from mlops_assets.config.problems import FieldProblem, Location, nearest, show
from mlops_assets.config.project import ProjectSpec
from mlops_assets.config.sources import FilesSource
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
    for location, relative, suffix in named:
        if problem := _file_problem(location, relative, suffix, directory):
            yield problem
    for name, source in spec.sources.items():
        if isinstance(source, FilesSource):
            location = ("sources", name, "uri")
            if problem := _uri_problem(location, source.uri, directory):
                yield problem
    for name in ("inference_log", "labels"):
        stream = getattr(spec.monitoring, name)
        if stream is not None and stream.uri is not None:
            location = ("monitoring", name, "uri")
            if problem := _uri_problem(location, stream.uri, directory):
                yield problem


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
        if _BUCKET.match(uri):
            return None
        return FieldProblem(location, "s3://…", "s3://<bucket>/…, credentials in the environment")
    elif _SCHEME.match(uri):
        return FieldProblem(location, f"{uri.partition('://')[0]}://…", "a path, or s3://…")
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
