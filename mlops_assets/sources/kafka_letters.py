"""The file of messages that could not be taken."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import IO, Any

_MAX_PAYLOAD_BYTES = 4096


class DeadLetters:
    """Writes one JSON line for each message; the file is there when there is one.

    Args:
        path: The file.
        has_payload: Whether keys and values may be kept: not where columns are personal data.
    """

    def __init__(self, path: Path, *, has_payload: bool) -> None:
        self.count = 0
        self._path = path
        self._has_payload = has_payload
        self._output: IO[str] | None = None

    def add(
        self,
        place: tuple[int, int],
        timestamp: int | None,
        reason: str,
        content: tuple[bytes | None, bytes | None],
    ) -> None:
        """Write a message.

        Args:
            place: Partition and offset.
            timestamp: The broker's, in milliseconds since 1970.
            reason: Why, without values.
            content: Key and value.
        """
        line: dict[str, Any] = {
            "partition": place[0],
            "offset": place[1],
            "timestamp": timestamp,
            "reason": reason,
        }
        if self._has_payload:
            for name, data in zip(("key", "value"), content, strict=True):
                line[name] = None if data is None else _encoded(data)
                line[f"{name}_bytes"] = None if data is None else len(data)
        if self._output is None:
            self._output = self._path.open("w", encoding="utf-8")
        self._output.write(json.dumps(line) + "\n")
        self.count += 1

    def close(self) -> None:
        """End the file."""
        if self._output is not None:
            self._output.close()


def _encoded(data: bytes) -> str:
    return base64.b64encode(data[:_MAX_PAYLOAD_BYTES]).decode()
