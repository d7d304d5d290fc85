"""A source never reads the engine's own store, where every team's data lie.

Addresses are compared as what they mean: without doubled slashes, ``.`` and ``..``, and through
links; and so is everything that was found, because a glob or a folder may reach further than it
looks.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from pathlib import Path

from mlops_assets.errors import SourceError
from mlops_assets.sources.base import SourceContext
from resources.s3 import S3Place
from resources.settings import Settings


def refuse_store_keys(bucket: str, keys: Iterable[str], context: SourceContext) -> None:
    """Refuse keys that are the store's, or folders in it.

    Args:
        bucket: Their bucket.
        keys: Whole keys, or prefixes.
        context: Whose source it is.

    Raises:
        SourceError: One of them lies in the store.
    """
    store = _settings(context).store_uri
    if not store.startswith("s3://"):
        return
    place = S3Place.parse(store)
    if bucket != place.bucket:
        return
    root = _plain(place.prefix)
    for key in keys:
        if f"{_plain(key)}/".startswith(f"{root}/" if root else ""):
            raise _refusal(f"s3://{bucket}/{key}", context)


def refuse_store_files(files: Iterable[Path], context: SourceContext) -> None:
    """Refuse files of a store in a folder, and copies of what lies in a store in S3.

    Raises:
        SourceError: One of them is the engine's own.
    """
    settings = _settings(context)
    own = [settings.home / "cache"]
    if not settings.store_uri.startswith("s3://"):
        own.append(Path(settings.store_uri.removeprefix("file://")))
    folders = [folder.resolve() for folder in own]
    for file in files:
        real = file.resolve()
        if any(real.is_relative_to(folder) for folder in folders):
            raise _refusal(str(file), context)


def _settings(context: SourceContext) -> Settings:
    """The settings of the workspace that the project lies in."""
    return Settings.from_environment(root=context.project_directory.parents[2])


def _plain(key: str) -> str:
    """A key as servers take it that read it as a path."""
    return posixpath.normpath(f"/{key}").strip("/")


def _refusal(found: str, context: SourceContext) -> SourceError:
    return SourceError(
        "a source cannot read the engine's own store",
        where=context.where,
        found=found,
        expected="an address outside MLOPS_STORE_URI and MLOPS_HOME/cache",
        fix="read the data where their owner publishes them",
    )
