"""``mlops metrics``: growing sources in Prometheus' text format."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_assets.cli.growing import GrowingStatus, read_growing
from mlops_assets.config.project import Project
from mlops_assets.errors import ConfigError, EnvironmentProblemError

if TYPE_CHECKING:
    from mlops_assets.keys import ProjectId

METRICS = (
    ("mlops_source_lag", "gauge", "Rows, messages or partitions that wait to be taken."),
    ("mlops_source_oldest_wait_seconds", "gauge", "How long something has waited."),
    ("mlops_source_looked_timestamp_seconds", "gauge", "When the source was looked at last."),
    ("mlops_source_failed_looks", "gauge", "Looks in a row that failed; 0 when it answers."),
    ("mlops_source_gaps_total", "counter", "Losses before data were taken."),
    ("mlops_source_dead_letters_total", "counter", "Messages that could not be read."),
)
"""Name, type and help of each, in the order of :func:`_values`."""


@click.command("metrics")
@click.argument("projects", nargs=-1, metavar="[TEAM/PROJECT…]")
@click.option(
    "--to",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write this file, whole or not at all, for node_exporter's textfile collector.",
)
def metrics(projects: tuple[str, ...], target: Path | None) -> None:
    """Print lag, waits, gaps and dead letters of growing sources in Prometheus' text format.

    A project with errors is left out and named, and the exit code is 1; the others are written.
    """
    from mlops_assets.cli.lifecycle import open_instance
    from mlops_assets.cli.projects import load_each
    from mlops_assets.config.loader import discover
    from resources.settings import Settings
    from resources.store import open_store
    from sensors.looks import looks_of

    settings = Settings.from_environment()
    names = projects or tuple(str(project) for project in discover(settings.root))
    store = open_store(settings.store_uri)
    with open_instance(settings) as instance:
        looks = looks_of(instance)
    chosen = load_each(names, settings.root) if names else []
    good = [project for _, project in chosen if isinstance(project, Project)]
    text = render_metrics((p.id, s) for p in good for s in read_growing(p, store, looks))
    if target is None:
        click.echo(text, nl=False)
    else:
        _replace(target, text)
    for _, problem in chosen:
        if isinstance(problem, ConfigError):
            click.echo(str(problem), err=True)
    if len(good) < len(chosen):
        sys.exit(1)


def render_metrics(sources: Iterable[tuple[ProjectId, GrowingStatus]]) -> str:
    """Prometheus' text exposition format, version 0.0.4; what is not known is left out."""
    rows = [(_labels(project, found.source), _values(found)) for project, found in sources]
    lines: list[str] = []
    for column, (name, kind, text) in enumerate(METRICS):
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        found = [(labels, values[column]) for labels, values in rows]
        lines += [f"{name}{{{labels}}} {value!r}" for labels, value in found if value is not None]
    return "\n".join(lines) + "\n"


def _values(found: GrowingStatus) -> tuple[float | None, ...]:
    at = None if found.looked_at is None else datetime.fromisoformat(found.looked_at).timestamp()
    return (
        found.lag,
        found.oldest_wait_seconds,
        at,
        found.failed_looks,
        found.gaps,
        found.dead_letters,
    )


def _labels(project: ProjectId, source: str) -> str:
    labels = {"team": project.team, "project": project.name, "source": source}
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _replace(target: Path, text: str) -> None:
    """Write beside the file, then rename: a collector never reads half of it.

    Raises:
        EnvironmentProblemError: It cannot be written.
    """
    try:
        _write_beside(target, text)
    except OSError as error:
        raise EnvironmentProblemError(
            "the metrics cannot be written",
            where=f"--to {target}",
            found=error.strerror,
            expected="a file in a folder that is there and can be written",
            fix="make the folder, or correct its permissions",
        ) from error


def _write_beside(target: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as body:
            body.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
