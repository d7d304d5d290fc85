"""What the Kafka client is told about encryption and log-in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mlops_assets.config.kafka import KafkaSecurity
from mlops_assets.errors import EnvironmentProblemError


def client_settings(security: KafkaSecurity | None, directory: Path, where: str) -> dict[str, Any]:
    """Settings of librdkafka.

    Args:
        security: What the YAML says; None for plain text.
        directory: Where relative paths start.
        where: For messages: whose topic it is.

    Raises:
        EnvironmentProblemError: A variable with a user name or password is not set.
    """
    if security is None:
        return {}
    settings: dict[str, Any] = {"security.protocol": security.protocol}
    if security.mechanism:
        settings["sasl.mechanism"] = security.mechanism
        settings["sasl.username"] = secret(security.username_env, where)
        settings["sasl.password"] = secret(security.password_env, where)
    files = {
        "ssl.ca.location": security.ca_file,
        "ssl.certificate.location": security.certificate_file,
        "ssl.key.location": security.key_file,
    }
    settings |= {name: str(directory / file) for name, file in files.items() if file}
    if security.key_password_env:
        settings["ssl.key.password"] = secret(security.key_password_env, where)
    return settings


def secret(name: str | None, where: str) -> str:
    """The value of an environment variable.

    Raises:
        EnvironmentProblemError: It is not set.
    """
    value = os.environ.get(name or "")
    if not value:
        raise EnvironmentProblemError(
            "an environment variable is not set",
            where=where,
            expected=f"{name} in the environment of the process that reads the topic",
        )
    return value
