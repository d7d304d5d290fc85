"""``type: email``: mail by SMTP."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from mlops_assets.alerts.base import TIMEOUT_SECONDS, Alert
from mlops_assets.config.alerts import EmailChannel

if TYPE_CHECKING:
    import smtplib


class EmailSender:
    """Sends one mail for each alert."""

    def send(self, alert: Alert, channel: EmailChannel) -> None:
        """Send it.

        Raises:
            smtplib.SMTPException: The server refused it, or does not offer the encryption that is
                demanded, or would have read the password in clear.
            OSError: The server does not answer, or its certificate is not valid.
        """
        import smtplib
        from email.message import EmailMessage

        mail = EmailMessage()
        mail["Subject"] = " ".join(alert.title.split())
        mail["From"] = channel.sender
        mail["To"] = ", ".join(channel.to)
        mail.set_content(f"{alert.text}\n\nsince {alert.since}\n{alert.url}\n")
        with _connection(channel) as server:
            if channel.user is not None:
                if not isinstance(server.sock, ssl.SSLSocket):
                    raise smtplib.SMTPNotSupportedError("no encryption: the password is not sent")
                server.login(channel.user, channel.password or "")
            server.send_message(mail)


def _connection(channel: EmailChannel) -> smtplib.SMTP:
    import smtplib

    context = ssl.create_default_context()
    address = (channel.host, channel.port)
    if channel.chosen_encryption == "tls":
        return smtplib.SMTP_SSL(*address, timeout=TIMEOUT_SECONDS, context=context)
    server = smtplib.SMTP(*address, timeout=TIMEOUT_SECONDS)
    try:
        server.ehlo()
        if channel.chosen_encryption == "starttls" or server.has_extn("starttls"):
            server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


SENDER = EmailSender()
