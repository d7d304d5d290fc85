"""Write, audit, publish: a table becomes visible only after it was checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import EmptyDataError, StoreError
from mlops_assets.tables.executor_tasks import RemoteFile
from mlops_assets.tables.executors import (
    folder_files,
    is_elsewhere,
    profile_remote,
    read_folder,
    uses_executors,
    write_remote,
)
from mlops_assets.tables.profile import TableProfile, profile
from mlops_assets.tables.shared_folder import parquet_writer, write_counted
from resources.manifest import Column, Draft, FileEntry, Manifest
from resources.s3_folder import S3Folder
from resources.s3_store import S3Store
from resources.store import Store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PROFILE = "profile"
"""Where a manifest's metadata keep the profile."""

MAX_ROWS_PER_FILE = 5_000_000

Check = Callable[["DataFrame", TableProfile], Mapping[str, Any] | None]
"""Judges staged data; raises QualityError to refuse their publication, else returns metadata."""


@dataclass(frozen=True)
class TableTarget:
    """Where a table is published, and under which identity.

    Attributes:
        store: The store.
        collection: The collection in it.
        inputs_digest: Identity of what the table is made from.
        pii: Columns with personal data.
        metadata: What the manifest says besides the profile.
    """

    store: Store
    collection: str
    inputs_digest: str
    pii: tuple[str, ...]
    metadata: Mapping[str, Any]


@contextmanager
def table_staging(store: Store, collection: str, spark: SparkSession) -> Iterator[Path | S3Folder]:
    """A private place that whoever computes can write to, for a block.

    It is a folder of this machine or of a shared file system; in S3, where a cluster computes.
    """
    if isinstance(store, S3Store) and uses_executors(spark, store):
        with store.folder(collection) as remote:
            yield remote
    else:
        with store.staging(collection) as local:
            yield local


def stage_table(df: DataFrame, folder: Path | S3Folder) -> DataFrame:
    """Write a table as Parquet into a folder, and open what was written.

    Raises:
        StoreError: S3 cannot be written.
        EnvironmentProblemError: A cluster's machines do not share the folder.
    """
    if isinstance(folder, S3Folder):
        write_remote(df, folder, MAX_ROWS_PER_FILE)
        return read_folder(df.sparkSession, folder, df.schema)
    if is_elsewhere(df.sparkSession):
        write_counted(df, folder, rows_per_file=MAX_ROWS_PER_FILE)
    else:
        parquet_writer(df, MAX_ROWS_PER_FILE).parquet(str(folder))
    _tidy(folder)
    return df.sparkSession.read.parquet(str(folder))


def publish_table(
    staged: DataFrame, folder: Path | S3Folder, target: TableTarget, *, check: Check
) -> tuple[Manifest, TableProfile]:
    """Profile and check a staged table, then publish it.

    Content that was published before is not stored again: a new manifest points at it, and only
    if there is something new to remember.

    Args:
        staged: What :func:`stage_table` returned.
        folder: Where it lies.
        target: Where it goes.
        check: The judge.

    Raises:
        EmptyDataError: There are no rows.
        QualityError: The check refuses the data; nothing is published.
    """
    files: Sequence[Path] | Sequence[RemoteFile]
    if isinstance(folder, S3Folder):
        files = folder_files(folder)
    else:
        files = sorted(folder.glob("*.parquet"))
    found, metadata = _audited(staged, files, target, check)

    def publish(draft: Draft) -> Manifest:
        return publish_staged(target.store, target.collection, folder, draft)

    return _publish(publish, target, found, metadata), found


def publish_staged(
    store: Store, collection: str, folder: Path | S3Folder, draft: Draft, name: str | None = None
) -> Manifest:
    """Make a staged folder the newest version, or the one of that name.

    Raises:
        AlreadyExistsError: The name is taken.
        StoreError: It could not be written; nothing is visible.
    """
    if isinstance(folder, S3Folder):
        if not isinstance(store, S3Store):
            raise TypeError("a folder in S3 belongs to a store in S3")
        return store.publish_folder(collection, folder, draft, name)
    if name is None:
        return store.publish(collection, folder, draft)
    return store.publish_as(collection, name, folder, draft)


def staged_rows(folder: Path | S3Folder) -> int:
    """How many rows :func:`stage_table` wrote."""
    import pyarrow.parquet as pq

    if isinstance(folder, S3Folder):
        return folder.rows
    return sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))


def combine_tables(
    table: DataFrame,
    files: Sequence[Path] | Sequence[RemoteFile],
    entries: Sequence[FileEntry],
    target: TableTarget,
    *,
    check: Check,
) -> tuple[Manifest, TableProfile]:
    """Profile and check files that are in the store, then make them one version.

    Args:
        table: The files as one table.
        files: Where they lie.
        entries: What they are in the store, with their folders.
        target: Where the version goes.
        check: The judge.

    Raises:
        EmptyDataError: There are no rows.
        QualityError: The check refuses the data; nothing is published.
    """
    found, metadata = _audited(table, files, target, check)

    def publish(draft: Draft) -> Manifest:
        return target.store.combine(target.collection, entries, draft)

    return _publish(publish, target, found, metadata), found


