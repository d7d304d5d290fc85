"""``type: webhook``: an HTTP endpoint that takes Slack's JSON."""

from __future__ import annotations

from typing import Any

from mlops_assets.alerts.base import TIMEOUT_SECONDS, Alert
from mlops_assets.config.alerts import WebhookChannel

SIGNS = {"failed": "🔴", "still failing": "🟠", "recovered": "🟢"}
LONGEST = 500
"""Characters of an alert's text: a block takes 3,000, and some grow fivefold when escaped."""


class WebhookSender:
    """Posts one message for each alert."""

    def send(self, alert: Alert, channel: WebhookChannel) -> None:
        """Post it; redirects are not followed, so that no other host learns of it.

        Raises:
            requests.RequestException: The endpoint does not answer, or not with success.
        """
        import requests

        # The texts of requests' own errors have the address in them, which is a secret.
        try:
            with requests.post(
                channel.url,
                json=message(alert),
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
                stream=True,
            ) as answer:
                status = answer.status_code
        except (requests.RequestException, ValueError) as error:
            raise requests.RequestException(f"no answer ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise requests.HTTPError(f"the endpoint answered {status}")


def message(alert: Alert) -> dict[str, Any]:
    """Slack's message: a text for notifications, and a block with a link."""
    head = f"{SIGNS[alert.state]} {alert.title}"
    link = f"since {alert.since}\n<{alert.url}|Look at it in Dagster>"
    body = f"*{_plain(head)}*\n{_plain(alert.text[:LONGEST])}\n{link}"
    section = {"type": "section", "text": {"type": "mrkdwn", "text": body}}
    line = f"{head}: {alert.text[:LONGEST]} (since {alert.since})"
    return {"text": _plain(f"{line} {alert.url}"), "blocks": [section]}


def _plain(text: str) -> str:
    """Slack's three control characters as text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


SENDER = WebhookSender()
