"""``mlops schema``: what ``defs.yaml`` may contain, for editors and for people."""

from __future__ import annotations

import click


@click.command("schema")
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "markdown"]),
    default="json",
    show_default=True,
    help="JSON Schema for editors, or the reference page.",
)
def schema(form: str) -> None:
    """Print the JSON Schema of a whole defs.yaml, or the reference of all its fields."""
    from mlops_assets.config.reference import render_reference, render_schema

    click.echo(render_schema() if form == "json" else render_reference(), nl=False)
