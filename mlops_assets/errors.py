"""Every error the engine raises on purpose.

    MlopsError
    ├── ConfigError              a project's YAML, SQL or model file is wrong
    ├── SourceError              a source cannot be read (missing, corrupt, unknown table)
    │   └── NoFilesError         there are no files where files are read
    ├── SchemaError              columns are missing, renamed or of another type
    ├── QualityError             an expectation with severity ``error`` failed
    ├── EmptyDataError           there are no rows where rows are needed
    ├── StoreError               a data set, bundle or manifest cannot be read or written
    │   └── AlreadyExistsError   create-if-absent found the name taken
    ├── TrainingError            training cannot go on (NaN loss, no device, out of memory)
    ├── BundleError              a model bundle is unsafe, incomplete or was changed
    ├── ParityError              torch, ONNX Runtime or Triton disagree beyond the tolerance
    ├── EvaluationError          an evaluation would not be honest (overlap, no rows)
    ├── DeploymentError          a candidate could not be deployed
    │   ├── ServerUnavailableError   the model server does not answer
    │   └── LedgerConflictError      another run changed the deployment first
    └── EnvironmentProblemError  something the machine lacks (Java, glibc, a port)

Each one says where, what was found, what was expected and what to do next; the parts are kept
apart so that the command line, the Dagster UI and alerts can each show them in their own way.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_PART_LENGTH = 2000
_SHOWN = 5


def first_few(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    rest = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def _bounded(text: object) -> str:
    """The text, cut in its middle past :data:`MAX_PART_LENGTH` characters."""
    value = str(text)
    if len(value) <= MAX_PART_LENGTH:
        return value
    half = MAX_PART_LENGTH // 2
    return f"{value[:half]} … {value[-half:]}"


class MlopsError(Exception):
    """Base of all errors raised on purpose.

    Args:
        problem: One sentence: what is wrong.
        where: File, asset, server or path that the problem is about.
        found: What was there.
        expected: What should have been there.
        fix: What the reader can do next.
    """

    def __init__(
        self,
        problem: str,
        *,
        where: object = None,
        found: object = None,
        expected: object = None,
        fix: str | None = None,
    ) -> None:
        self.problem = _bounded(problem)
        self.where = None if where is None else _bounded(where)
        self.found = None if found is None else _bounded(found)
        self.expected = None if expected is None else _bounded(expected)
        self.fix = fix
        super().__init__(self._message())

    def _message(self) -> str:
        head = f"{self.where}: {self.problem}" if self.where else self.problem
        parts = [head]
        if self.found is not None:
            parts.append(f"found: {self.found}")
        if self.expected is not None:
            parts.append(f"expected: {self.expected}")
        if self.fix:
            parts.append(f"what to do: {self.fix}")
        return "\n  ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.__dict__.copy()))


def _rebuild(kind: type[MlopsError], state: dict[str, object]) -> MlopsError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    Exception.__init__(error, error._message())
    return error


class ConfigError(MlopsError):
    """A project's YAML, SQL or model file is wrong."""


class SourceError(MlopsError):
    """A source cannot be read."""


class NoFilesError(SourceError):
    """There are no files where files are read."""


class SchemaError(MlopsError):
    """Columns are missing, renamed or of another type than declared."""


class QualityError(MlopsError):
    """An expectation with severity ``error`` failed."""


class EmptyDataError(MlopsError):
    """There are no rows where rows are needed."""


class StoreError(MlopsError):
    """A data set, bundle or manifest cannot be read or written."""


class AlreadyExistsError(StoreError):
    """Create-if-absent found the name taken."""


class TrainingError(MlopsError):
    """Training cannot go on."""


class BundleError(MlopsError):
    """A model bundle is unsafe, incomplete or was changed."""


class ParityError(MlopsError):
    """Two runtimes disagree about the same rows beyond the tolerance."""


class EvaluationError(MlopsError):
    """An evaluation would not be honest."""


class DeploymentError(MlopsError):
    """A candidate could not be deployed."""


class ServerUnavailableError(DeploymentError):
    """The model server does not answer."""


class LedgerConflictError(DeploymentError):
    """Another run changed the deployment first."""


class EnvironmentProblemError(MlopsError):
    """The machine lacks something that the engine needs."""
