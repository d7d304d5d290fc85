"""Channels that reach people: a real HTTP server, a real SMTP conversation, a real store."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.alerts.base import Alert
from mlops_assets.alerts.delivery import GIVE_UP_AFTER, Outbox, sender_for
from mlops_assets.alerts.webhook import message
from mlops_assets.config.alerts import AlertsSpec, EmailChannel
from mlops_assets.config.redaction import Redactor
from resources.local_store import LocalStore

NOW = datetime(2024, 1, 1, tzinfo=UTC)
ALERT = Alert(
    kind="drift",
    state="failed",
    severity="warn",
    project="flights/arrival_delay",
    asset="flights/arrival_delay/monitoring",
    check="drift",
    text="temp <drifted> & more",
    at=NOW.isoformat(),
    episode="17",
    url="http://127.0.0.1:3000/assets/x",
)


class Endpoint(ThreadingHTTPServer):
    """Keeps what is posted, and answers with ``status``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[dict[str, Any]] = []
        self.status = 200


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(json.loads(body))
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", "http://127.0.0.1:9/")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def outbox(tmp_path: Path, url: str, routes: list[dict[str, Any]] | None = None) -> Outbox:
    spec = AlertsSpec.model_validate(
        {
            "channels": {"chat": {"type": "webhook", "url": url}, "log": {"type": "log"}},
            "routes": routes or [{"channels": ["chat", "log"]}],
        }
    )
    redactor = Redactor({"HOOK": url})
    return Outbox(LocalStore(tmp_path / "store"), "flights", spec, redactor)


def address(endpoint: Endpoint) -> str:
    return f"http://127.0.0.1:{endpoint.server_address[1]}/secret-path"


def test_an_alert_is_told_once_however_often_it_is_noticed(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    box = outbox(tmp_path, address(endpoint))
    assert box.add(ALERT)
    assert not box.add(ALERT)
    assert box.deliver(NOW) == []
    assert box.deliver(NOW) == []
    assert len(endpoint.bodies) == 1
    assert not outbox(tmp_path, address(endpoint)).add(ALERT)  # another daemon


def test_a_channel_that_fails_is_tried_again_and_holds_no_other_up(
    tmp_path: Path, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    box = outbox(tmp_path, address(endpoint))
    box.add(ALERT)
    endpoint.status = 500
    caplog.set_level("WARNING", logger="mlops.alerts")
    (problem,) = box.deliver(NOW)
    assert "500" in problem
    assert len(caplog.records) == 1
    endpoint.status = 200
    assert box.deliver(NOW) == []
    assert len(caplog.records) == 1  # the log was told the first time
    assert len(endpoint.bodies) == 2


def test_a_dead_channel_is_given_up_after_a_while(tmp_path: Path) -> None:
    box = outbox(tmp_path, "http://127.0.0.1:9/secret-path")
    box.add(ALERT)
    (problem,) = box.deliver(NOW)
    assert "secret-path" not in problem
    assert box.deliver(NOW + GIVE_UP_AFTER + timedelta(seconds=1)) != []
    assert box.deliver(NOW + GIVE_UP_AFTER + timedelta(seconds=2)) == []


def test_redirects_are_not_followed(tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.status = 302
    box = outbox(tmp_path, address(endpoint))
    box.add(ALERT)
    assert "302" in box.deliver(NOW)[0]


def test_routes_by_kind_and_project(tmp_path: Path) -> None:
    routes = [
        {"kinds": ["gate"], "channels": ["chat"]},
        {"projects": ["arrival_*"], "channels": ["log"]},
    ]
    box = outbox(tmp_path, "http://x", routes)
    assert box.channels_of(ALERT) == ["log"]
    assert box.channels_of(replace(ALERT, kind="gate")) == ["chat", "log"]
    assert box.channels_of(replace(ALERT, project="flights/other")) == []


def test_slacks_control_characters_are_text() -> None:
    body = message(ALERT)
    assert "&lt;drifted&gt; &amp; more" in body["blocks"][0]["text"]["text"]
    assert ALERT.url in body["blocks"][0]["text"]["text"]


def test_each_occasion_has_its_own_name() -> None:
    changed = [
        replace(ALERT, state="recovered"),
        replace(ALERT, episode="18"),
        replace(ALERT, check="performance"),
        replace(ALERT, state="still failing"),
    ]
    assert len({one.fingerprint for one in [ALERT, *changed]}) == 5
    assert replace(ALERT, text="other words").fingerprint == ALERT.fingerprint


class MailServer(socketserver.ThreadingTCPServer):
    """As much of SMTP as a client needs; without encryption."""

    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MailHandler)
        self.mails: list[str] = []
        self.commands: list[str] = []


class MailHandler(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self._say("220 ready")
        while line := self.rfile.readline().decode().strip():
            self.server.commands.append(line)
            verb = line.split()[0].upper()
            if verb == "DATA":
                self._say("354 go on")
                lines = iter(lambda: self.rfile.readline().decode().rstrip("\r\n"), ".")
                self.server.mails.append("\n".join(lines))
            if verb == "QUIT":
                self._say("221 bye")
                return
            self._say("250 fine")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def mail_channel(server: MailServer, **changes: Any) -> EmailChannel:
    written = {
        "type": "email",
        "to": ["a@example.org", "b@example.org"],
        "sender": "mlops@example.org",
        "host": "127.0.0.1",
        "port": server.server_address[1],
    }
    return EmailChannel.model_validate(written | changes)


def test_mail(mail_server: MailServer) -> None:
    tricky = replace(ALERT, check="drift\nBcc: thief@example.org")
    sender_for("email").send(tricky, mail_channel(mail_server))
    (mail,) = mail_server.mails
    assert "To: a@example.org, b@example.org" in mail
    assert ALERT.url in mail
    assert "\nBcc:" not in mail


def test_a_password_is_never_sent_in_clear(mail_server: MailServer) -> None:
    channel = mail_channel(mail_server, user="me", password="hunter2")
    with pytest.raises(Exception, match="not sent"):
        sender_for("email").send(ALERT, channel)
    assert not any("hunter2" in line or "AUTH" in line for line in mail_server.commands)
