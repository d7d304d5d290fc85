"""A Confluent-compatible schema registry: schemas by the number that a message names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mlops_assets.config.kafka import SchemaRegistry
from mlops_assets.errors import SourceError
from resources.kafka_security import secret

if TYPE_CHECKING:
    import requests

_TIMEOUT_SECONDS = 20
_MAX_REFERENCES = 200
_REFUSED = {401, 403}


@dataclass(frozen=True)
class RegisteredSchema:
    """A schema as the registry gives it.

    Attributes:
        type: ``AVRO``, ``PROTOBUF`` or ``JSON``.
        text: The schema; of Protobuf a file descriptor in base64.
        references: Name, subject and version of each schema that it refers to.
    """

    type: str
    text: str
    references: tuple[tuple[str, str, int], ...]


class Registry:
    """Asks a registry over HTTP; answers are not remembered here.

    Args:
        spec: Where it is.
        where: For messages: whose topic it is.
        is_serialized: Ask for Protobuf schemas as descriptors, which need no compiler.

    Raises:
        EnvironmentProblemError: A variable with the user name or the password is not set.
    """

    def __init__(self, spec: SchemaRegistry, where: str, *, is_serialized: bool = False) -> None:
        self._url = spec.url.rstrip("/")
        self._where = where
        self._log_in = None
        self._session: requests.Session | None = None
        self._query = "?format=serialized" if is_serialized else ""
        if spec.username_env is not None:
            self._log_in = (secret(spec.username_env, where), secret(spec.password_env, where))

    def schema(self, number: int) -> RegisteredSchema | None:
        """The schema of that number, or None when the registry answers and has none.

        Raises:
            SourceError: The registry is away, or refuses.
        """
        return self._get(f"/schemas/ids/{number}")

    def referenced(self, schema: RegisteredSchema) -> Iterator[tuple[str, RegisteredSchema]]:
        """Everything that a schema refers to, each once, with what it refers to itself before it.

        Raises:
            SourceError: The registry is away, refuses, or does not have one of them.
        """
        yield from self._referenced(schema, set())

    def _referenced(
        self, schema: RegisteredSchema, seen: set[str]
    ) -> Iterator[tuple[str, RegisteredSchema]]:
        for name, subject, version in schema.references:
            if name in seen:
                continue
            seen.add(name)
            if len(seen) > _MAX_REFERENCES:
                most = f"more than {_MAX_REFERENCES}"
                raise self._error("a schema refers to too many others", most, "split the schema")
            found = self._get(f"/subjects/{quote(subject, safe='')}/versions/{version}")
            if found is None:
                raise self._error(
                    "the schema registry does not have a schema that another one refers to",
                    f"no version {version} of subject {subject}",
                    "register it",
                )
            yield from self._referenced(found, seen)
            yield name, found

    def _get(self, path: str) -> RegisteredSchema | None:
        import requests

        url = f"{self._url}{path}"
        try:
            self._session = self._session or requests.Session()
            answer = self._session.get(
                url + self._query, auth=self._log_in, timeout=_TIMEOUT_SECONDS
            )
        except requests.RequestException as error:
            found = f"{type(error).__name__} at {url}"
            raise self._error("the schema registry is away", found) from None
        if answer.status_code == requests.codes.not_found:
            return None
        status = f"status {answer.status_code} at {url}"
        if answer.status_code in _REFUSED:
            fix = "correct the user, the password or what the user may read"
            raise self._error("the schema registry refuses the log-in", status, fix)
        if not answer.ok:
            raise self._error("the schema registry is away", status)
        try:
            return _parsed(answer.json())
        except (TypeError, KeyError, ValueError, AttributeError):
            problem = "what should be a schema registry answers otherwise"
            raise self._error(problem, f"no schema at {url}", "correct its address") from None

    def _error(self, problem: str, found: str, fix: str = "start it, or check it") -> SourceError:
        return SourceError(
            problem,
            where=self._where,
            found=found,
            fix=f"{fix} (`format.registry`); nothing was taken",
        )


def _parsed(answer: Any) -> RegisteredSchema:
    references = answer.get("references") or ()
    return RegisteredSchema(
        type=str(answer.get("schemaType") or "AVRO"),
        text=str(answer["schema"]),
        references=tuple(
            (str(r["name"]), str(r["subject"]), int(r["version"])) for r in references
        ),
    )
