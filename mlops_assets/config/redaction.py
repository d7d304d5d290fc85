"""Keeps the values of environment references out of everything a person or a log sees."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from mlops_assets.config.environment import named_variables, referenced_names

MASK = "***"
MIN_LENGTH = 3
"""Shorter values (``1``, ``eu``) are in every text by chance and protect nothing."""

_REFERENCE = r"\{\{ env\.\w+ \}\}"
_USERINFO = re.compile(
    rf"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]*://)(?:{_REFERENCE}|[^/\s\"'<>])*@"
)
_QUERY_SECRET = re.compile(
    r"(?i)([?&;](?:sig|[a-z0-9_-]*(?:signature|token|credential|password|passwd|secret|api_?key"
    rf"|access_?key)[a-z0-9_-]*)=)(?:{_REFERENCE}|[^&;\s\"'<>])+"
)


class Redactor:
    """Replaces known secret values by the reference that they came from.

    URLs lose their user name and password, and signature-like query parameters, always.

    Args:
        values: Secret values by the name of their environment variable.
    """

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._names: dict[str, str] = {}
        for name, value in (values or {}).items():
            for form in _forms(value):
                self._names.setdefault(form, name)
        longest_first = sorted(self._names, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if self._names else None

    @classmethod
    def of_written(cls, written: Iterable[Any], environ: Mapping[str, str]) -> Redactor:
        """A redactor for all environment variables that configs as written refer to.

        Args:
            written: The ``written`` attributes of any number of projects.
            environ: Environment in which the references are resolved.
        """
        names = {
            name for data in written for name in referenced_names(data) | named_variables(data)
        }
        return cls({name: environ[name] for name in names if name in environ})

    def redact(self, text: str) -> str:
        """The text without secrets."""
        if self._known is not None:
            text = self._known.sub(lambda match: f"{{{{ env.{self._names[match[0]]} }}}}", text)
        text = _USERINFO.sub(rf"\1{MASK}@", text)
        return _QUERY_SECRET.sub(rf"\1{MASK}", text)


def _forms(value: str) -> set[str]:
    """The value as it may turn up: itself, its lines, a URI's password, URL-encoded, quoted."""
    forms = {value, *(line.strip() for line in value.splitlines()), *_passwords(value)}
    for form in list(forms):
        forms |= {quote(form), quote(form, safe=""), quote_plus(form)}
        forms |= {json.dumps(form)[1:-1], repr(form)[1:-1]}
    return {form for form in forms if len(form) >= MIN_LENGTH}


def _passwords(value: str) -> set[str]:
    """The password in a connection URI, as it stands there and as it was meant."""
    try:
        password = urlsplit(value).password if "://" in value else None
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()
