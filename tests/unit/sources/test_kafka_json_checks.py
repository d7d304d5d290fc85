"""Both ways to judge a JSON message, one by one and many at once, say the same."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pyarrow.json as pj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.sources.kafka_arrow import arrow_schema
from mlops_assets.sources.kafka_json import JsonDecoder
from mlops_assets.sources.kafka_json_blocks import JsonBlocks, has_no_number
from mlops_assets.sources.kafka_json_checks import BAD_JSON, JsonChecks, _object

COLUMNS = {
    "i": "int",
    "t": "tinyint",
    "l": "bigint",
    "f": "float",
    "d": "double",
    "n": "decimal(6,2)",
    "s": "string",
    "b": "boolean",
    "day": "date",
    "at": "timestamp",
    "local": "timestamp_ntz",
    "list": "array<int>",
    "times": "array<timestamp>",
    "place": "struct<lat:float, zip:string, n:array<decimal(4,0)>>",
}
NUMBERS = [
    *("0", "-0", "1", "-1", "127", "128", "-128", "-129", "2147483647", "2147483648", "1.0", "1e0"),
    *("9223372036854775807", "9223372036854775808", "1.5", "1.50", "1.500", "1e2", "1e-1", "00"),
    *("01", "1.", ".5", "+1", "1e308", "1.8e308", "1e309", "0e999", "0.00e309", "1e-400", "1e999"),
    *("3.4028235e38", "3.40282355e38", "3.4028236e38", "1e39", "1e-50", "NaN", "-NaN", "Inf"),
    *("-Infinity", "9" * 30, "9" * 400, "0." + "9" * 30, "9999.99", "10000", "1e4", "1e3", "0.001"),
    *("0.000", "0e5", "0e2", "10.000", "99999", "1" * 5000),
]
TEXTS = [
    *("", "x", "1", "1.5", "+1.5", ".5", "5.", "001.5", "0000001.5", "1e1", " 1", "-", "NaN"),
    *("2026-03-01", "2026-3-1", "2026-02-30", "0000-01-01", "0001-01-01", "9999-12-31", "20260301"),
    *("2026-03-01T12", "2026-03-01T12:00", "2026-03-01T12:00:00", "2026-03-01 12:00:00Z"),
    *("2026-03-01T12:00:00.", "2026-03-01T12:00:00.1", "2026-03-01T12:00:00.1234567"),
    *("2026-03-01T24:00:00", "2026-03-01T23:59:60", "2026-03-01T12:00:00z", "2026-03-01t12:00:00Z"),
    *("2026-03-01T12:00:00+02", "2026-03-01T12:00:00+0200", "2026-03-01T12:00:00+25:00"),
    *(
        "0000-01-01T00:00:00Z",
        "2026-03-01T12:00:00 Z",
        "２０２６-03-01",
        "2026-W01-1",
        "10000-01-01",
    ),
    *("2026-03-01T12:00:00.1Z", "2026-03-01T12Z", "2026-03-01T12:00Z", "2026-03-01T120000Z"),
]
RAW_TEXTS = [
    *(r'"\ud800"', r'"\udc00"', r'"\ud83d\ude00"', r'"\ud83d\\\ude00"', r'"\\ud800"', r'"\u0000"'),
    *(r'"\udc00\udc00"', r'"\udc00\ud800"', r'"\ud800\ud800\udc00"', r'"\ud800x\udc00"'),
    *(r'"\x"', '"\t"', '"\x7f"', '"\x00"', r'"\u00zz"', '"Infinity"', '", Inf,"', '"e123"'),
]

scalars = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS).map(json.dumps),
    st.sampled_from(RAW_TEXTS),
    st.sampled_from(["null", "true", "false", "nul"]),
    st.integers().map(str),
    st.floats().map(json.dumps),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.datetimes().map(lambda moment: json.dumps(moment.isoformat())),
    st.text().map(lambda text: json.dumps(text, ensure_ascii=False)),
)
spaces = st.sampled_from(["", "", "", " ", "\n", "\t\r", "\x0c"])


def object_of(names: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> Any:
    pair = st.builds("{}{}:{}{}".format, names.map(json.dumps), spaces, spaces, values)
    return st.lists(pair, max_size=4).map(lambda pairs: "{" + ",".join(pairs) + "}")


def list_of(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, max_size=3).map(lambda found: "[" + ", ".join(found) + "]")


names = st.sampled_from([*COLUMNS, "lat", "zip", "n", "other", ""])
values = st.recursive(scalars, lambda inner: st.one_of(list_of(inner), object_of(names, inner)))
fitting = st.sampled_from(
    [
        *('"i":1', '"f":1.5', '"n":"1.25"', '"s":"x"', '"at":"2026-03-01T12:00:00Z"', '"b":null'),
        *('"list":[1,null]', '"place":{"lat":1}', '"day":"2026-03-01"', '"times":["2026-03-01"]'),
    ]
)
pairs = st.one_of(fitting, st.builds('"{}":{}{}'.format, names, values, spaces))


@st.composite
def messages(draw: Callable[..., Any]) -> bytes:
    """Objects, many of them good, and some with a letter too many or too few."""
    text = "{" + ",".join(draw(st.lists(pairs, min_size=1, max_size=4))) + "}" + draw(spaces)
    if draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(1, len(text)))
        letter = draw(st.sampled_from(["", *'{}[]",:\\\n0e\x00 ']))
        text = text[:at] + letter + text[at + draw(st.integers(0, 1)) :]
    return text.encode("utf-8", "surrogatepass")


CHECKS, BLOCKS = JsonChecks(COLUMNS), JsonBlocks(arrow_schema(COLUMNS))


def is_one(text: bytes) -> bool:
    """Whether the decoder would look into it at all."""
    return text[:1] == b"{" and text[1:].lstrip(b" \t\r\n")[:1] != b"}"


def check_both(text: bytes) -> bool:
    """Whether both say that a message is good; fails where they differ."""
    is_good = CHECKS.reason(text) is None
    if not has_no_number(text):
        assert is_good == (BLOCKS.read([text]) is not None), text
    else:  # NaN, or text that looks like it: only the checks know
        assert not is_good or BLOCKS.read([text], is_json=True) is not None, text
    return is_good


@pytest.mark.parametrize("name", COLUMNS)
def test_every_odd_value_in_a_column(name: str) -> None:
    odd = [*NUMBERS, *map(json.dumps, TEXTS), *RAW_TEXTS, "null", "true", "[]", "{}", "[[1]]"]
    verdicts = [check_both(f'{{"{name}":{value}}}'.encode()) for value in odd]
    assert 2 <= sum(verdicts) < len(odd) / 2 or name == "s"
    inner = {"list": "[1,%s]", "times": "[%s]", "place": '{"lat":%s}'}.get(name)
    for value in odd if inner else ():
        check_both(f'{{"{name}":{inner % value}}}'.encode())


@settings(max_examples=300, deadline=None)
@given(messages().filter(is_one))
def test_a_message_alone(text: bytes) -> None:
    check_both(text)


@settings(max_examples=60, deadline=None)
@given(st.lists(messages(), max_size=8))
def test_neighbours_change_nothing(texts: list[bytes]) -> None:
    decoder = JsonDecoder(COLUMNS)
    together = decoder.decode(texts)
    alone = [decoder.decode([text]) for text in texts]
    assert together.rejected == {i: one.rejected[0] for i, one in enumerate(alone) if one.rejected}
    found = [str(row) for one in alone for row in one.table.to_struct_array().to_pylist()]
    assert list(map(str, together.table.to_struct_array().to_pylist())) == found


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the blocks that the parser was given."""
    found: list[int] = []
    read = pj.read_json

    def counted(source: Any, **options: Any) -> Any:
        found.append(source.size())
        return read(source, **options)

    monkeypatch.setattr(pj, "read_json", counted)
    return found


