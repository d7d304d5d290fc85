"""``mlops predict``: ask the live model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click


@click.command("predict")
@click.argument("project", metavar="TEAM/PROJECT")
@click.option("--input", "values", multiple=True, metavar="COLUMN=VALUE", help="One input column.")
@click.option(
    "--rows",
    "rows_file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="JSON lines, one row each; - reads standard input.",
)
@click.option("--curl", is_flag=True, help="Print the request as a curl command instead.")
def predict(project: str, values: tuple[str, ...], rows_file: Path | None, curl: bool) -> None:
    """Send rows of raw values to the live model and print its predictions as JSON lines.

    Without --input and --rows, a row that the model was tested with is sent. Columns that are
    left out are missing values.
    """
    from mlops_assets.cli.projects import choose_projects
    from mlops_assets.serving.predict import example_row, live_bundle, render_request
    from mlops_assets.serving.predict import predict as ask
    from mlops_assets.serving.target import Target
    from resources.settings import Settings
    from resources.store import open_store

    settings = Settings.from_environment()
    chosen = choose_projects([project], settings.root)[0]
    store = open_store(settings.store_uri)
    rows = _read_rows(rows_file) if rows_file else [_read_values(values)] if values else []
    bundle, _ = live_bundle(chosen, store)
    rows = rows or [example_row(bundle)]
    if curl:
        click.echo(render_request(bundle, rows[0], Target.of(chosen, settings).predict_url(chosen)))
        return
    for answer in ask(chosen, rows, store=store, settings=settings):
        click.echo(json.dumps(answer))


def _read_values(values: tuple[str, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for item in values:
        column, equals, value = item.partition("=")
        if not equals:
            raise click.BadParameter(f"{item!r} is not COLUMN=VALUE", param_hint="--input")
        row[column] = value
    return row


def _read_rows(path: Path) -> list[dict[str, Any]]:
    text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise click.BadParameter(f"line {number}: {error}", param_hint="--rows") from None
        if not isinstance(row, dict):
            raise click.BadParameter(f"line {number}: expected an object", param_hint="--rows")
        rows.append(row)
    return rows
