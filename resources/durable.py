"""Files and folders that survive a crash: written whole or not at all, and synced to the disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from pathlib import Path
from typing import Any


def sync_directory(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Create a folder and those above it, durably; nothing happens if it is there."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_directory(folder.parent)


def write_file(path: Path, body: bytes) -> None:
    """Write a new file and make its content durable."""
    with path.open("xb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def create_file(path: Path, body: bytes, *, scratch: Path) -> None:
    """Create a file with its whole content, durably, unless its name is taken.

    The name appears by ``link``, which is atomic and fails when the name exists; so of many
    writers exactly one wins, and no reader sees part of a file.

    Args:
        path: The file.
        body: Its content.
        scratch: A folder in the same file system for the unfinished file.

    Raises:
        FileExistsError: The name is taken; that file is left as it is.
    """
    make_directory(path.parent)
    make_directory(scratch)
    draft = scratch / f"{uuid.uuid4().hex}.tmp"
    try:
        write_file(draft, body)
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_tree(directory: Path) -> list[tuple[str, int, str]]:
    """Make every file and folder in a folder durable.

    Returns:
        For each file its path relative to the folder, its bytes and its SHA-256, in path order.

    Raises:
        ValueError: There is something that is neither a plain file nor a folder.
    """
    entries = []
    for folder, subfolders, names in os.walk(directory):
        here = Path(folder)
        for name in [*subfolders, *names]:
            path = here / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise ValueError(f"{path.relative_to(directory)} is a link or a special file")
        for name in names:
            size, digest = _sync_file(here / name)
            entries.append(((here / name).relative_to(directory).as_posix(), size, digest))
        sync_directory(here)
    return sorted(entries)


def _sync_file(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def move_directory(source: Path, target: Path) -> None:
    """Rename a folder, durably; its age starts again."""
    make_directory(target.parent)
    source.rename(target)
    os.utime(target)
    sync_directory(target.parent)
    sync_directory(source.parent)


def remove_tree(path: Path) -> None:
    """Remove a folder and everything in it; what is gone, or goes meanwhile, is no error."""

    def fail(_function: object, _name: str, info: tuple[Any, BaseException, Any]) -> None:
        if not isinstance(info[1], FileNotFoundError):
            raise info[1]

    shutil.rmtree(path, onerror=fail)


def newest_change(directory: Path) -> float:
    """Time of the newest change of anything in a folder, in seconds since the epoch."""
    newest = directory.stat().st_mtime
    for folder, subfolders, names in os.walk(directory):
        for name in [*subfolders, *names]:
            try:
                newest = max(newest, (Path(folder) / name).lstat().st_mtime)
            except FileNotFoundError:
                continue
    return newest
