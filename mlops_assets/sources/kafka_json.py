"""JSON messages, parsed many at a time, and one at a time only where one of them is bad."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlops_assets.sources.kafka_arrow import Decoded, arrow_schema
from mlops_assets.sources.kafka_framing import HEADER_BYTES, schema_number
from mlops_assets.sources.kafka_rows import PoisonError

if TYPE_CHECKING:
    import pyarrow as pa

_SPACE = b" \t\r\n"
_BAD_JSON = "not one valid JSON object in UTF-8"


class JsonDecoder:
    """One JSON object a message, held to the declared types.

    Args:
        columns: Declared Spark SQL types.
        is_framed: Whether messages begin with a schema id, which is not looked at: the declared
            types are the schema.
    """

    def __init__(self, columns: Mapping[str, str], *, is_framed: bool = False) -> None:
        import pyarrow as pa

        self._is_framed = is_framed
        self._columns = dict(columns)
        self._schema = arrow_schema(columns)
        # Dates are JSON text; the parser would take them for numbers of days.
        as_read = [
            pa.field(f.name, pa.string()) if pa.types.is_date(f.type) else f for f in self._schema
        ]
        # No message can know this name, so that none can pass for two, nor two for one.
        self._marker = f"_{secrets.token_hex(16)}"
        self._opening = f'{{"{self._marker}":'.encode()
        self._read_schema = pa.schema([pa.field(self._marker, pa.int64()), *as_read])

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
                rejected[index] = _BAD_JSON
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
        """Parse all at once; where that fails, each half for itself."""
        if not messages:
            return
        table = self._parse([text for _, text in messages], self._read_schema)
        if table is not None:
            tables.append(self._cast(table))
            rows.extend(index for index, _ in messages)
        elif len(messages) == 1:
            index, text = messages[0]
            rejected[index] = self._reason(text)
        else:
            middle = len(messages) // 2
            self._decode(messages[:middle], tables, rows, rejected)
            self._decode(messages[middle:], tables, rows, rejected)

    def _parse(self, texts: list[bytes], schema: pa.Schema) -> pa.Table | None:
        """The messages' rows, or None unless each one is exactly one row of the right types."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.json as pj

        opening = self._opening
        block = b"\n".join([b"%b%d,%b" % (opening, i, t[1:]) for i, t in enumerate(texts)])
        try:
            str(block, "utf-8")
            table = pj.read_json(
                pa.BufferReader(block),
                read_options=pj.ReadOptions(use_threads=False, block_size=len(block) + 1),
                parse_options=pj.ParseOptions(
                    explicit_schema=schema, unexpected_field_behavior="ignore"
                ),
            )
            for field in schema:
                if field.name in self._schema.names:
                    table[field.name].cast(self._schema.field(field.name).type)
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        expected = pa.array(range(len(texts)), pa.int64())
        markers = table[self._marker].combine_chunks()
        if len(markers) != len(expected) or markers.null_count:
            return None
        return table if pc.all(pc.equal(markers, expected)).as_py() else None

    def _cast(self, table: pa.Table) -> pa.Table:
        return table.select(self._schema.names).cast(self._schema)

    def _reason(self, text: bytes) -> str:
        """Why a message is bad: a column and its type, never its value."""
        import pyarrow as pa

        marker = self._read_schema.field(0)
        if self._parse([text], pa.schema([marker])) is None:
            return _BAD_JSON
        for field in list(self._read_schema)[1:]:
            if self._parse([text], pa.schema([marker, field])) is None:
                return f"{field.name} is not {self._columns[field.name]}"
        return _BAD_JSON
