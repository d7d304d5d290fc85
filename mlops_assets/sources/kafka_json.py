"""JSON messages, parsed many at a time, and one at a time only where one of them is bad."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlops_assets.sources.kafka_arrow import Decoded, arrow_schema
from mlops_assets.sources.kafka_framing import HEADER_BYTES, schema_number
from mlops_assets.sources.kafka_json_blocks import JsonBlocks
from mlops_assets.sources.kafka_json_checks import BAD_JSON, JsonChecks
from mlops_assets.sources.kafka_rows import PoisonError

if TYPE_CHECKING:
    import pyarrow as pa

_SPACE = b" \t\r\n"


class JsonDecoder:
    """One JSON object a message, held to the declared types.

    Args:
        columns: Declared Spark SQL types.
        is_framed: Whether messages begin with a schema id, which is not looked at: the declared
            types are the schema.
    """

    def __init__(self, columns: Mapping[str, str], *, is_framed: bool = False) -> None:
        self._is_framed = is_framed
        self._schema = arrow_schema(columns)
        self._blocks = JsonBlocks(self._schema)
        self._checks = JsonChecks(columns)

    def decode(self, values: list[bytes]) -> Decoded:
        """Read messages."""
        import pyarrow as pa

        rejected: dict[int, str] = {}
        tables: list[pa.Table] = []
        rows: list[int] = []
        whole: list[tuple[int, bytes]] = []
        for index, value in enumerate(values):
            try:
                text = self._text(value)
            except PoisonError as error:
                rejected[index] = str(error)
                continue
            if text[:1] != b"{":
                rejected[index] = BAD_JSON
            elif text[1:2] == b"}" or (text[1:2] in _SPACE and text[1:].lstrip()[:1] == b"}"):
                rejected[index] = "none of the declared columns"
            else:
                whole.append((index, text))
        self._decode(whole, tables, rows, rejected)
        table = pa.concat_tables(tables) if tables else self._schema.empty_table()
        return Decoded(table, rows, rejected)

    def _text(self, value: bytes) -> bytes:
        if self._is_framed:
            schema_number(value, "JSON")
            value = value[HEADER_BYTES:]
        return value if value[:1] == b"{" else value.lstrip(_SPACE)

    def _decode(
        self,
        messages: list[tuple[int, bytes]],
        tables: list[pa.Table],
        rows: list[int],
        rejected: dict[int, str],
    ) -> None:
        """Parse all at once; where that fails, judge each, and parse the good ones at once."""
        if self._parse(messages, tables, rows):
            return
        good = []
        for index, text in messages:
            reason = self._checks.reason(text)
            if reason is None:
                good.append((index, text))
            else:
                rejected[index] = reason
        self._halve(good, tables, rows, rejected)

    def _parse(
        self,
        messages: list[tuple[int, bytes]],
        tables: list[pa.Table],
        rows: list[int],
        *,
        is_json: bool = False,
    ) -> bool:
        """Whether all could be parsed at once; then they are added."""
        if not messages:
            return True
        table = self._blocks.read([text for _, text in messages], is_json=is_json)
        if table is not None:
            tables.append(table)
            rows.extend(index for index, _ in messages)
        return table is not None

    def _halve(
        self,
        messages: list[tuple[int, bytes]],
        tables: list[pa.Table],
        rows: list[int],
        rejected: dict[int, str],
    ) -> None:
        """Parse all at once; where that fails, each half for itself.

        It does not fail unless a check is more lenient than the parser, whose word is the last.
        """
        if self._parse(messages, tables, rows, is_json=True):
            return
        if len(messages) == 1:
            index, text = messages[0]
            rejected[index] = self._checks.slow_reason(text) or BAD_JSON
        else:
            middle = len(messages) // 2
            self._halve(messages[:middle], tables, rows, rejected)
            self._halve(messages[middle:], tables, rows, rejected)
