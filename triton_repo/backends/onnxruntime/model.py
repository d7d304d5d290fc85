"""Triton backend ``onnxruntime`` in Python: serves ``<version>/model.onnx`` with ONNX Runtime.

The embedded Triton has no native ONNX Runtime backend; this one serves the same repository. It
runs in the embedded server's own environment (numpy below 2), so it imports nothing of the engine.
"""

import json
import os

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

_TYPES = {
    "TYPE_FP32": np.float32,
    "TYPE_FP64": np.float64,
    "TYPE_INT64": np.int64,
    "TYPE_INT32": np.int32,
    "TYPE_BOOL": np.bool_,
    "TYPE_STRING": np.object_,
}


def _decode(values):
    """Triton hands strings over as bytes; ONNX Runtime maps bytes to no category at all."""
    flat = [value.decode("utf-8", "replace") for value in values.ravel().tolist()]
    return np.array(flat, dtype=np.object_).reshape(values.shape)


class TritonPythonModel:
    """One version of one model."""

    def initialize(self, args):
        """Load the ONNX graph and compare its inputs with the model's configuration."""
        config = json.loads(args["model_config"])
        self.inputs = [(item["name"], item["data_type"]) for item in config["input"]]
        self.outputs = [
            (item["name"], _TYPES[item["data_type"]]) for item in config["output"]
        ]
        path = os.path.join(
            args["model_repository"],
            args["model_version"],
            config.get("default_model_filename") or "model.onnx",
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        known = {item.name for item in self.session.get_inputs()}
        declared = {name for name, _ in self.inputs}
        if known != declared:
            raise pb_utils.TritonModelException(
                f"{path}: the graph's inputs {sorted(known)} are not the configuration's "
                f"{sorted(declared)}"
            )
        self.output_names = [name for name, _ in self.outputs]

    def execute(self, requests):
        """Run all requests of a batch in one call of ONNX Runtime."""
        columns = {name: [] for name, _ in self.inputs}
        sizes = []
        for request in requests:
            rows = 0
            for name, _ in self.inputs:
                values = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
                rows = values.shape[0]
                columns[name].append(values)
            sizes.append(rows)
        try:
            results = self.session.run(self.output_names, self._feeds(columns))
        except Exception as error:
            message = pb_utils.TritonError(f"ONNX Runtime: {error}"[:2000])
            return [pb_utils.InferenceResponse([], error=message) for _ in requests]
        return self._split(results, sizes)

    def _feeds(self, columns):
        feeds = {}
        for name, kind in self.inputs:
            parts = columns[name]
            values = parts[0] if len(parts) == 1 else np.concatenate(parts)
            feeds[name] = _decode(values) if kind == "TYPE_STRING" else values
        return feeds

    def _split(self, results, sizes):
        responses = []
        start = 0
        for size in sizes:
            tensors = [
                pb_utils.Tensor(name, result[start : start + size].astype(kind, copy=False))
                for (name, kind), result in zip(self.outputs, results)
            ]
            responses.append(pb_utils.InferenceResponse(tensors))
            start += size
        return responses
