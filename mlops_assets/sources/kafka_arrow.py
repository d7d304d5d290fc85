"""Declared columns as Arrow types, and what every decoder of messages gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mlops_assets.config.spark_types import parse_spark_type
from mlops_assets.sources.arrow_types import arrow_type

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Decoded:
    """What a batch of messages holds.

    Attributes:
        table: The declared columns; a row for each message that could be read.
        rows: Which message each row is, in growing order.
        rejected: Which messages could not be read, and why, without any of their values.
    """

    table: pa.Table
    rows: list[int]
    rejected: dict[int, str]


class Decoder(Protocol):
    """A way to write messages."""

    def decode(self, values: list[bytes]) -> Decoded:
        """Read messages; what one of them holds never changes how another one is read.

        Raises:
            SourceError: Something that is needed to read any message is away.
        """
        ...


def arrow_schema(columns: Mapping[str, str]) -> pa.Schema:
    """Declared Spark SQL types as an Arrow schema."""
    import pyarrow as pa

    return pa.schema([(name, arrow_type(parse_spark_type(text))) for name, text in columns.items()])
