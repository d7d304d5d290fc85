"""Errors as the Dagster UI shows them: in parts, and without secrets."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from mlops_assets.config.project import Project
from mlops_assets.config.redaction import Redactor
from mlops_assets.errors import MlopsError


@contextmanager
def reported(project: Project) -> Iterator[None]:
    """Turn whatever a step raises into a failure whose text holds no secret of the project.

    Errors that the engine raises on purpose are shown by their parts and without a traceback;
    others keep their traceback.
    """
    try:
        yield
    except (dg.Failure, dg.RetryRequested):
        raise
    except MlopsError as error:
        redact = _redactor(project).redact
        parts = {"where": error.where, "found": error.found, "expected": error.expected}
        shown = {name: redact(text) for name, text in parts.items() if text}
        raise dg.Failure(
            redact(str(error)),
            metadata={"error": type(error).__name__, **shown}
            | ({"what to do": error.fix} if error.fix else {}),
            allow_retries=False,
        ) from None
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        redacted = _redactor(project).redact(text)
        if redacted == text:
            raise
        raise dg.Failure(redacted) from None


def redacted(project: Project, text: str) -> str:
    """The text without the project's secrets."""
    return _redactor(project).redact(text)


def _redactor(project: Project) -> Redactor:
    return Redactor.of_written([project.written], os.environ)
