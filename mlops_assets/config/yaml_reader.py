"""A strict reader for one small YAML file: plain data, and where each key and value stands.

Built on PyYAML's parse events, so that nothing is ever constructed from a tag and an alias is
never expanded. What YAML 1.1 and 1.2 readers understand differently (``yes``, ``0777``, ``1:30``,
``1_000``) is refused instead of guessed, because ``dg`` reads the same file by other rules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from mlops_assets.config.problems import Location, show

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
_MAX_DIGITS = 18
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("true", "True", "TRUE"))
_FALSE = frozenset(("false", "False", "FALSE"))
_WORDS = frozenset(
    cased for word in ("yes", "no", "on", "off") for cased in (word, word.title(), word.upper())
)
_NUMERIC_START = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)$")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_NOT_FINITE = re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")
_AMBIGUOUS_NUMBER = re.compile(
    r"[-+]?(0[0-9_]+|0o[0-7]+|0b[01_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"
    r"|[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?|0x[0-9a-fA-F_]*_[0-9a-fA-F_]*)$"
)
_CUT_OFF = re.compile(r"[^()<>]*[)>]+$")
"""The rest of a text in brackets that held a comma, in ``{a: decimal(10,2)}``."""


class Place(NamedTuple):
    """A place in a file, both from 1."""

    line: int
    column: int


class Refusal(NamedTuple):
    """Something that the reader does not accept."""

    place: Place | None
    location: Location
    found: str
    expected: str


@dataclass
class Document:
    """What was read.

    Attributes:
        data: Mappings, lists, texts, numbers, booleans and None. Refused parts hold a stand-in.
        keys: Where each key stands.
        values: Where each value stands.
        refusals: What was refused, in the order of the file.
        complete: False when the file could not be read to its end.
    """

    data: Any = None
    keys: dict[Location, Place] = field(default_factory=dict)
    values: dict[Location, Place] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    complete: bool = False

    def place(self, location: Location, *, key: bool = False) -> Place | None:
        """Where a value, or its key, stands; for a missing one, its nearest parent's key."""
        while True:
            first, second = (self.keys, self.values) if key else (self.values, self.keys)
            found = first.get(location) or second.get(location)
            if found is not None or not location:
                return found
            location, key = location[:-1], True


def read_yaml(body: bytes) -> Document:
    """Read one YAML document of plain data; problems are in its ``refusals``, never raised."""
    document = Document()
    text = _decode(body, document)
    if text is None or _has_unsafe_characters(text, document):
        return document
    reader = _Reader(text, document)
    try:
        reader.read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else None
        context = f" {error.context}" if error.context else ""
        told = {refusal.place.line for refusal in document.refusals if refusal.place}
        if place is None or place.line not in told:
            document.refusals.append(Refusal(place, (), f"{error.problem}{context}", "valid YAML"))
    except yaml.YAMLError as error:
        document.refusals.append(Refusal(None, (), str(error), "valid YAML"))
    except _TooDeepError as error:
        document.refusals.append(error.refusal)
    return document


def _decode(body: bytes, document: Document) -> str | None:
    if len(body) > MAX_BYTES:
        found = f"{len(body):,} bytes"
        document.refusals.append(Refusal(None, (), found, f"at most {MAX_BYTES:,} bytes"))
        return None
    try:
        return body.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        place = Place(body.count(b"\n", 0, error.start) + 1, 1)
        document.refusals.append(Refusal(place, (), "bytes that are not UTF-8", "UTF-8 text"))
        return None


def _has_unsafe_characters(text: str, document: Document) -> bool:
    match = _UNSAFE.search(text)
    if match is None:
        return False
    start = text.rfind("\n", 0, match.start()) + 1
    place = Place(text.count("\n", 0, match.start()) + 1, match.start() - start + 1)
    found = f"the invisible character U+{ord(match[0]):04X}"
    document.refusals.append(Refusal(place, (), found, "printable text"))
    return True


class _TooDeepError(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.found)


