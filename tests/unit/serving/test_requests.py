"""Rows as requests: raw values to tensors, JSON and a shell command."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.errors import SchemaError
from mlops_assets.serving.predict import (
    _answer,
    example_row,
    make_feeds,
    render_request,
    request_body,
)
from mlops_assets.training.bundle import Bundle
from mlops_assets.training.bundle_schema import BundleSchema, InputColumn

SCHEMA = BundleSchema(
    (InputColumn("distance", "numeric"), InputColumn("carrier", "categorical")),
    "binary",
    "probability",
    (),
)


def bundle_with(golden: dict[str, list[Any]], median: float = 12.5) -> Bundle:
    """What of a bundle a request needs."""
    return cast(
        Bundle,
        SimpleNamespace(
            schema=SCHEMA,
            golden=lambda: SimpleNamespace(inputs=golden),
            preprocessing={"numeric": [{"name": "distance", "median": median}]},
        ),
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (1.5, 1.5), ("2.5", 2.5), (" 3 ", 3.0), (True, 1.0), (np.float32(4), 4.0)],
)
def test_numbers(value: Any, expected: float) -> None:
    feeds = make_feeds([{"distance": value}], SCHEMA)
    assert feeds["distance"].dtype == np.float32
    assert feeds["distance"].tolist() == [[expected]]


@pytest.mark.parametrize("value", [None, "", math.nan])
def test_missing_numbers_are_nan(value: Any) -> None:
    assert math.isnan(make_feeds([{"distance": value}], SCHEMA)["distance"][0, 0])
    assert math.isnan(make_feeds([{}], SCHEMA)["distance"][0, 0])


@pytest.mark.parametrize(
    ("value", "expected"),
    [("UA", "UA"), (None, ""), (True, "true"), (False, "false"), (7, "7"), ("北京", "北京")],
)
def test_categories_are_texts_as_in_training(value: Any, expected: str) -> None:
    feeds = make_feeds([{"carrier": value}], SCHEMA)
    assert feeds["carrier"].dtype == np.object_
    assert feeds["carrier"].tolist() == [[expected]]


def test_rows_keep_their_order_and_one_tensor_each() -> None:
    feeds = make_feeds([{"distance": n, "carrier": str(n)} for n in range(5)], SCHEMA)
    assert list(feeds) == ["distance", "carrier"]
    assert feeds["distance"].tolist() == [[float(n)] for n in range(5)]
    assert feeds["carrier"].tolist() == [[str(n)] for n in range(5)]


def test_what_is_no_number_is_named() -> None:
    with pytest.raises(SchemaError, match=r"distance.*\n.*'far'"):
        make_feeds([{"distance": "far"}], SCHEMA)
    with pytest.raises(SchemaError):
        make_feeds([{"distance": [1]}], SCHEMA)


def test_an_unknown_column_is_never_ignored() -> None:
    with pytest.raises(SchemaError, match="did you mean distance"):
        make_feeds([{}, {"distnace": 1}], SCHEMA)
    with pytest.raises(SchemaError, match="leave the column out"):
        make_feeds([{"zzz": 1}], SCHEMA)


def test_the_body_is_the_open_inference_protocol() -> None:
    assert request_body(SCHEMA, {"carrier": "UA", "distance": 0.1}) == {
        "inputs": [
            {"name": "distance", "shape": [1, 1], "datatype": "FP32", "data": [0.1]},
            {"name": "carrier", "shape": [1, 1], "datatype": "BYTES", "data": ["UA"]},
        ]
    }


def test_a_missing_number_is_no_json() -> None:
    with pytest.raises(SchemaError, match="missing number"):
        request_body(SCHEMA, {"carrier": "UA"})


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.text(max_size=30))
def test_json_loses_nothing(number: float, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    body = json.loads(json.dumps(request_body(SCHEMA, {"distance": number, "carrier": text})))
    assert np.float32(body["inputs"][0]["data"][0]) == np.float32(number)
    assert body["inputs"][1]["data"] == [text]


@pytest.mark.parametrize("text", ["O'Hare", '"', "$(reboot)", "`x`", "a b\nc", "\\", "北京"])
def test_a_shell_gets_the_body_as_it_is(text: str) -> None:
    bundle = bundle_with({"distance": [1.0], "carrier": [text]})
    command = render_request(bundle, {"carrier": text, "distance": 2}, "http://h/v2?a=1&b=2")
    program, silent, url, flag, body = shlex.split(command)
    assert (program, silent, url, flag) == ("curl", "-s", "http://h/v2?a=1&b=2", "-d")
    assert json.loads(body)["inputs"][1]["data"] == [text]


def test_a_command_has_medians_for_missing_numbers() -> None:
    bundle = bundle_with({"distance": [1.0], "carrier": ["UA"]})
    for row in ({"carrier": "UA"}, {"carrier": "UA", "distance": None}):
        body = json.loads(shlex.split(render_request(bundle, row, "http://h"))[-1])
        assert body["inputs"][0]["data"] == [12.5]


def test_the_example_is_a_real_row_and_the_most_complete() -> None:
    golden = {
        "distance": [None, 1.0, 1.0, None, 5.0, 6.0],
        "carrier": ["", "?", "UA", "", "", "DL"],
    }
    assert example_row(bundle_with(golden)) == {"distance": 6.0, "carrier": "DL"}


def test_few_golden_rows_still_give_an_example() -> None:
    golden = {"distance": [None, 2.0], "carrier": ["", "UA"]}
    assert example_row(bundle_with(golden)) == {"distance": 2.0, "carrier": "UA"}


def test_answers_by_task() -> None:
    assert _answer([0.25], SCHEMA) == {"probability": 0.25}
    several = BundleSchema(SCHEMA.inputs, "multiclass", "probabilities", ("a", "b", "c"))
    assert _answer([0.2, 0.5, 0.3], several) == {
        "class": "b",
        "probabilities": {"a": 0.2, "b": 0.5, "c": 0.3},
    }


def test_modules_are_cheap_to_import() -> None:
    import subprocess
    import sys

    code = (
        "import sys, mlops_assets.serving.deploy, mlops_assets.serving.rollback, "
        "mlops_assets.serving.reconcile, mlops_assets.serving.predict, resources.triton.server\n"
        "print(sorted({'torch', 'pyspark', 'tritonclient', 'onnxruntime', 'onnx', 'dagster'}"
        " & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "[]"
