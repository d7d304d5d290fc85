"""The strict YAML reader: plain data with places, and everything else refused by line."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.config.yaml_reader import MAX_BYTES, Document, Place, read_yaml


def _read(text: str) -> Document:
    return read_yaml(text.encode())


def test_plain_data_with_places() -> None:
    document = _read("a: 1\nb:\n  - x: 'two'\n  - {y: [1.5, null, true]}\n")
    assert document.data == {"a": 1, "b": [{"x": "two"}, {"y": [1.5, None, True]}]}
    assert document.refusals == []
    assert document.keys["b", 0, "x"] == Place(3, 5)
    assert document.values["b", 0, "x"] == Place(3, 8)
    assert document.values["b", 1, "y", 2] == Place(4, 21)
    assert document.place(("b", 0, "missing")) == Place(3, 5)
    assert document.place(("a", "deep", "er")) == Place(1, 1)


REFUSED = [
    ("a: 1\nb: !!python/object/apply:os.system ['id']\n", 2, "tag !!python/object/apply:os.system"),
    ("a: !local 1\n", 1, "tag !local"),
    ("a: ! 1\n", 1, "tag !"),
    ("a: &x 1\n", 1, "anchor &x"),
    ("a: &x [1]\nb: *x\n", 2, "alias *x"),
    ("a: 1\n<<: {b: 2}\n", 2, "merge key"),
    ("a: 1\nb: 2\na: 3\n", 3, "the key a a second time (first in line 1)"),
    ("a: {b: 1, b: 2}\n", 1, "the key b a second time"),
    ('a: 1\n"a": 2\n', 2, "the key a a second time"),
    ("a: 1\n---\nb: 2\n", 2, "second document"),
    ("1: a\n", 1, "the key 1, which is not text"),
    ("true: a\n", 1, "the key true, which is not text"),
    ("? [a]\n: 1\n", 1, "a key that is a list"),
    ("a: 1\nb: \x07\n", 2, "U+0007"),
    ('a: "\\0"\n', 1, "U+0000"),
    ('"a\\e": 1\n', 1, "U+001B"),
    ("a: x\u202ey\n", 1, "U+202E"),
    ("a: 1\nb: [1,\n", 3, "did not find expected"),
    ("a: b: c\n", 1, "mapping values are not allowed"),
    ("\ta: 1\n", 1, "cannot start any token"),
    ("a: @b\n", 1, "cannot start any token"),
    ("a: yes\n", 1, "an unquoted 'yes'"),
    ("- Off\n", 1, "an unquoted 'Off'"),
    ("on: 1\n", 1, "an unquoted 'on'"),
    ("a: 1:30\n", 1, "an unquoted '1:30'"),
    ("a: 190:20:30.15\n", 1, "an unquoted '190:20:30.15'"),
    ("a: 0777\n", 1, "an unquoted '0777'"),
    ("a: 0o17\n", 1, "an unquoted '0o17'"),
    ("a: 0b101\n", 1, "an unquoted '0b101'"),
    ("a: 1_000\n", 1, "an unquoted '1_000'"),
    ("a: .nan\n", 1, "an unquoted '.nan'"),
    ("a: -.inf\n", 1, "an unquoted '-.inf'"),
    ("a: 1e999\n", 1, "an unquoted '1e999'"),
    ("a: " + "9" * 5000 + "\n", 1, "an unquoted '999"),
    ("a: =\n", 1, "an unquoted '='"),
]


@pytest.mark.parametrize(("text", "line", "found"), REFUSED, ids=lambda value: repr(value)[:30])
def test_what_is_refused_is_refused_with_its_line(text: str, line: int, found: str) -> None:
    refusals = [refusal for refusal in _read(text).refusals if found in refusal.found]
    assert len(refusals) == 1
    assert refusals[0].place is not None
    assert refusals[0].place.line == line


def test_all_refusals_are_reported_at_once() -> None:
    found = [r.found for r in _read("a: !x 1\nb: &y 2\nc: *y\na: 0\nd: no\n").refusals]
    assert len(found) == 5


def test_an_alias_bomb_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 40):
        lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]"]
    begun = time.perf_counter()
    document = _read("\n".join(lines))
    assert time.perf_counter() - begun < 1
    assert document.refusals[0].found == "the anchor &a0"
    assert any(refusal.found == "the alias *a38" for refusal in document.refusals)


@pytest.mark.parametrize("text", ["[" * 21, "a: " + "{b: " * 20, "- " * 21 + "x"])
def test_deep_files_are_refused(text: str) -> None:
    (refusal,) = _read(text).refusals
    assert refusal.found == "more than 20 levels"
    assert refusal.place is not None
    assert refusal.place.line == 1


def test_twenty_levels_are_accepted() -> None:
    assert _read("[" * 20 + "]" * 20).refusals == []


def test_large_files_are_refused_before_they_are_parsed() -> None:
    body = b"a: '" + b"x" * MAX_BYTES + b"'"
    (refusal,) = read_yaml(body).refusals
    assert refusal.expected == "at most 262,144 bytes"
    assert read_yaml(body[: MAX_BYTES - 1] + b"'").refusals == []


def test_bytes_that_are_not_utf8_are_refused() -> None:
    (refusal,) = read_yaml(b"a: 1\nb: \xff\n").refusals
    assert refusal.place == Place(2, 1)
    assert read_yaml(b"\xef\xbb\xbfa: 1\n").data == {"a": 1}


def test_values_mean_what_yaml_1_2_says() -> None:
    document = _read(
        "[1, -2, 0x1F, 1.5, .5, 1e-3, 2e3, true, FALSE, null, ~, 2024-01-01, 1d, -, 'no', \"1:30\"]"
    )
    assert document.refusals == []
    assert document.data == [
        *(1, -2, 31, 1.5, 0.5, 0.001, 2000.0, True, False, None, None),
        *("2024-01-01", "1d", "-", "no", "1:30"),
    ]


def test_an_empty_file_holds_nothing() -> None:
    assert _read("").data is None
    assert _read("# only a comment\n").complete


_SCALARS = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(max_size=20)
_DATA = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=15,
)


@given(_DATA)
def test_plain_data_survive_a_round_trip(data: object) -> None:
    document = read_yaml(json.dumps(data, ensure_ascii=False).encode())
    if document.refusals:
        assert {refusal.expected for refusal in document.refusals} <= {
            "printable text",
            "valid YAML",
        }
    else:
        assert document.data == data


@given(st.binary(max_size=200))
def test_no_input_raises(body: bytes) -> None:
    document = read_yaml(body)
    assert document.complete or document.refusals
