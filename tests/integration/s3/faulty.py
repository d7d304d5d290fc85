"""A proxy before the S3 server that does what networks and services do on bad days."""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Answer:
    """What the real server answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


Fault = Callable[["Request"], Answer | None]
"""Makes the answer to a request, asking the real server or not; None breaks the line."""


@dataclass
class Request:
    """A client's request, and how to pass it on."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    upstream: str
    number: int

    def forward(self) -> Answer:
        connection = http.client.HTTPConnection(self.upstream, timeout=60)
        connection.request(self.method, self.path, self.body, self.headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return Answer(answer.status, answer.getheaders(), body)


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        endpoint: Its address.
        faults: Applied to requests in their order: each is used up by one matching request.
        requests: Method and path of every request.
    """

    endpoint: str
    faults: list[tuple[Callable[[Request], bool], Fault]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, fault: Fault, *, times: int = 1, method: str = "", part: str = "") -> None:
        """Let a fault happen to the next requests of a method whose path holds a part."""

        def matches(request: Request) -> bool:
            return request.method == (method or request.method) and part in request.path

        self.faults += [(matches, fault)] * times

    def take(self, request: Request) -> Fault | None:
        with self.lock:
            self.requests.append((request.method, request.path))
            for place, (matches, fault) in enumerate(self.faults):
                if matches(request):
                    del self.faults[place]
                    return fault
        return None


def server_error(request: Request) -> Answer:
    """An answer 500, nothing done."""
    body = b"<Error><Code>InternalError</Code><Message>planned</Message></Error>"
    return Answer(500, [("Content-Type", "application/xml")], body)


def denied(request: Request) -> Answer:
    """A refusal: the credentials may not do it."""
    body = b"<Error><Code>AccessDenied</Code><Message>planned</Message></Error>"
    return Answer(403, [("Content-Type", "application/xml")], body)


def slow(seconds: float) -> Fault:
    """The right answer, late."""

    def late(request: Request) -> Answer:
        time.sleep(seconds)
        return request.forward()

    return late


def done_but_lost(request: Request) -> None:
    """The server does it; its answer never arrives."""
    request.forward()


def cut_body(request: Request) -> Answer:
    """Half of the body, under the length of the whole."""
    answer = request.forward()
    kept = [(k, v) for k, v in answer.headers if k.lower() != "content-length"]
    return Answer(
        answer.status,
        [*kept, ("Content-Length", str(len(answer.body)))],
        answer.body[: len(answer.body) // 2],
    )


def cut_listing(request: Request) -> Answer:
    """A well-formed answer that holds only a part of a listing."""
    answer = request.forward()
    start = answer.body.index(b"<Contents>")
    end = answer.body.index(b"</Contents>") + len(b"</Contents>")
    return Answer(answer.status, answer.headers, answer.body[:start] + answer.body[end:])


def half_xml(request: Request) -> Answer:
    """A listing that ends in the middle of a word, under the length that it has."""
    answer = request.forward()
    return Answer(answer.status, answer.headers, answer.body[: len(answer.body) // 2])


def empty_answer(request: Request) -> Answer:
    """An answer 200 without a body."""
    return Answer(200, [("Content-Type", "application/xml")], b"")


def no_token(request: Request) -> Answer:
    """A listing that says that it goes on, and not where."""
    answer = request.forward()
    body = answer.body.replace(
        b"<IsTruncated>false</IsTruncated>", b"<IsTruncated>true</IsTruncated>"
    )
    assert body != answer.body
    return Answer(answer.status, answer.headers, body)


def without_condition(request: Request) -> Answer:
    """The server writes whether the key is there or not, as one that does not know the header."""
    return _without("if-none-match", request)


def without_range(request: Request) -> Answer:
    """The server sends the whole object, as one that does not know the header."""
    return _without("range", request)


def _without(header: str, request: Request) -> Answer:
    """The header is part of the signature, so the request is signed again without it."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    dropped = {header, "authorization", "x-amz-date"}
    kept = {k: v for k, v in request.headers.items() if k.lower() not in dropped}
    url = f"http://{request.headers['Host']}{request.path}"
    again = AWSRequest(request.method, url, headers=kept, data=request.body)
    keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    S3SigV4Auth(keys, "s3", os.environ.get("AWS_REGION", "us-east-1")).add_auth(again)
    request.headers = dict(again.headers.items())
    return request.forward()


@contextmanager
def faulty_proxy(endpoint: str) -> Iterator[Proxy]:
    """A proxy before an endpoint, for a block."""
    upstream = urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            request = Request(
                self.command,
                self.path,
                dict(self.headers.items()),
                self.rfile.read(length),
                upstream,
                len(proxy.requests),
            )
            fault = proxy.take(request)
            answer = fault(request) if fault else request.forward()
            if answer is None:
                self.close_connection = True
                return
            self._send(answer)

        def _send(self, answer: Answer) -> None:
            self.send_response_only(answer.status)
            names = {name.lower() for name, _ in answer.headers}
            for name, value in answer.headers:
                shown = value
                if name.lower() == "content-length" and self.command != "HEAD":
                    shown = value if int(value) > len(answer.body) else str(len(answer.body))
                if name.lower() not in {"transfer-encoding", "connection"}:
                    self.send_header(name, shown)
            if "content-length" not in names:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
            declared = next((int(v) for k, v in answer.headers if k.lower() == "content-length"), 0)
            if self.command != "HEAD" and declared > len(answer.body):
                self.close_connection = True

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
