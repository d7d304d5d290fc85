"""Records of windows: small JSON documents, each created once and never changed."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import AlreadyExistsError, StoreError
from mlops_assets.keys import ProjectId

if TYPE_CHECKING:
    from resources.store import Store

NAME_FORMAT = "%Y%m%dT%H%M%SZ"


def record_name(start: datetime) -> str:
    """Name of the record of a window: its start, in UTC."""
    return start.astimezone(UTC).strftime(NAME_FORMAT)


def parse_name(name: str) -> datetime:
    """The start of the window that a record is about."""
    return datetime.strptime(name, NAME_FORMAT).replace(tzinfo=UTC)


class Records:
    """One kind of record of a project, by name and in the order of names.

    Args:
        store: The store.
        project: Whose records.
        kind: ``windows``, ``performance``, ``decisions`` or ``outcomes``.
    """

    def __init__(self, store: Store, project: ProjectId, kind: str) -> None:
        self._store = store
        self._prefix = project.records_prefix(kind)

    def names(self) -> list[str]:
        """Names of all records, oldest window first."""
        keys = self._store.keys(self._prefix)
        return sorted(key.removeprefix(f"{self._prefix}/").removesuffix(".json") for key in keys)

    def read(self, name: str) -> dict[str, Any]:
        """One record.

        Raises:
            StoreError: There is none, or it was damaged.
        """
        return self._parsed(name, self._store.read(self._key(name)))

    def _parsed(self, name: str, body: bytes) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(body)
        except ValueError as error:
            raise StoreError(
                "a monitoring record cannot be read",
                where=self._key(name),
                found=str(error),
                fix="restore the file from a backup; records are never changed by the engine",
            ) from error
        return record

    def last(self, count: int) -> list[dict[str, Any]]:
        """The newest records, oldest of them first."""
        names = self.names()[-count:]
        bodies = self._store.read_all([self._key(name) for name in names])
        return [self._parsed(name, body) for name, body in zip(names, bodies, strict=True)]

    def create(self, name: str, record: dict[str, Any]) -> bool:
        """Write a record unless there is one.

        Returns:
            Whether it was written; otherwise another run was faster and its record stays.
        """
        body = json.dumps(_finite(record), sort_keys=True, allow_nan=False).encode()
        try:
            self._store.create(self._key(name), body)
        except AlreadyExistsError:
            return False
        return True

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}.json"


def _finite(value: Any) -> Any:
    """The same with None for what is no finite number: clients may log anything."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
