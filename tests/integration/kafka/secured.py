"""Encryption and log-in in front of a real broker, which has neither: TLS, then SASL by Kafka's own
requests. Everything else passes through, except that the broker's address becomes the guard's."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

from resources.processes import HOST

HANDSHAKE, AUTHENTICATE, API_VERSIONS = 17, 36, 18
UNSUPPORTED_MECHANISM, FAILED, ILLEGAL_STATE = 33, 58, 34
ITERATIONS = 4096


class RefusedError(Exception):
    """The log-in is wrong."""


@dataclass
class Guard:
    """Lets only those through who log in.

    Attributes:
        upstream: The broker's port.
        users: Password by name; empty: no log-in is wanted.
        tls: Certificates; None: nothing is encrypted.
        logged_in: Mechanism and name of everyone who came in.
        refused: How many were turned away.
    """

    upstream: int
    users: dict[str, str] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    logged_in: list[tuple[str, str]] = field(default_factory=list)
    refused: int = 0
    port: int = 0

    def serve(self, listener: socket.socket) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, plain: socket.socket) -> None:
        with plain, suppress(OSError, EOFError):
            try:
                client = self.tls.wrap_socket(plain, server_side=True) if self.tls else plain
            except ssl.SSLError:
                self.refused += 1
                return
            with closing(client), socket.create_connection((HOST, self.upstream)) as broker:
                try:
                    self._pass(client, broker)
                except RefusedError:
                    self.refused += 1

    def _pass(self, client: socket.socket, broker: socket.socket) -> None:
        """Requests one after the other: what a client may send before its log-in is known."""
        log_in = LogIn(self) if self.users else None
        while True:
            request = receive(client)
            api, version, number = struct.unpack(">hhi", request[:8])
            if log_in and api in (HANDSHAKE, AUTHENTICATE):
                assert version <= 1, "newer requests have another form"
                text = struct.unpack(">h", request[8:10])[0]
                body = request[10 + max(text, 0) :]
                answer, failed = log_in.answer(api, version, body)
                send(client, struct.pack(">i", number) + answer)
                if failed:
                    raise RefusedError
                continue
            if log_in and not log_in.done and api != API_VERSIONS:
                raise RefusedError
            send(broker, request)
            mine, theirs = struct.pack(">i", self.port), struct.pack(">i", self.upstream)
            host = HOST.encode()
            send(client, receive(broker).replace(host + theirs, host + mine))


class LogIn:
    """One connection's log-in, by PLAIN (RFC 4616) or SCRAM (RFC 5802)."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._mechanism = ""
        self._name = ""
        self._first = ""
        self.done = False

    def answer(self, api: int, version: int, body: bytes) -> tuple[bytes, bool]:
        """The answer's body, and whether the connection ends with it."""
        if api == HANDSHAKE:
            self._mechanism = body[2:].decode()
            known = self._mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
            names = struct.pack(">ih", 1, 5) + b"PLAIN"
            return struct.pack(">h", 0 if known else UNSUPPORTED_MECHANISM) + names, not known
        token = body[4:]
        try:
            reply = self._plain(token) if self._mechanism == "PLAIN" else self._scram(token)
        except RefusedError:
            text = b"Authentication failed"
            return struct.pack(">hh", FAILED, len(text)) + text + self._end(b"", version), True
        if self.done:
            self._guard.logged_in.append((self._mechanism, self._name))
        return struct.pack(">hh", 0, -1) + self._end(reply, version), False

    @staticmethod
    def _end(reply: bytes, version: int) -> bytes:
        lifetime = struct.pack(">q", 0) if version else b""
        return struct.pack(">i", len(reply)) + reply + lifetime

    def _plain(self, token: bytes) -> bytes:
        _, name, password = token.decode().split("\0")
        if self._guard.users.get(name) != password:
            raise RefusedError
        self._name, self.done = name, True
        return b""

    def _scram(self, token: bytes) -> bytes:
        if not self._first:
            return self._scram_first(token.decode())
        final, proof = token.decode().rsplit(",p=", 1)
        algorithm = self._mechanism.removeprefix("SCRAM-").replace("-", "").lower()

        def sign(key: bytes, text: bytes) -> bytes:
            return hmac.digest(key, text, algorithm)

        password = self._guard.users.get(self._name, secrets.token_hex()).encode()
        salted = hashlib.pbkdf2_hmac(algorithm, password, self._salt, ITERATIONS)
        text = f"{self._first},{final}".encode()
        stored = hashlib.new(algorithm, sign(salted, b"Client Key")).digest()
        signature = sign(stored, text)
        key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
        if hashlib.new(algorithm, key).digest() != stored:
            raise RefusedError
        self.done = True
        return b"v=" + base64.b64encode(sign(sign(salted, b"Server Key"), text))

    def _scram_first(self, message: str) -> bytes:
        bare = message.removeprefix("n,,")
        self._name, nonce = (part[2:] for part in bare.split(",")[:2])
        self._salt = secrets.token_bytes(16)
        salt = base64.b64encode(self._salt).decode()
        reply = f"r={nonce}{secrets.token_hex(8)},s={salt},i={ITERATIONS}"
        self._first = f"{bare},{reply}"
        return reply.encode()


def receive(connection: socket.socket) -> bytes:
    """One request or answer."""
    return _exactly(connection, struct.unpack(">i", _exactly(connection, 4))[0])


def send(connection: socket.socket, content: bytes) -> None:
    """One request or answer."""
    connection.sendall(struct.pack(">i", len(content)) + content)


def _exactly(connection: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        part = connection.recv(count - len(content))
        if not part:
            raise EOFError
        content += part
    return content


@contextmanager
def guarded(servers: str, users: dict[str, str], tls: ssl.SSLContext | None) -> Iterator[Guard]:
    """A guard on a free port in front of a broker."""
    with socket.create_server((HOST, 0)) as listener:
        guard = Guard(int(servers.rsplit(":", 1)[1]), users, tls)
        guard.port = listener.getsockname()[1]
        thread = threading.Thread(target=guard.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield guard
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)
