"""Encryption and log-in, as a broker asks for them."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from brokers import produce
from secured import guarded
from slices import rows, take

from mlops_assets.config.kafka import KafkaSource
from mlops_assets.errors import SourceError
from mlops_assets.sources.base import SourceContext

pytestmark = pytest.mark.kafka

Build = Callable[..., KafkaSource]
PASSWORD = "p4ss w0rd,=ü"
USERS = {"reader": PASSWORD}
LOG_IN = {"username_env": "KAFKA_USER", "password_env": "KAFKA_PASSWORD"}


@dataclass
class Authority:
    """Certificates that one authority signed, as files."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = self._write("ca", self._sign("ca", self._key.public_key(), is_authority=True))

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key for this machine."""
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        secret = key.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"key secret")
        )
        file = self.folder / f"{self.name}-{name}.key"
        file.write_bytes(secret)
        return self._write(name, self._sign(name, key.public_key(), is_authority=False)), file

    def _write(self, name: str, certificate: Any) -> Path:
        from cryptography.hazmat.primitives.serialization import Encoding

        file = self.folder / f"{self.name}-{name}.pem"
        file.write_bytes(certificate.public_bytes(Encoding.PEM))
        return file

    def _sign(self, name: str, key: Any, *, is_authority: bool) -> Any:
        from cryptography import x509
        from cryptography.hazmat.primitives.hashes import SHA256

        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        now = datetime.datetime.now(datetime.UTC)
        here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = x509.CertificateBuilder(
            named(f"{self.name} ca"),
            named(f"{self.name} {name}"),
            key,
            x509.random_serial_number(),
            now - datetime.timedelta(hours=1),
            now + datetime.timedelta(days=1),
        )
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([here]), critical=False)
        return builder.sign(self._key, SHA256())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ours")


@pytest.fixture
def tls(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("broker"), "key secret")
    return context


@pytest.fixture(autouse=True)
def messages(servers: str, topic: str) -> None:
    produce(servers, topic, [{"id": i, "name": "x"} for i in range(50)])


@pytest.fixture
def build(source: Build, monkeypatch: pytest.MonkeyPatch) -> Callable[..., KafkaSource]:
    monkeypatch.setenv("KAFKA_USER", "reader")
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    return lambda port, **security: source(
        bootstrap_servers=f"127.0.0.1:{port}", security=security, timeout="5s"
    )


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_log_in_over_tls(
    servers: str,
    build: Callable[..., KafkaSource],
    context: SourceContext,
    authority: Authority,
    tls: ssl.SSLContext,
    tmp_path: Path,
    mechanism: str,
) -> None:
    with guarded(servers, USERS, tls) as guard:
        security = {"protocol": "SASL_SSL", "mechanism": mechanism, "ca_file": str(authority.file)}
        take(build(guard.port, **security, **LOG_IN), tmp_path / "store", context)
    assert sorted(row["id"] for row in rows(tmp_path / "store")) == list(range(50))
    assert set(guard.logged_in) == {(mechanism, "reader")}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_is_told_and_shown_to_nobody(
    servers: str,
    build: Callable[..., KafkaSource],
    context: SourceContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mechanism: str,
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "hunter2")
    with guarded(servers, USERS, None) as guard:
        spec = build(guard.port, protocol="SASL_PLAINTEXT", mechanism=mechanism, **LOG_IN)
        with pytest.raises(SourceError, match="refuses the log-in") as caught:
            take(spec, tmp_path / "store", context)
    assert "hunter2" not in str(caught.value)
    assert "KAFKA_USER and KAFKA_PASSWORD" in str(caught.value)
    assert guard.refused
    assert not guard.logged_in


def test_a_certificate_of_another_authority_is_refused(
    servers: str,
    build: Callable[..., KafkaSource],
    context: SourceContext,
    tls: ssl.SSLContext,
    tmp_path: Path,
) -> None:
    other = Authority(tmp_path, "other")
    with guarded(servers, {}, tls) as guard:
        spec = build(guard.port, protocol="SSL", ca_file=str(other.file))
        with pytest.raises(SourceError, match="certificate"):
            take(spec, tmp_path / "store", context)
    assert guard.refused


def test_the_broker_asks_for_a_certificate(
    servers: str,
    build: Callable[..., KafkaSource],
    context: SourceContext,
    authority: Authority,
    tls: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEY_PASSWORD", "key secret")
    tls.load_verify_locations(authority.file)
    tls.verify_mode = ssl.CERT_REQUIRED
    certificate, key = authority.issue("reader")
    with guarded(servers, {}, tls) as guard:
        plain = {"protocol": "SSL", "ca_file": str(authority.file)}
        with pytest.raises(SourceError, match="Kafka"):
            take(build(guard.port, **plain), tmp_path / "store", context)
        assert guard.refused
        mutual = {
            "certificate_file": str(certificate),
            "key_file": str(key),
            "key_password_env": "KEY_PASSWORD",
        }
        take(build(guard.port, **plain, **mutual), tmp_path / "store", context)
    assert len(rows(tmp_path / "store")) == 50
