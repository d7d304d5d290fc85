"""``type: log``: the log of the process that evaluates the sensor."""

from __future__ import annotations

import logging
from typing import Any

from mlops_assets.alerts.base import Alert

_LOG = logging.getLogger("mlops.alerts")


class LogSender:
    """One line for each alert."""

    def send(self, alert: Alert, channel: Any) -> None:
        """Write a warning, or an information when it is over; the record has ``alert`` in it."""
        level = logging.INFO if alert.state == "recovered" else logging.WARNING
        line = " ".join(alert.line.split())
        _LOG.log(level, "%s %s", line, alert.url, extra={"alert": alert.to_dict()})


SENDER = LogSender()
