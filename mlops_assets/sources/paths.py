"""The files that a path, folder or glob means, and none that belong to another project."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from mlops_assets.config.sources import SUFFIXES
from mlops_assets.errors import NoFilesError, SourceError
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.own_store import refuse_store_files

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class FileSet:
    """Files of one source.

    Attributes:
        base: The folder above them all.
        files: The files, in the order of their names.
    """

    base: Path
    files: tuple[Path, ...]

    def name(self, file: Path) -> str:
        """A file's path below the base."""
        return file.relative_to(self.base).as_posix()


def find_files(uri: str, file_format: str, context: SourceContext) -> FileSet:
    """All files that a source means now.

    Raises:
        SourceError: The path is not allowed, or there are no files.
    """
    path = _absolute(uri, context)
    if path.is_file():
        base, files = path.parent, [path]
    elif path.is_dir():
        base, files = path, _files_in(path, path, file_format)
    else:
        base, files = _matches(uri.removeprefix("file://"), file_format, context)
    if not files:
        raise NoFilesError(
            "there are no files",
            where=context.where,
            found=f"nothing at {path}" if not path.is_dir() else f"none of them in {path}",
            expected=f"{file_format} files (in a folder: *{', *'.join(SUFFIXES[file_format])})",
            fix="check the source's `uri`; relative paths start at the project's folder",
        )
    for file in files:
        _check_place(file, is_relative=not _is_absolute(uri), context=context)
    refuse_store_files(files, context)
    return FileSet(base, tuple(sorted(files)))


def _absolute(uri: str, context: SourceContext) -> Path:
    text = uri.removeprefix("file://")
    if _SCHEME.match(text):
        raise SourceError(
            "this version knows no such place",
            where=context.where,
            found=f"{text.partition('://')[0]}://…",
            expected="a path, folder or glob, or one in s3://",
        )
    if ".." in PurePosixPath(text).parts:
        raise _escape(text, context, "a path without `..`")
    return context.project_directory / text


def _is_absolute(uri: str) -> bool:
    return PurePosixPath(uri.removeprefix("file://")).is_absolute()


def _matches(uri: str, file_format: str, context: SourceContext) -> tuple[Path, list[Path]]:
    """What a glob means: the folder before its first wildcard, and the files."""
    parts = PurePosixPath(uri).parts
    wild = next((i for i, part in enumerate(parts) if _GLOB.search(part)), len(parts))
    base = context.project_directory.joinpath(*parts[:wild])
    if wild == len(parts):
        return base, []
    files: list[Path] = []
    for match in base.glob("/".join(parts[wild:])):
        if match.is_dir():
            files += _files_in(match, base, file_format)
        elif match.is_file() and not is_hidden(match.relative_to(base)):
            files.append(match)
    return base, list(dict.fromkeys(files))


def _files_in(folder: Path, base: Path, file_format: str) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(SUFFIXES[file_format])
        and path.is_file()
        and not is_hidden(path.relative_to(base))
    ]


def is_hidden(path: PurePath) -> bool:
    """Unfinished and auxiliary files and folders, by Hadoop's convention."""
    return any(part.startswith((".", "_")) for part in path.parts)


def _check_place(file: Path, *, is_relative: bool, context: SourceContext) -> None:
    """Refuse files that a link or an absolute path fetches from another project."""
    target = file.resolve()
    own = context.project_directory.resolve()
    if target.is_relative_to(own):
        return
    if is_relative:
        raise _escape(str(file), context, "a file inside the project's folder")
    if target.is_relative_to(own.parent.parent):
        raise _escape(str(file), context, "a file that is not another project's")


def _escape(found: str, context: SourceContext, expected: str) -> SourceError:
    return SourceError(
        "the path leaves the project",
        where=context.where,
        found=found,
        expected=expected,
        fix="put the file into the project's folder, or name a shared place by its absolute path",
    )
