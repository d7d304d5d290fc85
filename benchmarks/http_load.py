"""A load generator for HTTP/1.1 in one thread: so many connections, one request each at a time.

It sends prepared bytes and looks at as little as it must of the answers, so that it costs the
servers under test as little of the machine as possible.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from dataclasses import asdict, dataclass, field


@dataclass
class Result:
    """What a run of the generator found.

    Attributes:
        seconds: How long it ran.
        latencies: Seconds of each answered request, in order.
        errors: Requests that were not answered with 200.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: int = 0

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return len(self.latencies) / self.seconds

    def milliseconds(self, quantile: float) -> float:
        """A quantile of the latency."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(int(quantile * len(ordered)), len(ordered) - 1)]


class _Connection:
    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = request
        self.received = b""
        self.sent_at = 0.0

    def send(self) -> None:
        self.received = b""
        self.sent_at = time.perf_counter()
        self.socket.sendall(self.request)

    def receive(self) -> int | None:
        """Status of the answer once it is complete."""
        part = self.socket.recv(65536)
        if not part:
            return 0
        self.received += part
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return None
        lower = head.lower()
        start = lower.index(b"content-length:") + 15
        length = int(lower[start:].split(b"\r\n", 1)[0])
        return int(head[9:12]) if len(body) >= length else None


def http_request(port: int, path: str, body: object) -> bytes:
    """The bytes of one POST request with a JSON body."""
    text = json.dumps(body, ensure_ascii=False).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    return head.encode() + text


def run(port: int, requests: list[bytes], *, connections: int, seconds: float) -> Result:
    """Send the requests in turn over so many connections for so long."""
    result = Result()
    selector = selectors.DefaultSelector()
    start = time.perf_counter()
    for number in range(connections):
        one = _Connection(("127.0.0.1", port), requests[number % len(requests)])
        selector.register(one.socket, selectors.EVENT_READ, one)
        one.send()
    end = start + seconds
    number = connections
    while (now := time.perf_counter()) < end:
        for key, _ in selector.select(timeout=end - now):
            one = key.data
            status = one.receive()
            if status is None:
                continue
            if status == 200:
                result.latencies.append(time.perf_counter() - one.sent_at)
            else:
                result.errors += 1
            if status == 0:
                selector.unregister(one.socket)
                one = _Connection(("127.0.0.1", port), one.request)
                selector.register(one.socket, selectors.EVENT_READ, one)
            one.request = requests[number % len(requests)]
            number += 1
            one.send()
    result.seconds = time.perf_counter() - start
    return result


def main() -> None:
    """Run in a process of its own: an order as JSON on standard input, the result on output."""
    order = json.load(sys.stdin)
    requests = [http_request(order["port"], order["path"], body) for body in order["bodies"]]
    result = run(
        order["port"], requests, connections=order["connections"], seconds=order["seconds"]
    )
    sys.stdout.write(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