WIDE = {f"c{i}": "double" for i in range(20)}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (json.dumps(dict.fromkeys(WIDE, 1.5) | {"c19": "x"}).encode(), "c19 is not double"),
        (json.dumps(dict.fromkeys(WIDE, 1.5)).encode()[:-1], BAD_JSON),
        (b'{"c0":1,"c0":2}', "c0 is not double"),
        (rb'{"c0":1,"z":"\ud800"}', BAD_JSON),
        (b'{"c0":1,"z":NaN}', BAD_JSON),
    ],
)
@pytest.mark.parametrize("every", [1, 2, 100])
def test_bad_messages_cost_two_parses_more(
    parses: list[int], bad: bytes, reason: str, every: int
) -> None:
    good = json.dumps(dict.fromkeys(WIDE, 1.5)).encode()
    sent = [bad if i % every == 0 else good for i in range(2000)]
    decoded = JsonDecoder(WIDE).decode(sent)
    assert decoded.rejected == dict.fromkeys(range(0, 2000, every), reason)
    assert len(parses) <= 2


def test_odd_values_cost_one_small_parse_each_and_repeated_ones_none(parses: list[int]) -> None:
    sent = [b'{"at":"2026-03-01T12:0%d","x":%d}' % (i % 7, i) for i in range(1000)]
    decoder = JsonDecoder({"at": "timestamp", "x": "int"})
    assert decoder.decode([*sent, b'{"x":1.5}']).rejected == {1000: "x is not int"}
    assert len(parses) == 2 + 7
    assert max(sorted(parses)[:7]) < 100


@pytest.mark.parametrize(("inner", "is_good"), [("1", True), ('"1"', False)])
def test_a_depth_that_is_too_much_for_python(inner: str, is_good: bool) -> None:
    deep = '{{"z":{}{},"x":{}}}'.format("[" * 5000, "]" * 5000, inner).encode()
    decoded = JsonDecoder({"x": "int"}).decode([b'{"x":2}', deep, b'{"x":"bad"}'])
    assert decoded.rows == ([0, 1] if is_good else [0])
    assert decoded.rejected[2] == "x is not int"


def test_doubled_names_cost_no_more_than_others() -> None:
    names = [f"k{number}" for number in range(100_000)]
    text = "{" + ", ".join(f'"{name}": 1' for name in [*names, "k0"]) + "}"
    began = time.process_time()
    assert _object([(name, 1) for name in [*names, "k0"]]).names == {"k0"}
    assert json.loads(text, object_pairs_hook=_object).names == {"k0"}
    assert time.process_time() - began < 20  # to compare each with each takes hours
