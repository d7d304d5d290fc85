"""The files of a stream, local or in S3, before they are opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.objects import fetch_object, find_objects, is_s3
from mlops_assets.sources.paths import find_files


@dataclass(frozen=True)
class StreamFile:
    """One file of a stream.

    Attributes:
        name: Its name in the stream.
        bytes: Its size.
        stamp: Changes when the file is written again.
        fetch: Gives its path on this machine; a copy is made in the folder where it needs one.
    """

    name: str
    bytes: int
    stamp: str
    fetch: Callable[[Path], Path]


def find_stream_files(uri: str, file_format: str, context: SourceContext) -> list[StreamFile]:
    """All files of a stream, in the order of their names.

    Raises:
        NoFilesError: There are none.
        SourceError: The place is away or not allowed.
    """
    if is_s3(uri):
        found = find_objects(uri, file_format, context)
        return [
            StreamFile(found.name(i), i.bytes, i.etag, partial(fetch_object, found, i))
            for i in found.objects
        ]
    local = find_files(uri, file_format, context)
    return [_local(local.name(path), path) for path in local.files]


def _local(name: str, path: Path) -> StreamFile:
    stat = path.stat()
    return StreamFile(name, stat.st_size, str(stat.st_mtime_ns), lambda _folder: path)
