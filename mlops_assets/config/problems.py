"""What is wrong with a project's files: where, found, expected, nearest match."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlops_assets.errors import ConfigError

Location = tuple[str | int, ...]
"""Keys and list positions from the top of a file to a value."""

Severity = Literal["error", "warning"]

MAX_SHOWN = 120


def format_path(location: Location) -> str:
    """``("evaluation", "gates", 0, "metric")`` as ``evaluation.gates[0].metric``."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def show(value: Any) -> str:
    """A value for a message: quoted when it is text, named when it is large, bounded."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 2]}…{text[-1]}"


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known name that somebody who wrote ``word`` most likely meant, or None."""
    names = list(known)
    text = str(word)
    folded = {name.lower().replace("-", "_"): name for name in names}
    matches = difflib.get_close_matches(text.lower().replace("-", "_"), folded, n=1, cutoff=0.55)
    return folded[matches[0]] if matches and folded[matches[0]] != text else None


def one_of(names: Iterable[str]) -> str:
    """``one of a, b, c``, or the name itself when there is only one."""
    known = list(names)
    return known[0] if len(known) == 1 else f"one of {', '.join(known)}"


@dataclass(frozen=True)
class FieldProblem:
    """A problem with a value, before it is known in which file and line the value stands.

    Attributes:
        location: Keys and positions to the value.
        found: What is there.
        expected: What would be right.
        suggestion: The nearest valid value.
        severity: ``warning`` does not make a project invalid.
        about_key: The key is wrong, whatever its value.
    """

    location: Location
    found: str
    expected: str
    suggestion: str | None = None
    severity: Severity = "error"
    about_key: bool = False

    @property
    def path(self) -> str:
        """The location in text."""
        return format_path(self.location)

    @property
    def text(self) -> str:
        """``found X, expected Y; did you mean Z?``"""
        hint = f"; did you mean {self.suggestion}?" if self.suggestion else ""
        return f"found {self.found}, expected {self.expected}{hint}"

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.location else self.text


class FieldProblems(ValueError):  # noqa: N818 - a collection of problems, raised as one
    """Raised inside a spec's validator: problems that each have their own field.

    Locations start at the model that raises.
    """

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


@dataclass(frozen=True)
class Problem:
    """A problem that a reader can go to.

    Attributes:
        file: The file, as the reader would write it (relative where that is possible).
        line: Line, from 1; None when the problem is the file itself.
        column: Column, from 1.
        path: The field, such as ``evaluation.gates[0].metric``; empty for the file as a whole.
        found: What is there, as written: never a resolved environment variable.
        expected: What would be right.
        suggestion: The nearest valid value.
        severity: ``warning`` does not make a project invalid.
    """

    file: Path
    line: int | None
    column: int | None
    path: str
    found: str
    expected: str
    suggestion: str | None = None
    severity: Severity = "error"

    @property
    def text(self) -> str:
        """Everything but the place."""
        hint = f"; did you mean {self.suggestion}?" if self.suggestion else ""
        field = f"{self.path}: " if self.path else ""
        return f"{field}found {self.found}, expected {self.expected}{hint}"

    @property
    def place(self) -> str:
        """``file:line``."""
        return str(self.file) if self.line is None else f"{self.file}:{self.line}"

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"

    @property
    def sort_key(self) -> tuple[str, int, int, str]:
        """Order by file, then by place in it."""
        return (str(self.file), self.line or 0, self.column or 0, self.path)


class ConfigProblems(ConfigError):  # noqa: N818 - a collection of problems, raised as one
    """All problems of one project at once.

    Attributes:
        problems: The problems, in the order of the file; at least one is an error.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.sort_key))
        errors = [problem for problem in self.problems if problem.severity == "error"]
        first = errors[0] if errors else self.problems[0]
        rest = f" (the first of {len(errors)} problems)" if len(errors) > 1 else ""
        field = f"{first.path}: " if first.path else ""
        super().__init__(
            f"{field}the configuration is not valid{rest}",
            where=first.place,
            found=first.found,
            expected=first.expected,
            fix=(f"did you mean {first.suggestion}? " if first.suggestion else "")
            + "`mlops check` shows every problem",
        )
