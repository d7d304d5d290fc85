"""What a benchmark returns, and how it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Report:
    """One benchmark's result.

    Attributes:
        title: Heading.
        text: What was measured, how, and what it says.
        rows: Table rows; the first one's keys are the columns.
    """

    title: str
    text: str
    rows: Sequence[dict[str, Any]]

    def render(self) -> str:
        """The result as Markdown."""
        names = list(self.rows[0]) if self.rows else []
        lines = [f"## {self.title}", "", self.text, ""]
        if names:
            lines.append("| " + " | ".join(names) + " |")
            lines.append("|" + " --- |" * len(names))
            lines += ["| " + " | ".join(str(row[n]) for n in names) + " |" for row in self.rows]
        return "\n".join([*lines, ""])
