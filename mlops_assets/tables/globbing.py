"""Names of files for Spark, which takes every path that it reads for a glob."""

from __future__ import annotations

from pathlib import Path


def escaped(path: Path | str) -> str:
    """A path or an address that Spark does not take for a glob."""
    return "".join(f"\\{c}" if c in "\\*?[]{}" else c for c in str(path))
