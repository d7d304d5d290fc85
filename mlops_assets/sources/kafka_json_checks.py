"""Which JSON message is bad, and why: each by itself, with the verdicts of the fast parser."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mlops_assets.sources.kafka_arrow import arrow_schema
from mlops_assets.sources.kafka_json_blocks import JsonBlocks

if TYPE_CHECKING:
    import pyarrow as pa

BAD_JSON = "not one valid JSON object in UTF-8"
Check = Callable[[Any], bool]

_LARGE_EXPONENT = re.compile(rb"\d[eE]\+?\d{3}")
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_PAIR = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(_DATE.pattern + r"([T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z?)?")
_DECIMAL = re.compile(r"-?([0-9]+)(?:\.([0-9]+))?")
_FLOAT32_END = (3.4028235e38, 3.4028236e38)
_SHORT = 100


class _Whole(str):
    """A number without point and exponent, as it is written."""

    __slots__ = ()


class _Fraction(str):
    """Another number, as it is written."""

    __slots__ = ()


class _Doubled(dict[str, Any]):
    """An object with names that are there twice."""

    names: frozenset[str]


class JsonChecks:
    """Says of one message why it does not fit the declared columns.

    It judges as :class:`JsonBlocks` does, which parses a thousand messages in the time that it
    takes to ask it about five. So what is plain is judged here, and it is asked about the rest:
    an unusual way to write a time or a decimal, or an exponent of three digits.

    Args:
        columns: Declared Spark SQL types.
    """

    def __init__(self, columns: Mapping[str, str]) -> None:
        import pyarrow as pa

        schema = arrow_schema(columns)
        self._columns = [(f.name, _check(f.type), columns[f.name]) for f in schema]
        self._singles = [(f.name, JsonBlocks(pa.schema([f]))) for f in schema]
        self._types = dict(columns)
        self._bare = JsonBlocks(pa.schema([]))
        self._decoder = json.JSONDecoder(
            object_pairs_hook=_object,
            parse_float=_Fraction,
            parse_int=_Whole,
            parse_constant=_refuse_constant,
        )

    def reason(self, text: bytes) -> str | None:
        """Why a message is bad, without its values; None when it is good.

        Args:
            text: The message, which begins with a brace.
        """
        try:
            found = self._decoder.decode(text.decode())
        except RecursionError:
            return self.slow_reason(text)
        except ValueError:
            return BAD_JSON
        if _has_lone_surrogate(text) or self._is_too_large(text):
            return BAD_JSON
        doubled = found.names if type(found) is _Doubled else ()
        for name, is_good, kind in self._columns:
            if name in doubled or not is_good(found.get(name)):
                return f"{name} is not {kind}"
        return None

    def slow_reason(self, text: bytes) -> str | None:
        """The same by the fast parser alone, which needs many times as long for one message."""
        if self._bare.read([text], is_json=True) is None:
            return BAD_JSON
        for name, column in self._singles:
            if column.read([text], is_json=True) is None:
                return f"{name} is not {self._types[name]}"
        return None

    def _is_too_large(self, text: bytes) -> bool:
        """Whether a number's exponent is one that the parser refuses, wherever it stands."""
        may_be = _LARGE_EXPONENT.search(text) is not None
        return may_be and self._bare.read([text], is_json=True) is None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    times = Counter(name for name, _ in pairs)
    doubled = _Doubled(found)
    doubled.names = frozenset(name for name, count in times.items() if count > 1)
    return doubled


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _has_lone_surrogate(text: bytes) -> bool:
    """Whether half a character is escaped, which no UTF-8 can hold."""
    if _ESCAPED_SURROGATE.search(text) is None:
        return False
    without_pairs = _PAIR.sub(b"", text.replace(b"\\\\", b"__"))
    return _ESCAPED_SURROGATE.search(without_pairs) is not None


def _check(kind: pa.DataType) -> Check:
    """Whether a value fits a type; null fits every one."""
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return lambda value: value is None or value is True or value is False
    if pa.types.is_string(kind):
        return lambda value: value is None or type(value) is str
    if pa.types.is_integer(kind):
        return _whole_check(kind.bit_width)
    if pa.types.is_floating(kind):
        return _float_check(kind)
    if pa.types.is_decimal(kind):
        return _decimal_check(kind)
    if pa.types.is_date(kind):
        return _date_check(kind)
    if pa.types.is_timestamp(kind):
        return _time_check(kind)
    if pa.types.is_list(kind):
        return _list_check(kind)
    return _struct_check(kind)


def _whole_check(bits: int) -> Check:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def check(value: Any) -> bool:
        if type(value) is _Whole:
            return len(value) <= 20 and low <= int(value) <= high
        return value is None

    return check


def _float_check(kind: pa.DataType) -> Check:
    low, high = _FLOAT32_END if kind.bit_width == 32 else (math.inf, math.inf)
    ask = _asking(kind)

    def check(value: Any) -> bool:
        if type(value) is _Fraction or type(value) is _Whole:
            size = abs(float(value))
            return size < low or (size < high and ask(value))
        return value is None

    return check


def _decimal_check(kind: pa.DataType) -> Check:
    whole_digits, scale = kind.precision - kind.scale, kind.scale
    ask = _asking(kind)

    def check(value: Any) -> bool:
        if not isinstance(value, str):
            return value is None
        plain = _DECIMAL.fullmatch(value)
        if plain is None:
            return ask(value)
        whole, digits = plain[1].lstrip("0"), plain[2] or ""
        if len(whole) > whole_digits or len(digits.rstrip("0")) > scale:
            return False
        return (len(digits) <= scale and len(plain[1]) <= whole_digits) or ask(value)

    return check


def _date_check(kind: pa.DataType) -> Check:
    ask = _asking(kind)

    def check(value: Any) -> bool:
        if type(value) is not str:
            return value is None
        if _DATE.fullmatch(value) is None:
            return False
        return _is_iso(date.fromisoformat, value) or (value.startswith("0000") and ask(value))

    return check


def _time_check(kind: pa.DataType) -> Check:
    ask = _asking(kind)

    def check(value: Any) -> bool:
        if type(value) is not str:
            return value is None
        if _TIME.fullmatch(value) and _is_iso(datetime.fromisoformat, value):
            return True
        return _DATE.match(value) is not None and ask(value)

    return check


def _list_check(kind: pa.DataType) -> Check:
    is_good = _check(kind.value_type)
    return lambda value: value is None or (type(value) is list and all(map(is_good, value)))


def _struct_check(kind: pa.DataType) -> Check:
    fields = [(field.name, _check(field.type)) for field in kind]

    def check(value: Any) -> bool:
        if not isinstance(value, dict):
            return value is None
        if type(value) is _Doubled and any(name in value.names for name, _ in fields):
            return False
        return all(is_good(value.get(name)) for name, is_good in fields)

    return check


def _is_iso(parse: Callable[[str], object], value: str) -> bool:
    try:
        parse(value)
    except ValueError:
        return False
    return True


def _asking(kind: pa.DataType) -> Check:
    """A check of one number or text by the parser; bad ones often repeat, so it remembers."""
    import pyarrow as pa

    blocks = JsonBlocks(pa.schema([pa.field("v", kind)]))

    def ask(written: str) -> bool:
        return blocks.read([b'{"v":%b}' % written.encode()], is_json=True) is not None

    remembered = lru_cache(maxsize=10_000)(ask)

    def check(value: str) -> bool:
        written = json.dumps(value, ensure_ascii=False) if type(value) is str else str(value)
        return remembered(written) if len(written) <= _SHORT else ask(written)

    return check
