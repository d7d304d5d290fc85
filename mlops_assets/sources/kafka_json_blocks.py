"""Many JSON messages parsed as one block by Arrow: fast, and silent about which one is bad."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_NO_NUMBER = re.compile(rb"[:,\[\s]-?(?:NaN|Inf(?:inity)?)\s*[,\]}]")
"""What Arrow's parser takes for a number and JSON does not have."""


class JsonBlocks:
    """A parser of messages with the same columns.

    Args:
        schema: The columns.
    """

    def __init__(self, schema: pa.Schema) -> None:
        import pyarrow as pa

        self._schema = schema
        # Dates are JSON text; the parser would take them for numbers of days.
        as_read = [pa.field(f.name, pa.string()) if pa.types.is_date(f.type) else f for f in schema]
        # No message can know this name, so that none can pass for two, nor two for one.
        self._marker = f"_{secrets.token_hex(16)}"
        self._opening = f'{{"{self._marker}":'.encode()
        self._read_schema = pa.schema([pa.field(self._marker, pa.int64()), *as_read])

    def read(self, texts: list[bytes], *, is_json: bool = False) -> pa.Table | None:
        """The messages' rows, or None unless each one is exactly one row of the right types.

        Args:
            texts: Messages; each begins with a brace, and has something between its braces.
            is_json: It is known that none of them holds what only looks like a number.
        """
        import pyarrow as pa

        opening = self._opening
        block = b"\n".join([b"%b%d,%b" % (opening, i, t[1:]) for i, t in enumerate(texts)])
        if not is_json and has_no_number(block):
            return None
        try:
            str(block, "utf-8")
            table = self._parse(block)
            if not self._is_a_row_each(table, len(texts)):
                return None
            table = table.select(self._schema.names).cast(self._schema)
        except (pa.ArrowException, UnicodeDecodeError):
            return None
        return table if all(map(_is_exact, table.columns)) else None

    def _parse(self, block: bytes) -> pa.Table:
        import pyarrow as pa
        import pyarrow.json as pj

        return pj.read_json(
            pa.BufferReader(block),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=self._read_schema, unexpected_field_behavior="ignore"
            ),
        )

    def _is_a_row_each(self, table: pa.Table, count: int) -> bool:
        import pyarrow as pa
        import pyarrow.compute as pc

        markers = table[self._marker].combine_chunks()
        if len(markers) != count or markers.null_count:
            return False
        return bool(pc.all(pc.equal(markers, pa.array(range(count), pa.int64()))).as_py())


def has_no_number(text: bytes) -> bool:
    """Whether NaN or an infinity stands where a value does, or where text looks like that."""
    may_have = b"NaN" in text or b"Inf" in text  # the pattern alone would cost a tenth of all time
    return may_have and _NO_NUMBER.search(text) is not None


def _is_exact(values: pa.ChunkedArray | pa.Array) -> bool:
    """Whether no number is one only by overflow: Arrow gives infinities and too many digits."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_floating(kind):
        return pc.all(pc.is_finite(values)).as_py() is not False
    if pa.types.is_decimal(kind):
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            return False
    if pa.types.is_list(kind):
        return _is_exact(pc.list_flatten(values))
    if pa.types.is_struct(kind):
        return all(_is_exact(pc.struct_field(values, at)) for at in range(kind.num_fields))
    return True
