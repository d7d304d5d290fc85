"""Small documents from S3, each asked for once by a process."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict

from resources.s3 import S3Place
from resources.s3_client import endpoint

_MAX_BODY_BYTES = 1024 * 1024


class Documents:
    """The documents that this process read last; keys are created once and stay.

    Args:
        most_bytes: So much is remembered at most.

    Only whole JSON is remembered: what is damaged is asked for again, so that a repaired key is
    seen without a restart.
    """

    def __init__(self, most_bytes: int = 64 * 1024 * 1024) -> None:
        self._most_bytes = most_bytes
        self._bodies: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, place: S3Place, key: str) -> bytes:
        """The body of a key, from memory where it is there."""
        name = _named(place, key)
        with self._lock:
            if name in self._bodies:
                self._bodies.move_to_end(name)
                return self._bodies[name]
        body = place.read(key)
        if len(body) <= _MAX_BODY_BYTES and _is_json(body):
            with self._lock:
                self._drop(name)
                self._bodies[name] = body
                self._bytes += len(body)
                while self._bytes > self._most_bytes:
                    self._drop(next(iter(self._bodies)))
        return body

    def forget(self, place: S3Place, key: str) -> None:
        """Ask for a key again when it is next read."""
        with self._lock:
            self._drop(_named(place, key))

    def _drop(self, name: tuple[str, str, str]) -> None:
        self._bytes -= len(self._bodies.pop(name, b""))


def _named(place: S3Place, key: str) -> tuple[str, str, str]:
    return (endpoint(), place.bucket, place.key(key))


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True
