"""Which of its own environment variables the launching process may copy into runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from mlops_assets.errors import EnvironmentProblemError

REFUSED = ("DAGSTER_PG_*", "POSTGRES_*", "PGPASSWORD")
"""Not for teams, unless `dagster.yaml` names them: they open the database of all teams."""


def check_names(names: Iterable[str], allowed: Sequence[str] | None) -> None:
    """Refuse a run whose project asks for variables that are not for it.

    Args:
        names: What the project's ``compute.environment`` asks for.
        allowed: Names, or beginnings with a ``*``; None allows everything but :data:`REFUSED`.

    Raises:
        EnvironmentProblemError: A variable is not allowed.
    """
    wrong = [name for name in names if not _is_allowed(name, allowed)]
    if not wrong:
        return
    raise EnvironmentProblemError(
        "this run may not have variables of the process that launches it",
        where="the project's `compute.environment`",
        found=", ".join(wrong),
        expected=_words(allowed),
        fix="take them out there"
        if allowed is None
        else "take them out there, or add them to `environment:` of dagster.yaml's run_launcher",
    )


def _words(allowed: Sequence[str] | None) -> str:
    if allowed is None:
        return f"any but {', '.join(REFUSED)}"
    return " or ".join(allowed) or "none"


def _is_allowed(name: str, allowed: Sequence[str] | None) -> bool:
    if allowed is None:
        return not _matches(name, REFUSED)
    return _matches(name, allowed)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
