"""Plain, bounded JSON values from whatever an engine measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

MAX_TEXT = 200
MAX_ITEMS = 50


def to_plain(value: Any) -> Any:
    """The value as JSON would hold it: long text and long lists are cut.

    NaN and infinities, which JSON lacks, become text.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Decimal):
        return to_plain(float(value))
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return f"‹{len(value)} bytes›"
    if isinstance(value, Mapping):
        items = list(value.items())[:MAX_ITEMS]
        return {str(key): to_plain(item) for key, item in items}
    if isinstance(value, set | frozenset):
        return to_plain(sorted(value, key=str))
    if isinstance(value, list | tuple):
        shown = [to_plain(item) for item in value[:MAX_ITEMS]]
        return shown if len(value) <= MAX_ITEMS else [*shown, f"… {len(value) - MAX_ITEMS} more"]
    if hasattr(value, "item") and not isinstance(value, str | timedelta):
        return to_plain(value.item())
    text = str(value)
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
