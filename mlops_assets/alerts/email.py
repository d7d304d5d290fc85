"""``type: email``: mail by SMTP."""

from __future__ import annotations

from mlops_assets.alerts.base import TIMEOUT_SECONDS, Alert
from mlops_assets.config.alerts import EmailChannel


class EmailSender:
    """Sends one mail for each alert."""

    def send(self, alert: Alert, channel: EmailChannel) -> None:
        """Send it, encrypted where the server offers it.

        Raises:
            smtplib.SMTPException: The server refused it, or would have read the password in
                clear.
            OSError: The server does not answer.
        """
        import smtplib
        import ssl
        from email.message import EmailMessage

        mail = EmailMessage()
        mail["Subject"] = " ".join(alert.title.split())
        mail["From"] = channel.sender
        mail["To"] = ", ".join(channel.to)
        mail.set_content(f"{alert.text}\n\nsince {alert.since}\n{alert.url}\n")
        with smtplib.SMTP(channel.host, channel.port, timeout=TIMEOUT_SECONDS) as server:
            server.ehlo()
            encrypted = server.has_extn("starttls")
            if encrypted:
                server.starttls(context=ssl.create_default_context())
                server.ehlo()
            if channel.user is not None:
                if not encrypted:
                    raise smtplib.SMTPNotSupportedError("no encryption: the password is not sent")
                server.login(channel.user, channel.password or "")
            server.send_message(mail)


SENDER = EmailSender()