@dataclass(frozen=True)
class Part:
    """Staged rows that become a version together with those of earlier parts.

    Attributes:
        folder: Where the new rows lie.
        collection: Where parts are published.
        draft: What the new part's manifest says.
        kept: The earlier parts.
    """

    folder: Path
    collection: str
    draft: Draft
    kept: tuple[Manifest, ...]


def extend_table(
    table: DataFrame, part: Part, target: TableTarget, *, check: Check
) -> tuple[Manifest, TableProfile]:
    """Profile and check a table of old and new parts, then publish the new part and the table.

    Args:
        table: The staged rows and those of the earlier parts.
        part: The staged rows.
        target: Where the whole table goes; its metadata get the parts' numbers under ``parts``.
        check: The judge.

    Raises:
        EmptyDataError: There are no rows.
        QualityError: The check refuses the data; nothing is published.
    """
    store = target.store
    earlier = [path for manifest in part.kept for path in store.files(manifest)]
    new = sorted(part.folder.glob("*.parquet"))
    found, metadata = _audited(table, [*earlier, *new], target, check)
    parts = [*part.kept]
    if new:
        parts.append(store.publish(part.collection, part.folder, part.draft))
    metadata["parts"] = [manifest.sequence for manifest in parts]
    entries = [entry for manifest in parts for entry in manifest.entries]

    def publish(draft: Draft) -> Manifest:
        return store.combine(target.collection, entries, draft)

    return _publish(publish, target, found, metadata), found


def _audited(
    table: DataFrame,
    files: Sequence[Path] | Sequence[RemoteFile],
    target: TableTarget,
    check: Check,
) -> tuple[TableProfile, dict[str, Any]]:
    columns = [Column(name=f.name, type=f.dataType.simpleString()) for f in table.schema]
    found = _profile(table, files, columns, target.pii)
    if found.rows == 0:
        raise EmptyDataError(
            "there are no rows",
            where=target.collection,
            expected="at least one row",
            fix="look at the source and at the query's conditions; the version before stays",
        )
    verdict = check(table, found) or {}
    return found, {**target.metadata, PROFILE: found.to_dict(), **verdict}


def _profile(
    table: DataFrame,
    files: Sequence[Path] | Sequence[RemoteFile],
    columns: Sequence[Column],
    pii: Sequence[str],
) -> TableProfile:
    """The profile, made where the files are."""
    local = [file for file in files if isinstance(file, Path)]
    remote = [file for file in files if isinstance(file, RemoteFile)]
    if remote:
        return profile_remote(table.sparkSession, remote, columns, pii)
    return profile(local, columns, pii=pii)


def reusable(store: Store, collection: str, inputs_digest: str) -> Manifest | None:
    """The newest version, if it was made from the same inputs and its files are whole."""
    latest = store.latest(collection)
    if latest is None or latest.inputs_digest != inputs_digest or not _is_whole(store, latest):
        return None
    return latest


def stored_profile(manifest: Manifest) -> TableProfile:
    """The profile under which a version was published."""
    return TableProfile.from_dict(manifest.metadata[PROFILE])


def seconds_since(started: float) -> float:
    """Seconds since a reading of ``time.perf_counter``."""
    return round(time.perf_counter() - started, 3)


def _publish(
    publish: Callable[[Draft], Manifest],
    target: TableTarget,
    found: TableProfile,
    metadata: dict[str, Any],
) -> Manifest:
    store = target.store
    latest = store.latest(target.collection)
    same = store.find(target.collection, found.data_version)
    if same is None or not _is_whole(store, same):
        draft = Draft(
            data_version=found.data_version,
            inputs_digest=target.inputs_digest,
            rows=found.rows,
            columns=found.columns,
            metadata=metadata,
        )
        return publish(draft)
    is_known = same.inputs_digest == target.inputs_digest and same.metadata == metadata
    if is_known and latest is not None and latest.sequence == same.sequence:
        return same
    return store.republish(same, inputs_digest=target.inputs_digest, metadata=metadata)


def _is_whole(store: Store, manifest: Manifest) -> bool:
    """Whether a version's files are there; a damaged version is made again, not trusted."""
    try:
        store.inspect(manifest)
    except StoreError:
        return False
    return True


def _tidy(folder: Path) -> None:
    """Keep the data files only, under short names in Spark's order."""
    parts = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".parquet" and not path.name.startswith((".", "_")):
            parts.append(path)
        elif path.is_file():
            path.unlink()
    for number, path in enumerate(parts):
        path.rename(folder / f"part-{number:05d}.parquet")
