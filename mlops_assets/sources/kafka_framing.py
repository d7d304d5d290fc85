"""Confluent's framing: what a message begins with when its schema is in a registry.

One zero byte and the schema's number in four bytes, big-endian; in Protobuf then the place of the
message in its file (https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format).
"""

from __future__ import annotations

from mlops_assets.sources.kafka_rows import PoisonError

HEADER_BYTES = 5
_MOST_INDEXES = 100


def schema_number(value: bytes, kind: str) -> int:
    """The number of the schema that a message was written with.

    Raises:
        PoisonError: The message does not begin so.
    """
    if len(value) < HEADER_BYTES or value[0] != 0:
        raise PoisonError(f"not {kind} in Confluent's framing")
    return int.from_bytes(value[1:HEADER_BYTES], "big")


def message_indexes(value: bytes) -> tuple[tuple[int, ...], int]:
    """Which message of its file a Protobuf message is, and where its bytes begin.

    Returns:
        Number of the message in the file, then of the message in that one, and so on; the file's
        first message is written as a single ``0``.

    Raises:
        PoisonError: The message does not begin so.
    """
    schema_number(value, "Protobuf")
    count, at = _varint(value, HEADER_BYTES)
    if not 0 <= count <= _MOST_INDEXES:
        raise PoisonError("not Protobuf in Confluent's framing")
    indexes = []
    for _ in range(count):
        index, at = _varint(value, at)
        indexes.append(index)
    return tuple(indexes) or (0,), at


def _varint(value: bytes, at: int) -> tuple[int, int]:
    """A zigzag number and the position after it."""
    number = shift = 0
    while at < len(value) and shift < 35:
        byte = value[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
    raise PoisonError("not Protobuf in Confluent's framing")
