"""Channels that reach people: a real HTTP server, a real SMTP conversation, a real store."""

from __future__ import annotations

import json
import shutil
import smtplib
import socketserver
import ssl
import subprocess
import threading
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.alerts.base import Alert
from mlops_assets.alerts.delivery import ATTEMPTS, Outbox, sender_for, wait_after
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
    since=NOW.isoformat(),
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
    assert len(endpoint.bodies) == 1  # too early
    assert box.deliver(NOW + wait_after(1)) == []
    assert len(caplog.records) == 1  # the log was told the first time
    assert len(endpoint.bodies) == 2


def test_a_dead_channel_is_given_up_after_a_while(tmp_path: Path) -> None:
    box = outbox(tmp_path, "http://127.0.0.1:9/secret-path")
    box.add(ALERT)
    attempts = [box.deliver(NOW + n * timedelta(hours=2)) for n in range(ATTEMPTS + 3)]
    assert [len(problems) for problems in attempts] == [1] * ATTEMPTS + [0] * 3
    assert "given up" in attempts[ATTEMPTS - 1][0]
    assert "secret-path" not in str(attempts)
    assert sum((wait_after(n) for n in range(1, ATTEMPTS)), timedelta()) > timedelta(hours=7)


def test_many_alerts_cost_a_dead_channel_one_attempt_and_reach_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box = outbox(tmp_path, "http://127.0.0.1:9/")
    for number in range(60):
        assert box.add(replace(ALERT, episode=str(number)))
    caplog.set_level("WARNING", logger="mlops.alerts")
    assert len(box.deliver(NOW)) == 1
    assert len(caplog.records) == 60