class _Reader:
    """Turns parse events into data; one instance for one document."""

    def __init__(self, text: str, document: Document) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._text = text
        self._document = document

    def read(self) -> None:
        """Read the first document and refuse any other."""
        next(self._events)
        if isinstance(event := next(self._events), yaml.StreamEndEvent):
            self._document.complete = True
            return
        self._document.data = self._node(next(self._events), ())
        next(self._events)
        self._document.complete = True
        if not isinstance(event := next(self._events), yaml.StreamEndEvent):
            self._refuse(event, (), "a second document (---)", "one document in a file")

    def _refuse(self, event: Any, location: Location, found: str, expected: str) -> None:
        mark = event.start_mark
        place = Place(mark.line + 1, mark.column + 1)
        self._document.refusals.append(Refusal(place, location, found, expected))

    def _node(self, event: Any, location: Location) -> Any:
        mark = event.start_mark
        self._document.values[location] = Place(mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, location, f"the alias *{event.anchor}", "the value written out")
            return None
        if event.anchor is not None:
            self._refuse(event, location, f"the anchor &{event.anchor}", "a value without anchors")
        if event.tag is not None:
            self._refuse(event, location, f"the tag {_tag(event.tag)}", "a value without tags")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, location)
        if len(location) >= MAX_DEPTH:
            place = Place(mark.line + 1, mark.column + 1)
            found = f"more than {MAX_DEPTH} levels"
            raise _TooDeepError(Refusal(place, location, found, "a flatter file"))
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(location)
        return self._mapping(location)

    def _sequence(self, location: Location) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*location, len(items))))
        return items

    def _mapping(self, location: Location) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, location)
            if key is None:
                self._node(next(self._events), (*location, "?"))
            elif key in mapping:
                first = self._document.keys[(*location, key)].line
                found = f"the key {key} a second time (first in line {first})"
                self._refuse(event, (*location, key), found, "each key once")
                self._node(next(self._events), (*location, f"{key} (again)"))
            else:
                mark = event.start_mark
                place = (*location, key)
                self._document.keys[place] = Place(mark.line + 1, mark.column + 1)
                mapping[key] = self._node(next(self._events), place)
        return mapping

    def _key(self, event: Any, location: Location) -> str | None:
        """The key's text, or None (and a refusal) when it is not plain text."""
        place = (*location, str(getattr(event, "value", "?")))
        value = self._node(event, place)
        self._document.values.pop(place, None)
        if isinstance(event, yaml.AliasEvent):
            return None
        if not isinstance(event, yaml.ScalarEvent):
            if self._text[event.start_mark.index - 1 :].startswith("{{"):
                found = "{{ without quotes, which opens two mappings"
                self._refuse(event, location, found, 'quotes around it: "{{ env.NAME }}"')
            else:
                self._refuse(event, place, "a key that is a list or mapping", "text as key")
            return None
        if event.value == "<<" and event.implicit[0]:
            self._refuse(event, place, "the merge key <<", "the keys written out")
            return None
        if event.implicit[0] and _CUT_OFF.match(event.value):
            found = f"{event.value}, which a comma cut off from what stands before it"
            self._refuse(event, place, found, 'quotes around it, such as "decimal(10,2)"')
            return None
        if not isinstance(value, str):
            found = f"the key {event.value or '(empty)'}, which is not text"
            self._refuse(event, place, found, "a key in quotes")
        return str(event.value)

    def _scalar(self, event: Any, location: Location) -> Any:
        text: str = event.value
        if unsafe := _UNSAFE.search(text):
            found = f"the invisible character U+{ord(unsafe[0]):04X}"
            self._refuse(event, location, found, "printable text")
            return ""
        if not event.implicit[0] or event.tag is not None:
            return text
        value, expected = _resolve(text)
        if expected:
            self._refuse(event, location, f"an unquoted {show(text)}", expected)
        return value


def _resolve(text: str) -> tuple[Any, str | None]:
    """The value of an unquoted scalar by YAML 1.2's core schema, and what is expected instead."""
    if text in _NULL:
        return None, None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE, None
    if text in _WORDS:
        return text, "true or false, or quotes around text (YAML versions disagree)"
    if text == "=":
        return text, "quotes around it (YAML versions disagree)"
    if text[0] not in _NUMERIC_START:
        return text, None
    return _resolve_number(text)


def _resolve_number(text: str) -> tuple[Any, str | None]:
    if _INTEGER.match(text) or _HEXADECIMAL.match(text):
        if len(text) > _MAX_DIGITS:
            return text, f"a whole number of at most {_MAX_DIGITS} digits, or quotes around text"
        return int(text, 16 if text.startswith("0x") else 10), None
    if _AMBIGUOUS_NUMBER.match(text):
        return text, "a plain decimal number, or quotes around text (YAML versions disagree)"
    if _NOT_FINITE.match(text):
        return text, "a finite number"
    if _FLOAT.match(text):
        value = float(text)
        return (value, None) if math.isfinite(value) else (text, "a finite number")
    return text, None


def _tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
