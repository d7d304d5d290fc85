"""The column contract and its difference."""

from __future__ import annotations

import pytest

from mlops_assets.errors import SchemaError
from mlops_assets.tables.contract import (
    canonical_type,
    check_contract,
    require_columns,
    require_distinct_names,
)

BEFORE = {"id": "bigint", "price": "double", "at": "timestamp"}


def test_the_same_columns_in_another_order_pass() -> None:
    assert check_contract(dict(reversed(BEFORE.items())), BEFORE, "here") == []


def test_added_columns_pass_and_are_told() -> None:
    assert check_contract(BEFORE | {"new": "int"}, BEFORE, "here") == ["new"]


def test_no_contract_allows_everything() -> None:
    assert check_contract(BEFORE, {}, "here") == []


def test_the_whole_difference_is_told() -> None:
    found = {"id": "string", "prices": "double", "extra": "int"}
    with pytest.raises(SchemaError) as raised:
        check_contract(found, BEFORE, "team/shop orders")
    text = str(raised.value)
    for line in (
        "team/shop orders",
        "- price double (renamed to prices?)",
        "- at timestamp",
        "~ id bigint → string",
        "+ prices double",
        "+ extra int",
    ):
        assert line in text


def test_a_column_that_is_gone_blocks_by_itself() -> None:
    with pytest.raises(SchemaError, match="- id bigint"):
        check_contract({k: v for k, v in BEFORE.items() if k != "id"}, BEFORE, "here")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("LONG", "bigint"),
        ("Integer", "int"),
        ("decimal", "decimal(10,0)"),
        ("NUMERIC(9, 2)", "decimal(9,2)"),
        ("array<long>", "array<bigint>"),
        ("struct<a: integer>", "struct<a:int>"),
        ("timestamp_ntz", "timestamp_ntz"),
        ("string", "string"),
    ],
)
def test_types_are_compared_by_meaning(written: str, meant: str) -> None:
    assert canonical_type(written) == meant
    assert check_contract({"x": meant}, {"x": written}, "here") == []


def test_a_narrower_type_is_another_type() -> None:
    with pytest.raises(SchemaError):
        check_contract({"x": "int"}, {"x": "bigint"}, "here")


def test_names_are_found_or_the_nearest_is_told() -> None:
    require_columns(["id"], BEFORE, "here", "column")
    with pytest.raises(SchemaError, match="did you mean price"):
        require_columns(["prise"], BEFORE, "here", "column")


def test_names_that_differ_in_case_only() -> None:
    require_distinct_names(["a", "b"], "here")
    for names in (["a", "A"], ["a", "a"]):
        with pytest.raises(SchemaError, match="same name"):
            require_distinct_names(names, "here")
