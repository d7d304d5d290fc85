"""What a store says about a version: its files, columns and identity."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class Column(BaseModel):
    """A column of a data set; its type in Spark SQL's words."""

    model_config = ConfigDict(frozen=True)

    name: str
    type: str
    nullable: bool = True


class FileEntry(BaseModel):
    """A file of a version.

    Attributes:
        path: Its path in its folder.
        bytes: Its size.
        sha256: Its content.
        location: Its folder, relative to the store's root, when that is another version's.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    bytes: int
    sha256: str
    location: str | None = None


class Draft(BaseModel):
    """What a writer says about a version that it wants to publish.

    Attributes:
        data_version: ``sha256:<hex>`` of the content.
        inputs_digest: Identity of what the content was made from.
        rows: Number of rows, where that makes sense.
        columns: The columns, where that makes sense.
        metadata: JSON for people and for later steps.
    """

    model_config = ConfigDict(frozen=True)

    data_version: str
    inputs_digest: str | None = None
    rows: int | None = None
    columns: tuple[Column, ...] = ()
    metadata: dict[str, Any] = {}


class Manifest(Draft):
    """A published version.

    Attributes:
        collection: What it is a version of.
        sequence: Its number in the collection, from 1; 0 for one that has a name instead.
        name: Its name in the collection, for one that has no number.
        location: Its folder, relative to the store's root; empty when all its files lie in other
            versions' folders.
        created_at: When it was published (UTC).
        files: Every file.
    """

    collection: str
    sequence: int
    location: str
    created_at: datetime
    files: tuple[FileEntry, ...]
    name: str | None = None

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        """Every file, with its folder."""
        return tuple(
            entry.model_copy(update={"location": entry.location or self.location})
            for entry in self.files
        )
