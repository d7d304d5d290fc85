"""``team.yaml`` beside a team's projects: who is told about what."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from mlops_assets.config.base import Duration, Spec, format_duration
from mlops_assets.config.problems import FieldProblem, FieldProblems, nearest, one_of
from mlops_assets.config.spark import SparkSpec

AlertKind = Literal[
    "quality", "drift", "performance", "labels", "gate", "deployment", "stale", "decision"
]
"""What an alert is about: bad data, drift, a loss, late labels, a model that failed its gate, a
failed deployment, stale data, or a decision that needs a person."""
Severity = Literal["error", "warn"]
ChannelName = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[a-z][a-z0-9_]*$")]
Encryption = Literal["offered", "starttls", "tls"]
MIN_REPEAT = timedelta(minutes=1)
WEBHOOK_PATTERN = r"^https?://\S+$"
SUBMISSIONS = 465
"""Port of mail over TLS from the first byte (RFC 8314)."""


class LogChannel(Spec):
    """Dagster's log of the sensor."""

    type: Literal["log"]
    """``log``"""


class WebhookChannel(Spec):
    """An HTTP endpoint that takes Slack's JSON: Slack, Mattermost, Teams and others."""

    type: Literal["webhook"]
    """``webhook``"""
    url: str = Field(pattern=WEBHOOK_PATTERN)
    """Address, as ``{{ env.NAME }}``: whoever knows it can post."""


class EmailChannel(Spec):
    """Mail by SMTP."""

    type: Literal["email"]
    """``email``"""
    to: tuple[str, ...] = Field(min_length=1)
    """Addresses."""
    sender: str = Field(min_length=3)
    """Address of the sender."""
    host: str = Field(min_length=1)
    """SMTP server."""
    port: int = Field(default=587, ge=1, le=65535)
    """Its port."""
    encryption: Encryption | None = None
    """``tls``: from the first byte. ``starttls``: after a greeting, or not at all. ``offered``: as
    ``starttls``, and in clear where the server does not offer it. Empty: ``tls`` at port 465,
    ``offered`` elsewhere."""
    user: str | None = None
    """User name, if the server wants one."""
    password: str | None = None
    """Password, as ``{{ env.NAME }}``; sent over an encrypted connection only."""

    @property
    def chosen_encryption(self) -> Encryption:
        """The encryption, by the port where none is written."""
        return self.encryption or ("tls" if self.port == SUBMISSIONS else "offered")

    @model_validator(mode="after")
    def _user_and_password(self) -> EmailChannel:
        present, absent = ("user", "password") if self.user else ("password", "user")
        if (self.user is None) != (self.password is None):
            problem = FieldProblem((absent,), "nothing", f"a value, as there is a {present}")
            raise FieldProblems([problem])
        return self


SECRETS = {"webhook": ("url",), "email": ("password",)}
"""Settings of channels that may only be written as references to the environment."""
Channel = Annotated[LogChannel | WebhookChannel | EmailChannel, Field(discriminator="type")]


class Route(Spec):
    """Which alerts go to which channels. Every route that fits is taken."""

    kinds: tuple[AlertKind, ...] = ()
    """What the alerts are about; empty: everything."""
    severities: tuple[Severity, ...] = ()
    """How bad they are; empty: however bad."""
    projects: tuple[str, ...] = ("*",)
    """Names of projects, with ``*`` for any text."""
    channels: tuple[ChannelName, ...] = Field(min_length=1)
    """Names under ``channels``."""


class AlertsSpec(Spec):
    """Alerts of one team."""

    channels: dict[ChannelName, Channel] = {"log": LogChannel(type="log")}  # noqa: RUF012
    """Ways to reach people, by name."""
    routes: tuple[Route, ...] | None = None
    """What goes where; by default everything to every channel."""
    repeat_after: Duration = timedelta(days=1)
    """What fails again after this time, without having passed, is told again."""
    notify_recovery: bool = True
    """Also tell when it is over."""

    @property
    def chosen_routes(self) -> tuple[Route, ...]:
        """The routes, those by default included."""
        if self.routes is not None or not self.channels:
            return self.routes or ()
        return (Route(channels=tuple(self.channels)),)

    @model_validator(mode="after")
    def _parts_fit_together(self) -> AlertsSpec:
        problems = [
            FieldProblem(
                ("routes", place, "channels", index),
                name,
                one_of(list(self.channels)),
                nearest(name, self.channels),
            )
            for place, route in enumerate(self.routes or ())
            for index, name in enumerate(route.channels)
            if name not in self.channels
        ]
        if self.repeat_after < MIN_REPEAT:
            found = format_duration(self.repeat_after)
            problems.append(FieldProblem(("repeat_after",), found, "one minute (1m) or more"))
        if problems:
            raise FieldProblems(problems)
        return self


class TeamSpec(Spec):
    """A team's ``team.yaml``."""

    alerts: AlertsSpec = AlertsSpec()
    """Who is told about what."""
    spark: SparkSpec = SparkSpec()
    """Where the data of its projects are transformed, unless a project says otherwise."""