def test_what_takes_too_long_goes_on_in_the_next_tick(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = outbox(tmp_path, address(endpoint))
    box.add(ALERT)
    with monkeypatch.context() as hurried:
        hurried.setattr("mlops_assets.alerts.delivery.SECONDS_PER_TICK", -1.0)
        assert box.deliver(NOW) == []
    assert (endpoint.bodies, box.unsettled) == ([], [ALERT.fingerprint])
    box.deliver(NOW, only=box.unsettled)
    assert (len(endpoint.bodies), box.unsettled) == (1, [])


def test_killed_before_sending_it_is_sent_later(tmp_path: Path, endpoint: Endpoint) -> None:
    box = outbox(tmp_path, address(endpoint))
    box.add(ALERT)
    claim = f"flights/alerts.outbox/{ALERT.fingerprint}/chat.try1"
    LocalStore(tmp_path / "store").create(claim, NOW.isoformat().encode())
    assert box.deliver(NOW + timedelta(seconds=59)) == []
    assert endpoint.bodies == []  # perhaps the other one is just about to send it
    assert box.deliver(NOW + timedelta(seconds=60)) == []
    assert len(endpoint.bodies) == 1


def test_killed_after_sending_it_is_sent_once_more(tmp_path: Path, endpoint: Endpoint) -> None:
    box = outbox(tmp_path, address(endpoint))
    box.add(ALERT)
    box.deliver(NOW)
    folder = tmp_path / "store" / "flights" / "alerts.outbox" / ALERT.fingerprint
    (folder / "chat.sent").unlink()
    (folder / "done").unlink()
    for minute in range(1, 10):
        box.deliver(NOW + timedelta(minutes=minute))
    assert len(endpoint.bodies) == 2


def test_two_daemons_send_once(tmp_path: Path, endpoint: Endpoint) -> None:
    boxes = [outbox(tmp_path, address(endpoint)) for _ in range(4)]
    assert sum(box.add(ALERT) for box in boxes) == 1
    with ThreadPoolExecutor(len(boxes)) as pool:
        assert list(pool.map(lambda box: box.deliver(NOW), boxes)) == [[]] * len(boxes)
    assert len(endpoint.bodies) == 1


def test_an_alert_of_another_version_holds_nothing_up(tmp_path: Path, endpoint: Endpoint) -> None:
    box = outbox(tmp_path, address(endpoint))
    store = LocalStore(tmp_path / "store")
    store.create("flights/alerts.outbox/0/alert.json", b'{"kind": "drift", "was": 1}')
    box.add(ALERT)
    assert len(box.deliver(NOW)) == 1
    assert len(endpoint.bodies) == 1
    assert box.deliver(NOW) == []


def test_no_secret_is_kept(tmp_path: Path, endpoint: Endpoint) -> None:
    url = address(endpoint)
    box = outbox(tmp_path, url)
    box.add(replace(ALERT, text=f"cannot read {url}"))
    endpoint.status = 500
    problems = box.deliver(NOW)
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert not any(b"secret-path" in path.read_bytes() for path in files)
    assert "secret-path" not in f"{problems} {endpoint.bodies}"


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


def test_routes_by_severity(tmp_path: Path) -> None:
    routes = [{"severities": ["error"], "channels": ["chat"]}, {"channels": ["log"]}]
    box = outbox(tmp_path, "http://x", routes)
    assert box.channels_of(ALERT) == ["log"]
    assert box.channels_of(replace(ALERT, severity="error")) == ["chat", "log"]


def test_a_message_is_never_longer_than_slack_takes() -> None:
    body = message(replace(ALERT, text="<" * 100_000))
    assert len(body["blocks"][0]["text"]["text"]) < 3000
    assert ALERT.url in body["blocks"][0]["text"]["text"]


def test_slacks_control_characters_are_text() -> None:
    body = message(ALERT)
    assert "&lt;drifted&gt; &amp; more" in body["blocks"][0]["text"]["text"]
    assert ALERT.url in body["blocks"][0]["text"]["text"]


def test_each_occasion_has_its_own_name() -> None:
    changed = [
        replace(ALERT, state="recovered"),
        replace(ALERT, episode="18"),
        replace(ALERT, check="performance"),
        replace(ALERT, severity="error"),
        replace(ALERT, state="still failing", reminder=1),
        replace(ALERT, state="still failing", reminder=2),
    ]
    assert len({one.fingerprint for one in [ALERT, *changed]}) == 7
    assert replace(ALERT, text="other words").fingerprint == ALERT.fingerprint


class MailServer(socketserver.ThreadingTCPServer):
    """As much of SMTP as a client needs; encrypted when it has a certificate."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MailHandler)
        self.mails: list[str] = []
        self.clear: list[str] = []
        self.encrypted: list[str] = []
        self.tls: ssl.SSLContext | None = None
        self.from_the_first_byte = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is not news."""


class MailHandler(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        heard = self.server.clear
        if self.server.from_the_first_byte and self.server.tls:
            self._encrypt(self.server.tls)
            heard = self.server.encrypted
        self._say("220 ready")
        while line := self.rfile.readline().decode().strip():
            heard.append(line)
            verb = line.split()[0].upper()
            if verb == "EHLO" and self.server.tls:
                secure = heard is self.server.encrypted
                self._say("250-hello\r\n250 " + ("AUTH PLAIN" if secure else "STARTTLS"))
                continue
            if verb == "STARTTLS" and self.server.tls:
                self._say("220 go on")
                self._encrypt(self.server.tls)
                heard = self.server.encrypted
                continue
            if verb == "AUTH":
                self._say("235 welcome")
                continue
            if verb == "DATA":
                self._say("354 go on")
                lines = iter(lambda: self.rfile.readline().decode().rstrip("\r\n"), ".")
                self.server.mails.append("\n".join(lines))
            if verb == "QUIT":
                self._say("221 bye")
                return
            self._say("250 fine")

    def _encrypt(self, tls: ssl.SSLContext) -> None:
        self.request = tls.wrap_socket(self.request, server_side=True)
        self.rfile = self.request.makefile("rb")
        self.wfile = self.request.makefile("wb", buffering=0)

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def certificate(tmp_path: Path, mail_server: MailServer) -> Path:
    """The server's own certificate, which no client trusts by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("makes a certificate with openssl, which is not there")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    mail_server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    mail_server.tls.load_cert_chain(certificate, key)
    return certificate


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
    with pytest.raises(smtplib.SMTPNotSupportedError, match="not sent"):
        sender_for("email").send(ALERT, channel)
    assert mail_server.clear
    assert not any("hunter2" in line or "AUTH" in line for line in mail_server.clear)


def test_mail_is_encrypted_where_the_server_offers_it(
    mail_server: MailServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    channel = mail_channel(mail_server, user="me", password="hunter2")
    sender_for("email").send(ALERT, channel)
    (login,) = [line for line in mail_server.encrypted if line.startswith("AUTH")]
    assert b64decode(login.split()[-1]) == b"\0me\0hunter2"
    assert len(mail_server.mails) == 1
    assert {line.split()[0].upper() for line in mail_server.clear} == {"EHLO", "STARTTLS"}


@pytest.mark.usefixtures("certificate")
def test_a_server_that_nobody_vouches_for_learns_nothing(mail_server: MailServer) -> None:
    channel = mail_channel(mail_server, user="me", password="hunter2")
    with pytest.raises(ssl.SSLCertVerificationError):
        sender_for("email").send(ALERT, channel)
    assert mail_server.encrypted == []
    assert mail_server.mails == []


def test_mail_over_tls_from_the_first_byte(
    mail_server: MailServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail_server.from_the_first_byte = True
    channel = mail_channel(mail_server, encryption="tls", user="me", password="hunter2")
    with pytest.raises(ssl.SSLCertVerificationError):
        sender_for("email").send(ALERT, channel)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    sender_for("email").send(ALERT, channel)
    assert len(mail_server.mails) == 1
    assert any(line.startswith("AUTH") for line in mail_server.encrypted)
    assert mail_server.clear == []


@pytest.mark.parametrize(
    ("written", "chosen"),
    [
        ({"port": 465}, "tls"),
        ({"port": 465, "encryption": "starttls"}, "starttls"),
        ({}, "offered"),
        ({"encryption": "tls"}, "tls"),
    ],
)
def test_the_port_says_how_mail_is_encrypted(
    mail_server: MailServer, written: dict[str, Any], chosen: str
) -> None:
    assert mail_channel(mail_server, **written).chosen_encryption == chosen


def test_encryption_that_is_demanded_is_not_left_out(mail_server: MailServer) -> None:
    with pytest.raises(smtplib.SMTPNotSupportedError):
        sender_for("email").send(ALERT, mail_channel(mail_server, encryption="starttls"))
    assert mail_server.mails == []
