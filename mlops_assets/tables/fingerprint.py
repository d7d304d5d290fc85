"""Hashes of values and rows, column by column, and what their sums say about a whole table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from resources.manifest import Column

if TYPE_CHECKING:
    import pyarrow as pa

    Hashes = np.ndarray[Any, np.dtype[np.uint64]]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_MISSING = np.uint64(0x2545F4914F6CDD1D)
"""Hash of a missing value."""
_SKETCH_SIZE = 2048


class Fingerprint:
    """Identity of a table's rows, whatever their order; how often a row occurs counts.

    Each row has a 64-bit hash of all its values; two sums over the rows, one of the hashes and one
    of the hashes mixed once more, make 128 bits.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._sums = [0, 0]

    def add(self, columns: Sequence[Hashes], rows: int) -> None:
        """Take in some rows, given as the hashes of their values by column."""
        combined = np.zeros(rows, np.uint64)
        for column in columns:
            combined = mix(combined ^ column)
        for position, hashes in enumerate((combined, mix(combined ^ _MISSING))):
            total = int(hashes.sum(dtype=np.uint64))
            self._sums[position] = (self._sums[position] + total) % 2**64
        self.rows += rows

    def merge(self, other: Fingerprint) -> None:
        """Take in the rows that another one has seen."""
        self._sums = [
            (mine + theirs) % 2**64 for mine, theirs in zip(self._sums, other._sums, strict=True)
        ]
        self.rows += other.rows

    def data_version(self, columns: Sequence[Column]) -> str:
        """``sha256:<hex>`` of names, types and rows."""
        shape = [(column.name, column.type) for column in columns]
        body = json.dumps({"columns": shape, "rows": self.rows, "sums": self._sums})
        return f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"


class DistinctSketch:
    """How many different values there are: exact up to 2,048, then within 5 % or so.

    It keeps the smallest hashes (Bar-Yossef et al., Counting Distinct Elements in a Data Stream,
    2002, algorithm 1); the k-th smallest of n evenly spread hashes lies near k / n.
    """

    def __init__(self) -> None:
        self._smallest: Hashes = np.empty(0, np.uint64)

    def add(self, hashes: Hashes) -> None:
        """Take in hashes of values that are not missing."""
        if len(self._smallest) == _SKETCH_SIZE:
            hashes = hashes[hashes < self._smallest[-1]]
        if len(hashes):
            merged = np.unique(np.concatenate([self._smallest, _unique(hashes)]))
            self._smallest = merged[:_SKETCH_SIZE]

    def merge(self, other: DistinctSketch) -> None:
        """Take in the values that another one has seen."""
        self.add(other._smallest)

    def count(self) -> int:
        """The estimate."""
        if len(self._smallest) < _SKETCH_SIZE:
            return len(self._smallest)
        return round((_SKETCH_SIZE - 1) / (float(self._smallest[-1]) / 2**64))


def mix(hashes: Hashes) -> Hashes:
    """Spread 64-bit values evenly (SplitMix64: Steele, Lea, Flood, OOPSLA 2014)."""
    mixed = hashes + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return mixed ^ (mixed >> np.uint64(31))


def hash_values(array: pa.Array) -> Hashes:
    """One 64-bit hash for each value; equal values have equal hashes, also across files."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_floating(kind):
        hashes = _hash_numbers(array.cast(pa.float64()))
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        hashes = mix(_as_int64(array).view(np.uint64))
    elif pa.types.is_timestamp(kind) or pa.types.is_date32(kind):
        hashes = mix(_as_int64(_moments(array)).view(np.uint64))
    elif pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind):
        hashes = _hash_texts(array)
    elif pa.types.is_decimal(kind):
        hashes = _hash_texts(array.cast(pa.string()))
    else:
        hashes = _hash_texts(pa.array([_json(value) for value in array.to_pylist()], pa.string()))
    if array.null_count:
        hashes[pc.is_null(array).to_numpy(zero_copy_only=False)] = _MISSING
    return hashes


def _unique(hashes: Hashes) -> Hashes:
    """Different hashes, found by a hash table: much faster than by sorting."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found: Hashes = pc.unique(pa.array(hashes)).to_numpy()
    return found


def _hash_numbers(array: pa.Array) -> Hashes:
    """Hashes of doubles; -0.0 is 0.0, and there is one NaN."""
    numbers = array.fill_null(0.0).to_numpy(zero_copy_only=False) + 0.0
    bits = np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64)
    return mix(bits)


def _hash_texts(array: pa.Array) -> Hashes:
    """Hashes of texts or bytes: each different one is hashed once."""
    import pandas as pd

    encoded = array.fill_null(b"" if str(array.type) == "binary" else "").dictionary_encode()
    words = encoded.dictionary.to_numpy(zero_copy_only=False)
    hashed: Hashes = mix(pd.util.hash_array(words, categorize=False))
    positions: np.ndarray[Any, np.dtype[np.int64]] = encoded.indices.to_numpy()
    return np.take(hashed, positions)


def _as_int64(array: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    import pyarrow as pa

    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    filled = array.cast(pa.int64(), safe=False).fill_null(0)
    numbers: np.ndarray[Any, np.dtype[np.int64]] = filled.to_numpy(zero_copy_only=False)
    return numbers


def _moments(array: pa.Array) -> pa.Array:
    import pyarrow as pa

    return array.cast(pa.int32() if pa.types.is_date32(array.type) else pa.int64())


def _json(value: Any) -> str:
    """A nested value as text; the slow way, for types that have no other."""
    return json.dumps(value, default=repr)
