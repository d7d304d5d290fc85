"""``mlops new``: a small valid project to start from."""

from __future__ import annotations

from typing import get_args

import click

from mlops_assets.config.metrics import Task


@click.command("new")
@click.argument("project", metavar="TEAM/PROJECT")
@click.option(
    "--task",
    type=click.Choice(get_args(Task)),
    default="binary",
    show_default=True,
    help="What kind of answer the model gives.",
)
def new(project: str, task: Task) -> None:
    """Start a project: a defs.yaml and a features.sql with comments on what to do next.

    Names are lower-case words joined by underscores. Nothing that exists is overwritten.
    """
    from mlops_assets.config.scaffold import scaffold_project
    from mlops_assets.errors import ConfigError
    from mlops_assets.keys import ProjectId
    from resources.settings import Settings

    root = Settings.from_environment().root
    try:
        chosen = ProjectId.parse(project)
    except ValueError as error:
        raise ConfigError(str(error), fix="for example: mlops new growth/churn") from error
    for file in scaffold_project(root, chosen, task):
        click.echo(f"wrote {file.relative_to(root)}")
    click.echo(f"next: edit these, then `mlops check {chosen}` and `mlops run {chosen}`")
