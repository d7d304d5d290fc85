"""No value of an environment reference, and no URL's password, leaves the process."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.config.redaction import Redactor


def test_values_are_replaced_by_their_reference() -> None:
    redactor = Redactor({"TOKEN": "hunter2", "URL": "s3://bucket/hunter2"})
    text = redactor.redact("GET s3://bucket/hunter2?x=hunter2 failed")
    assert text == "GET {{ env.URL }}?x={{ env.TOKEN }} failed"


def test_a_value_inside_credentials_goes_with_them() -> None:
    redactor = Redactor({"USER": "kim", "KEY": "hunter2"})
    assert redactor.redact("s3://kim:hunter2@bucket/x") == "s3://***@bucket/x"
    assert redactor.redact("https://h/x?token=hunter2&b=1") == "https://h/x?token=***&b=1"


@pytest.mark.parametrize("encode", [str, quote, repr, json.dumps, lambda text: quote(text, "")])
def test_encoded_forms_are_replaced(encode: object) -> None:
    secret = "p@ss wörd/\"'\\+&"
    assert callable(encode)
    text = Redactor({"S": secret}).redact(f"<{encode(secret)}>")
    assert "ss" not in text
    assert "{{ env.S }}" in text


def test_each_line_of_a_key_is_replaced() -> None:
    key = "-----BEGIN KEY-----\nabcdef\n-----END KEY-----\n"
    assert "abcdef" not in Redactor({"KEY": key}).redact("line 2 is abcdef")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://user:pw@host/p", "see https://***@host/p"),
        ("s3a://AKIA:se@cret@bucket/x", "s3a://***@bucket/x"),
        ("postgresql://u:p%40@db:5432/x", "postgresql://***@db:5432/x"),
        ("'https://token@github.com'", "'https://***@github.com'"),
        ("https://host/a@b", "https://host/a@b"),
        ("mail me@host.org", "mail me@host.org"),
        ("https://h/x?X-Amz-Signature=abc&y=1", "https://h/x?X-Amz-Signature=***&y=1"),
        ("https://h/x?a=1&access_token=abc", "https://h/x?a=1&access_token=***"),
        ("https://h/x?design=1", "https://h/x?design=1"),
    ],
)
def test_urls_lose_their_credentials(text: str, expected: str) -> None:
    assert Redactor().redact(text) == expected


def test_short_values_are_left_alone() -> None:
    assert Redactor({"N": "1", "EMPTY": ""}).redact("1 of 10") == "1 of 10"


def test_all_references_of_written_configs_are_known() -> None:
    written = [{"a": ["{{ env.ONE }}"]}, {"b": {"c": "x{{env.TWO}}", "d": 1}}]
    redactor = Redactor.of_written(written, {"ONE": "first", "TWO": "second", "THREE": "third"})
    assert redactor.redact("first second third") == "{{ env.ONE }} {{ env.TWO }} third"


@given(st.text(min_size=3, max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_a_secret_never_survives(secret: str, before: str, after: str) -> None:
    redacted = Redactor({"S": secret}).redact(before + secret + after)
    assert secret not in redacted.replace("{{ env.S }}", "").replace("***@", "") or secret in (
        before + after
    )


@pytest.mark.parametrize(
    "written",
    [
        {"sources": {"a": {"uri_env": "SHOP_DB"}, "b": [{"other_env": "KEY"}]}},
        "sources:\n  a: {uri_env: SHOP_DB}\n  b:\n    - other_env: 'KEY'\n",
    ],
)
def test_variables_that_a_config_names_are_known(written: Any) -> None:
    uri = "postgresql://me:p%40ss-word@host/db"
    redactor = Redactor.of_written([written], {"SHOP_DB": uri, "KEY": "abcdef", "NOT": "other"})
    assert redactor.redact(f"<{uri}> <p%40ss-word> <p@ss-word> <abcdef> <other>") == (
        "<{{ env.SHOP_DB }}> <{{ env.SHOP_DB }}> <{{ env.SHOP_DB }}> <{{ env.KEY }}> <other>"
    )
