"""Identity of files as they are now, without reading large ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mlops_assets.errors import SourceError

MAX_HASHED_BYTES = 64 * 1024 * 1024
"""Files of a source are hashed as long as they are not larger than this together."""


def files_digest(files: Iterable[tuple[str, Path]], options: Any, where: str) -> str:
    """Identity of some files and of the options with which they would be read.

    Small sources are identified by content, so that a copy or a touched file changes nothing.
    Large ones are identified by size, inode and times of change; at worst they are read again.

    Args:
        files: Names and paths.
        options: JSON.
        where: The source, for messages.

    Returns:
        ``sha256:<hex>``.

    Raises:
        SourceError: A file is gone.
    """
    named = list(files)
    try:
        stats = [path.stat() for _, path in named]
        if sum(stat.st_size for stat in stats) <= MAX_HASHED_BYTES:
            identities: list[Any] = [_content(path) for _, path in named]
        else:
            identities = [
                [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns] for stat in stats
            ]
    except OSError as error:
        raise SourceError(
            "a file cannot be read", where=where, found=f"{error.filename}: {error.strerror}"
        ) from error
    names = [name for name, _ in named]
    body = json.dumps([names, identities, options], sort_keys=True, default=str)
    return f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
