"""A schema registry as Confluent's clients know it, over real HTTP.

No package that tests can install has a registry. What matters is on the other side: the schemas are
registered, and the messages written, by Confluent's own serializers.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class RegistryServer(ThreadingHTTPServer):
    """Numbers every schema that is registered, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.schemas: list[dict[str, Any]] = []
        self.subjects: dict[str, list[int]] = {}
        self.asked: list[str] = []
        self.status = 200
        self.knows_descriptors = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        """Its number, from 1 on."""
        if schema not in self.schemas:
            self.schemas.append(schema)
        number = self.schemas.index(schema) + 1
        versions = self.subjects.setdefault(subject, [])
        if number not in versions:
            versions.append(number)
        return number


class _Handler(BaseHTTPRequestHandler):
    server: RegistryServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.server.asked.append(self.path)
        match [unquote(word) for word in url.path.strip("/").split("/")]:
            case ["schemas", "ids", number] if 0 < int(number) <= len(self.server.schemas):
                self._answer(self._shown(int(number), url.query))
            case ["subjects", subject, "versions", version] if subject in self.server.subjects:
                number = self.server.subjects[subject][int(version) - 1]
                self._answer({**self._shown(number, url.query), **self._place(subject, number)})
            case _:
                self._answer({"error_code": 40403, "message": "Schema not found"}, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        schema = {key: body[key] for key in ("schema", "schemaType", "references") if body.get(key)}
        words = [unquote(word) for word in urlsplit(self.path).path.strip("/").split("/")]
        number = self.server.register(words[1], schema)
        self._answer({**schema, **self._place(words[1], number)})

    def _place(self, subject: str, number: int) -> dict[str, Any]:
        version = self.server.subjects[subject].index(number) + 1
        return {"id": number, "subject": subject, "version": version}

    def _shown(self, number: int, query: str) -> dict[str, Any]:
        """A schema; of Protobuf its descriptor only where that is asked for, and known."""
        schema = self.server.schemas[number - 1]
        is_protobuf = schema.get("schemaType") == "PROTOBUF"
        if is_protobuf and not ("format=serialized" in query and self.server.knows_descriptors):
            return {**schema, "schema": 'syntax = "proto3";\nmessage Text {}\n'}
        return schema

    def _answer(self, body: dict[str, Any], status: int = 200) -> None:
        if self.server.status != 200:
            body, status = {"error_code": self.server.status, "message": "no"}, self.server.status
        answer = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@contextmanager
def running_registry() -> Iterator[RegistryServer]:
    """A registry on a free loopback port."""
    server = RegistryServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
