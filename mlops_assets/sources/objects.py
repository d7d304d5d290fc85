"""The objects in S3 that an ``s3://`` address, folder or glob means."""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mlops_assets.config.sources import SUFFIXES
from mlops_assets.errors import NoFilesError, SourceError, StoreError
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.own_store import refuse_store_keys
from mlops_assets.sources.paths import FileSet, is_hidden
from resources.s3 import S3Object, S3Place

SCHEME = "s3://"
_WILD = re.compile(r"[*?\[]")
_PARALLEL = 16


@dataclass(frozen=True)
class ObjectSet:
    """Objects of one source.

    Attributes:
        place: The bucket, and the prefix above them all.
        objects: The objects, in the order of their keys.
    """

    place: S3Place
    objects: tuple[S3Object, ...]

    def name(self, item: S3Object) -> str:
        """An object's key below the prefix."""
        return self.place.name(item.key)

    def digest(self, options: Any) -> str:
        """Identity of the objects and of the options with which they would be read."""
        lines = [[self.name(item), item.bytes, item.etag] for item in self.objects]
        body = json.dumps([lines, options], sort_keys=True, default=str)
        return f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"

    def fetch(self, folder: Path) -> FileSet:
        """Copies of all objects in a folder; those that are there are not fetched again.

        Raises:
            SourceError: S3 does not give one of them, or it is not the one that was listed.
        """
        base = folder / "s3"
        with ThreadPoolExecutor(_PARALLEL) as pool:
            files = list(pool.map(lambda item: fetch_object(self, item, base), self.objects))
        return FileSet(base, tuple(files))


def is_s3(uri: str) -> bool:
    """Whether an address is one in S3."""
    return uri.startswith(SCHEME)


def find_objects(uri: str, file_format: str, context: SourceContext) -> ObjectSet:
    """All objects that a source means now.

    Args:
        uri: ``s3://<bucket>/<key>``, a folder of keys, or a glob in which ``*`` stands for part of
            one name and ``**`` for any number of folders.
        file_format: Which endings are taken in a folder.
        context: Whose source it is.

    Raises:
        NoFilesError: There are none.
        SourceError: S3 does not answer, or the address is the engine's own store.
    """
    place = S3Place.parse(uri)
    refuse_store_keys(place.bucket, [place.prefix], context)
    wild = _WILD.search(place.prefix)
    try:
        found = _matching(place, wild.start(), file_format) if wild else _below(place, file_format)
    except StoreError as error:
        raise away(error, context.where) from error
    refuse_store_keys(place.bucket, [item.key for item in found.objects], context)
    _refuse_clashes(found, context)
    if not found.objects:
        raise NoFilesError(
            "there are no files",
            where=context.where,
            found=f"nothing at {uri}",
            expected=f"{file_format} files (in a folder: *{', *'.join(SUFFIXES[file_format])})",
            fix="check the source's `uri`, and that the credentials may list the bucket",
        )
    return found


def fetch_object(found: ObjectSet, item: S3Object, base: Path) -> Path:
    """A copy of one object below a folder.

    Raises:
        SourceError: S3 does not give it, or it is not the one that was listed.
    """
    where = f"{found.place.uri}/{found.name(item)}"
    path = base.joinpath(*PurePosixPath(found.name(item)).parts)
    if not path.resolve().is_relative_to(base.resolve()):
        raise SourceError("an object's name leaves its folder", where=where, found=item.key)
    if path.is_file() and path.stat().st_size == item.bytes:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    try:
        found.place.download(found.name(item), draft)
    except StoreError as error:
        raise away(error, where) from error
    if draft.stat().st_size != item.bytes:
        raise SourceError(
            "an object changed while it was read",
            where=where,
            found=f"{draft.stat().st_size:,} bytes",
            expected=f"{item.bytes:,} bytes, as it was listed",
            fix="run again; nothing was published",
        )
    draft.rename(path)
    return path


def away(error: StoreError, where: str) -> SourceError:
    """What S3 said, as the source's error: its problem and what to do stay as they are.

    Args:
        error: What S3 said.
        where: Whose data they are.
    """
    found = f"{error.where}: {error.found}" if error.found else error.where
    return SourceError(error.problem, where=where, found=found, fix=error.fix)


def _below(place: S3Place, file_format: str) -> ObjectSet:
    """One object, or all of a folder that have the format's endings."""
    whole = S3Place(place.bucket)
    folder = place.prefix.rpartition("/")[0]
    exact = whole.head(place.prefix) if place.prefix else None
    if exact is not None and exact.bytes:
        return ObjectSet(S3Place(place.bucket, folder), (exact,))
    prefix = f"{place.prefix}/" if place.prefix else ""
    objects = [item for item in whole.listing(prefix) if _is_wanted(place, item, file_format)]
    return ObjectSet(place, tuple(objects))


def _matching(place: S3Place, wild: int, file_format: str) -> ObjectSet:
    """What a glob means: the folder before its first wildcard, and the objects."""
    folder = place.prefix[:wild].rpartition("/")[0]
    base = S3Place(place.bucket, folder)
    rest = place.prefix[len(folder) :].strip("/")
    form = _pattern(rest)
    objects = []
    for item in S3Place(place.bucket).listing(place.prefix[:wild]):
        name = base.name(item.key)
        inside = form.match(name)
        if inside is None or not item.bytes or is_hidden(PurePosixPath(name)):
            continue
        if inside.end() == len(name) or _is_wanted(base, item, file_format):
            objects.append(item)
    return ObjectSet(base, tuple(objects))


def _is_wanted(place: S3Place, item: S3Object, file_format: str) -> bool:
    name = PurePosixPath(place.name(item.key))
    has_ending = name.name.lower().endswith(SUFFIXES[file_format])
    return has_ending and item.bytes > 0 and not is_hidden(name)


def _pattern(glob: str) -> re.Pattern[str]:
    """A glob that matches a whole name, or a folder above it."""
    text = ""
    for part in re.split(r"(\*\*/?|\*|\?|\[[^\]/]+\])", glob):
        if part.startswith("**"):
            text += "(?:[^/]+/)*" if part.endswith("/") else ".*"
        elif part in {"*", "?"}:
            text += "[^/]*" if part == "*" else "[^/]"
        elif part.startswith("[") and part.endswith("]"):
            text += part.replace("[!", "[^", 1)
        else:
            text += re.escape(part)
    return re.compile(f"{text}(?=/|$)")


def _refuse_clashes(found: ObjectSet, context: SourceContext) -> None:
    """Refuse names that are different keys and one file, or a file and a folder."""
    paths = [PurePosixPath(found.name(item)).as_posix() for item in found.objects]
    folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    for item, path in zip(found.objects, paths, strict=True):
        if path != found.name(item) or path in folders:
            raise SourceError(
                "an object's name cannot be a file's",
                where=context.where,
                found=f"{found.place.uri}/{found.name(item)}",
                expected="names without empty parts, none of which is another's folder",
                fix="write the object under another name",
            )
