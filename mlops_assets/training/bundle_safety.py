"""Reads a bundle's files without trusting them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import BundleError
from mlops_assets.training.bundle_schema import (
    BUNDLE_FILE,
    REQUIRED_FILES,
    ROWS_FILE,
    SIZE_LIMITS,
)

if TYPE_CHECKING:
    import onnx

REFERENCE_ROWS = 2000
"""Training rows that a bundle holds at most."""
_ALLOWED_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})


def read_file(directory: Path, name: str) -> bytes:
    """Bytes of a plain file of a known name and a bounded size; links are refused.

    Raises:
        BundleError: It is none.
    """
    path = directory / name
    limit = SIZE_LIMITS[name]
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BundleError(
            "a file of the bundle cannot be read", where=path, found=error.strerror
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BundleError("not a plain file", where=path)
        if status.st_size > limit:
            raise BundleError(
                "a file of the bundle is too large",
                where=path,
                found=f"{status.st_size} bytes",
                expected=f"at most {limit}",
            )
        return file.read(limit + 1)


def parse_json(body: bytes, where: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BundleError: It is none.
    """
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BundleError("not readable as JSON", where=where, found=error) from error
    if not isinstance(values, dict):
        raise BundleError("not a JSON object", where=where, found=type(values).__name__)
    return values


def verified_files(directory: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """``bundle.json`` and the bytes of all other files.

    Raises:
        BundleError: A file is missing, unknown, a link, too large, or was changed.
    """
    info = parse_json(read_file(directory, BUNDLE_FILE), directory / BUNDLE_FILE)
    table = info.get("files")
    if not isinstance(table, dict):
        raise BundleError("bundle.json lists no files", where=directory / BUNDLE_FILE)
    _require_known_names(directory, set(table))
    bodies = {}
    for name in sorted(table):
        entry = table[name]
        body = read_file(directory, name)
        found = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        if entry != found:
            raise BundleError(
                "a file of the bundle was changed",
                where=directory / name,
                found=found,
                expected=entry,
                fix="do not deploy it; train again",
            )
        bodies[name] = body
    return info, bodies


def _require_known_names(directory: Path, listed: set[str]) -> None:
    present = {entry.name for entry in directory.iterdir()}
    unknown = sorted((listed | present) - set(SIZE_LIMITS))
    missing = sorted(REQUIRED_FILES - present | (REQUIRED_FILES - {BUNDLE_FILE}) - listed)
    unlisted = sorted(present - listed - {BUNDLE_FILE})
    problems = [("unknown", unknown), ("missing", missing), ("not listed in it", unlisted)]
    for what, names in problems:
        if names:
            raise BundleError(
                f"the bundle has files that are {what}",
                where=directory,
                found=names,
                expected=sorted(REQUIRED_FILES),
                fix="only deploy bundles that this engine has written, unchanged",
            )


def file_table_id(table: dict[str, Any]) -> str:
    """``sha256:…`` of the file table: the bundle's identity."""
    text = json.dumps(table, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def require_safetensors(body: bytes, where: Path) -> None:
    """Refuse weights that are anything but safetensors, such as a pickle.

    Raises:
        BundleError: They are.
    """
    from safetensors import SafetensorError, deserialize

    try:
        deserialize(body)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise BundleError(
            "the weights are no safetensors file",
            where=where,
            found=f"{error} (begins with {body[:8].hex()})",
            expected="safetensors; pickles are never read",
        ) from error


def require_safe_onnx(body: bytes, where: Path) -> None:
    """Refuse an ONNX model that would read other files or needs operators of other libraries.

    Raises:
        BundleError: It would, or it is no ONNX model.
    """
    import onnx
    from google.protobuf import message

    try:
        model = onnx.load_model_from_string(body)
    except (message.DecodeError, ValueError) as error:
        raise BundleError("not an ONNX model", where=where, found=error) from error
    if not model.graph.node:
        raise BundleError("the ONNX model has no graph", where=where)
    for tensor in _tensors(model):
        if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
            places = {entry.key: entry.value for entry in tensor.external_data}
            raise BundleError(
                "the ONNX model keeps data in another file",
                where=where,
                found=f"tensor {tensor.name!r} at {places.get('location')!r}",
                expected="all weights inside model.onnx",
            )
    domains = {node.domain for graph in _graphs(model) for node in graph} - _ALLOWED_DOMAINS
    if domains - {function.domain for function in model.functions}:
        raise BundleError(
            "the ONNX model needs operators of another library",
            where=where,
            found=sorted(domains),
            expected=sorted(_ALLOWED_DOMAINS),
        )


def require_plain_rows(body: bytes, where: Path, names: Collection[str]) -> None:
    """Refuse reference rows that are no Parquet, are too many or have other columns.

    It is judged by its footer; no values are unpacked.

    Raises:
        BundleError: They are.
    """
    import pyarrow as pa
    import pyarrow.parquet

    try:
        found = pyarrow.parquet.read_metadata(pa.BufferReader(body))
        columns = found.schema.to_arrow_schema().names
    except (pa.ArrowException, OSError) as error:
        raise BundleError("the reference rows are no Parquet", where=where, found=error) from error
    groups = [found.row_group(place) for place in range(found.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    if found.num_rows > REFERENCE_ROWS or size > SIZE_LIMITS[ROWS_FILE]:
        raise BundleError(
            "there are too many reference rows",
            where=where,
            found=f"{found.num_rows} rows, {size} bytes",
            expected=f"at most {REFERENCE_ROWS} rows, {SIZE_LIMITS[ROWS_FILE]} bytes",
        )
    strange = sorted(set(columns) - set(names))
    if strange:
        raise BundleError(
            "the reference rows have columns that are no inputs",
            where=where,
            found=strange,
            expected=sorted(names),
        )


def _graphs(model: onnx.ModelProto) -> Iterator[list[onnx.NodeProto]]:
    pending = [list(model.graph.node), *(list(function.node) for function in model.functions)]
    while pending:
        nodes = pending.pop()
        yield nodes
        for node in nodes:
            for attribute in node.attribute:
                graphs = (attribute.g, *attribute.graphs)
                pending.extend(list(graph.node) for graph in graphs if graph.node)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    graphs = [model.graph]
    node_lists = [model.graph.node, *(function.node for function in model.functions)]
    for training in model.training_info:
        graphs += [training.initialization, training.algorithm]
        node_lists += [training.initialization.node, training.algorithm.node]
    while graphs or node_lists:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            continue
        for node in node_lists.pop():
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)
                for inner in (attribute.g, *attribute.graphs):
                    if inner.ByteSize():
                        graphs.append(inner)
                        node_lists.append(inner.node)
