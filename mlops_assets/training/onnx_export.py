"""The trained module as one ONNX graph that takes raw values, strings included."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import BundleError
from mlops_assets.training.bundle_schema import BundleSchema, schema_of
from mlops_assets.training.encoding import MISSING_INDEX, UNSEEN_INDEX
from mlops_assets.training.preprocessing import CategoricalColumn, Preprocessing

if TYPE_CHECKING:
    import onnx

    from mlops_assets.training.core import Core

OPSET = 18
ML_OPSET = 2
IR_VERSION = 8
"""Old enough for the ONNX Runtime of Triton's containers since 2023."""

_PREFIX = "core/"
_NUMERIC = "numeric"
_CATEGORICAL = "categorical"
_ANSWER = "answer"


def export_onnx(core: Core, preprocessing: Preprocessing) -> bytes:
    """The graph: one input ``[N, 1]`` for each column, one output; no external data.

    Numbers are joined to a matrix, and each category is looked up by ``ai.onnx.ml.LabelEncoder``
    whose default is the unseen bucket. The same module gives the same bytes.

    Raises:
        BundleError: The module cannot be expressed in ONNX, or an input has the output's name.
    """
    import onnx

    schema = schema_of(preprocessing)
    if schema.output_name in {column.name for column in schema.inputs}:
        raise BundleError(
            "an input has the name of the model's output",
            where=f"input {schema.output_name}",
            fix="give that column another name in the query",
        )
    exported = _export_core(core, len(preprocessing.numeric), len(preprocessing.categorical))
    _remove_traces(exported)
    inner = onnx.compose.add_prefix(exported, _PREFIX)
    model = _with_raw_inputs(inner, preprocessing, schema)
    onnx.checker.check_model(model, full_check=True)
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def _export_core(core: Core, numeric: int, categorical: int) -> onnx.ModelProto:
    import torch

    from mlops_assets.training.onnx_wrapper import OneKindOfInput

    rows = torch.export.Dim("batch")
    examples = {_NUMERIC: torch.zeros(3, numeric), _CATEGORICAL: _zeros(3, categorical)}
    present = [name for name in examples if examples[name].shape[1]]
    module = core if len(present) == 2 else OneKindOfInput(core, present[0])
    with _quiet_exporter():
        try:
            program = torch.onnx.export(
                module.eval(),
                tuple(examples[name] for name in present),
                input_names=present,
                output_names=[_ANSWER],
                opset_version=OPSET,
                dynamic_shapes=tuple({0: rows} for _ in present),
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise BundleError(
                "the model cannot be exported to ONNX",
                where="model",
                found=error,
                fix="use operations that torch.onnx.export knows, with any number of rows",
            ) from error
    return _proto(program)


def _zeros(rows: int, columns: int) -> Any:
    import torch

    return torch.zeros(rows, columns, dtype=torch.int64)


def _proto(program: Any) -> onnx.ModelProto:
    return program.model_proto


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without the exporter's progress and warnings about its own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _remove_traces(model: onnx.ModelProto) -> None:
    """Remove stack traces, which hold this machine's paths, and other notes of the exporter."""
    del model.metadata_props[:]
    model.doc_string = ""
    _clean_graph(model.graph)


def _clean_graph(graph: onnx.GraphProto) -> None:
    del graph.metadata_props[:]
    del graph.value_info[:]
    for item in (*graph.input, *graph.output, *graph.initializer, *graph.node):
        del item.metadata_props[:]
        item.doc_string = ""
    for node in graph.node:
        for attribute in node.attribute:
            attribute.doc_string = ""
            # Only reading an unset message leaves it unset; cleaning it would set it.
            inner = [attribute.g] if attribute.HasField("g") else []
            for graph_inside in (*inner, *attribute.graphs):
                _clean_graph(graph_inside)


def _with_raw_inputs(
    inner: onnx.ModelProto, preprocessing: Preprocessing, schema: BundleSchema
) -> onnx.ModelProto:
    from onnx import TensorProto, helper

    kinds = {"numeric": TensorProto.FLOAT, "categorical": TensorProto.STRING}
    inputs = [
        helper.make_tensor_value_info(column.name, kinds[column.kind], ["batch", 1])
        for column in schema.inputs
    ]
    width = len(schema.classes) if schema.task == "multiclass" else 1
    output = helper.make_tensor_value_info(schema.output_name, TensorProto.FLOAT, ["batch", width])
    numbers = [column.name for column in preprocessing.numeric]
    nodes = _joined(numbers, f"{_PREFIX}{_NUMERIC}")
    nodes += [_lookup(column) for column in preprocessing.categorical]
    looked_up = [_index_name(column) for column in preprocessing.categorical]
    nodes += _joined(looked_up, f"{_PREFIX}{_CATEGORICAL}")
    nodes += inner.graph.node
    nodes.append(helper.make_node("Identity", [f"{_PREFIX}{_ANSWER}"], [schema.output_name]))
    graph = helper.make_graph(
        nodes, "model", inputs, [output], initializer=list(inner.graph.initializer)
    )
    graph.sparse_initializer.extend(inner.graph.sparse_initializer)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    others = [item for item in inner.opset_import if item.domain not in {"", "ai.onnx.ml"}]
    return helper.make_model(
        graph,
        producer_name="mlops_assets",
        opset_imports=[*opsets, *others],
        ir_version=IR_VERSION,
        functions=list(inner.functions),
    )


def _index_name(column: CategoricalColumn) -> str:
    return f"index/{column.name}"


def _lookup(column: CategoricalColumn) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node(
        "LabelEncoder",
        [column.name],
        [_index_name(column)],
        domain="ai.onnx.ml",
        keys_strings=["", *column.vocabulary],
        values_int64s=[MISSING_INDEX, *range(UNSEEN_INDEX + 1, column.cardinality)],
        default_int64=UNSEEN_INDEX,
    )


def _joined(names: Sequence[str], output: str) -> list[onnx.NodeProto]:
    from onnx import helper

    return [helper.make_node("Concat", list(names), [output], axis=1)] if names else []
