"""Preprocessing against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from mlops_assets.errors import SchemaError, TrainingError
from mlops_assets.training.core import NumericEncoder
from mlops_assets.training.labels import LabelEncoding
from mlops_assets.training.preprocessing import (
    Preprocessing,
    fit_categorical,
    fit_numeric,
    fit_preprocessing,
)

NAN = float("nan")


def _encode(values: list[float], rows: list[float], bins: int = 0) -> tuple[np.ndarray, tuple]:
    column = fit_numeric("x", np.array(values, dtype=np.float32), bins)
    fitted = Preprocessing((column,), (), LabelEncoding("binary", "label"))
    encoded = NumericEncoder(fitted)(torch.tensor(rows, dtype=torch.float32).reshape(-1, 1))
    return encoded.numpy(), fitted.encoded_names


def test_numbers_are_scaled_by_median_and_interquartile_range_and_softly_clipped():
    encoded, _ = _encode([1, 2, 3, 4, 5], [3, 5, 9, 1e9])

    # median 3, quartiles 2 and 4: z = 0, 1, 3, and 1e9 clipped to 100; then z / sqrt(1 + (z/3)²)
    expected = [0, 1 / np.sqrt(1 + 1 / 9), 3 / np.sqrt(2), 100 / np.sqrt(1 + (100 / 3) ** 2)]
    assert encoded[:, 0] == pytest.approx(expected, rel=1e-6)


def test_missing_numbers_become_the_median_and_an_indicator():
    encoded, names = _encode([1, 2, 3, 4, 5, NAN], [NAN, 4])

    assert names == ("x", "x__missing")
    assert encoded[0].tolist() == [0, 1]
    assert encoded[1].tolist() == pytest.approx([0.5 / np.sqrt(1 + 1 / 36), 0])


def test_bins_are_piecewise_linear():
    encoded, names = _encode([0, 1, 2, 3, 4], [-1, 0.5, 2, 3, 9], bins=2)

    assert names == ("x", "x__bin_0", "x__bin_1")  # edges 0, 2, 4
    assert encoded[:, 1:].tolist() == [[0, 0], [0.25, 0], [1, 0], [1, 0.5], [1, 1]]


@pytest.mark.parametrize("values", [[7, 7, 7], [NAN, NAN], [], [7, NAN], [1e20, 1e20]])
def test_constant_and_empty_columns_are_zero_and_never_nan(values):
    encoded, names = _encode(values, [7, NAN, float("inf"), float("-inf"), 3e38, -5], bins=4)

    assert names[0] == "x"
    assert (encoded[:, 0] == 0).all()
    assert np.isfinite(encoded).all()


def test_a_column_with_equal_quartiles_is_scaled_by_half_its_range():
    column = fit_numeric("x", np.array([0, 0, 0, 0, 0, 0, 0, 0, 4], dtype=np.float32), 0)

    assert (column.median, column.scale) == (0, 0.5)


def test_infinite_values_do_not_reach_the_statistics():
    column = fit_numeric("x", np.array([1, 2, 3, float("inf")], dtype=np.float32), 2)

    assert (column.median, column.edges) == (2, (1, 2, 3))


def test_categories_have_a_missing_an_unseen_and_known_indices():
    values = ["b"] * 5 + ["a"] * 5 + ["rare"] + [None] * 2 + [""]
    table = pa.table({"c": pa.array(values)})
    column = fit_categorical(table, "c", np.arange(14))
    fitted = Preprocessing((), (column,), LabelEncoding("binary", "label"))

    indices = fitted.categories(pa.table({"c": pa.array(["a", "b", "rare", "new", None, ""])}))

    assert column.vocabulary == ("a", "b")
    assert indices[:, 0].tolist() == [2, 3, 1, 1, 0, 0]
    assert column.untrained == ()
    assert fitted.cardinalities == (4,)


def test_untrained_buckets_are_known():
    column = fit_categorical(pa.table({"c": ["a", "a", "a"]}), "c", np.arange(3))

    assert column.untrained == (0, 1)


def test_booleans_and_integers_become_their_text():
    table = pa.table({"flag": [True, False] * 4, "code": [1, 2] * 4})

    assert fit_categorical(table, "flag", np.arange(8)).vocabulary == ("false", "true")
    assert fit_categorical(table, "code", np.arange(8)).vocabulary == ("1", "2")


def test_only_training_rows_are_looked_at(make_project, table):
    rows = np.arange(100)
    changed = table.slice(0, 100)
    other = pa.concat_tables(
        [changed, table.slice(100).set_column(3, "wind", pa.array(np.full(500, 1e6, np.float32)))]
    )

    spec = make_project().spec
    assert fit_preprocessing(table, rows, spec, 8) == fit_preprocessing(other, rows, spec, 8)


def test_the_dictionary_round_trip_is_exact(make_project, table):
    fitted = fit_preprocessing(table, np.arange(400), make_project().spec, 8)

    assert Preprocessing.from_dict(fitted.to_dict()) == fitted


def test_regression_labels_are_standardised(make_project):
    table = pa.table({"label": [10.0, 20.0, 30.0], "x": [1.0, 2.0, 3.0]})
    spec = make_project(
        task="regression", features={"inputs": {"numeric": ["x"], "categorical": []}}
    ).spec
    label = fit_preprocessing(table, np.arange(3), spec, 0).label

    assert label.encode(table, np.arange(3)) == pytest.approx([-1.2247449, 0, 1.2247449])


def test_classes_are_those_of_the_training_rows(make_project):
    table = pa.table({"label": ["b", "a", "c"], "x": [1.0, 2.0, 3.0]})
    spec = make_project(
        task="multiclass", features={"inputs": {"numeric": ["x"], "categorical": []}}
    ).spec
    label = fit_preprocessing(table, np.arange(2), spec, 0).label

    assert label.classes == ("a", "b")
    assert label.encode(table, np.arange(3)).tolist() == [1, 0, -1]


@pytest.mark.parametrize(
    ("task", "labels", "error"),
    [
        ("binary", [1, 1, 1], TrainingError),
        ("binary", [0, 1, 2], SchemaError),
        ("multiclass", ["a", "a", "a"], TrainingError),
        ("regression", [5.0, 5.0, 5.0], TrainingError),
        ("regression", [5.0, float("inf"), 5.0], TrainingError),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(make_project, task, labels, error):
    table = pa.table({"label": labels, "x": [1.0, 2.0, 3.0]})
    spec = make_project(task=task, features={"inputs": {"numeric": ["x"], "categorical": []}}).spec

    with pytest.raises(error, match="label"):
        fit_preprocessing(table, np.arange(3), spec, 0)


def test_a_numeric_input_of_text_is_named(make_project, table):
    text = table.set_column(3, "wind", pa.array(["strong"] * 600))

    with pytest.raises(SchemaError, match="wind"):
        fit_preprocessing(text, np.arange(600), make_project().spec, 0)
