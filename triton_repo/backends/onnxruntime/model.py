"""Triton backend ``onnxruntime`` in Python: serves ``<version>/model.onnx`` with ONNX Runtime.

The embedded Triton has no native ONNX Runtime backend; this one serves the same repository. It
runs in the embedded server's own environment (numpy below 2), so it imports nothing of the engine.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

ERRORS = (Fail, InvalidArgument, RuntimeException, ValueError)
MAX_MESSAGE = 2000


class TritonPythonModel:
    """One version of one model."""

    def initialize(self, args):
        """Load the ONNX graph and compare its inputs with the model's configuration."""
        config = json.loads(args["model_config"])
        name = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"], args["model_version"], name)
        self.inputs = [item["name"] for item in config["input"]]
        self.texts = {i["name"] for i in config["input"] if i["data_type"] == "TYPE_STRING"}
        self.outputs = [item["name"] for item in config["output"]]
        self.session = _open(path)
        _require(path, "inputs", [item.name for item in self.session.get_inputs()], self.inputs)
        _require(path, "outputs", [item.name for item in self.session.get_outputs()], self.outputs)

    def execute(self, requests):
        """Run all requests of a batch in one call; if that fails, each one by itself.

        So a request that cannot be answered gets its own error and takes no other with it.
        """
        try:
            return self._run(requests)
        except ERRORS as error:
            if len(requests) > 1:
                return [self.execute([request])[0] for request in requests]
            message = pb_utils.TritonError(f"ONNX Runtime: {error}"[:MAX_MESSAGE])
            return [pb_utils.InferenceResponse([], error=message)]

    def _run(self, requests):
        columns = {name: [] for name in self.inputs}
        for request in requests:
            for tensor in request.inputs():  # one pass: looking each up by name costs far more
                columns[tensor.name()].append(tensor.as_numpy())
        sizes = [len(part) for part in columns[self.inputs[0]]]
        feeds = {name: self._feed(name, parts) for name, parts in columns.items()}
        return _split(self.outputs, self.session.run(self.outputs, feeds), sizes)

    def _feed(self, name, parts):
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return _decode(values) if name in self.texts else values


def _open(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # many small requests: threads would only wait for each other
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _require(path, kind, found, declared):
    if sorted(found) != sorted(declared):
        raise pb_utils.TritonModelException(
            f"{path}: the graph's {kind} {sorted(found)} are not the configuration's "
            f"{sorted(declared)}"
        )


def _decode(values):
    """Triton hands strings over as bytes, which ONNX Runtime takes for no category at all."""
    texts = np.empty(values.shape, dtype=np.object_)
    texts.ravel()[:] = [value.decode("utf-8", "replace") for value in values.ravel().tolist()]
    return texts


def _split(names, results, sizes):
    responses = []
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        tensors = [
            pb_utils.Tensor(name, result[rows]) for name, result in zip(names, results, strict=True)
        ]
        responses.append(pb_utils.InferenceResponse(tensors))
        start += size
    return responses
