"""A small valid project to start from."""

from __future__ import annotations

from pathlib import Path

from mlops_assets.config.files import CONFIG_FILE, PROJECTS
from mlops_assets.config.metrics import Task
from mlops_assets.config.workspace import add_team
from mlops_assets.errors import ConfigError
from mlops_assets.keys import ProjectId

QUERY_FILE = "features.sql"

_DEFS = """\
# yaml-language-server: $schema={schema}
#
# One ML product. What is not written here has a default: docs/reference/configuration.md.
# Next steps: point the source at real data, write {query}, then
#   mlops check {project}
#   mlops run {project}
type: mlops_assets.MLProject
attributes:
  description: What does {name} predict, and for whom?
  owners: ["team:{team}"]
  task: {task}
  sources:
    # A folder, file or glob; relative paths start here. Keep secrets and places that differ
    # between machines in the environment: "{{{{ env.DATA_URI }}}}/events".
    events: {{type: files, uri: data/events, format: csv}}
  checks:
    # Great Expectations by their own names; `severity: warn` shows without blocking.
    events:
      - {{type: expect_column_values_to_not_be_null, column: id}}
  features:
    query: {query}
    entity: id
    time: happened_at
    # Labels that come late: add `matures_after: 7d`.
    label: {{column: label}}
    inputs:
      numeric: [amount]
      categorical: [channel]
  evaluation:
    split: {{by: time, test: 0.2}}
    # A model below its gates is never promoted.
    gates:
      - {gate}
"""

_QUERY = """\
-- Spark SQL: one row for each prediction that the model learns from. Every source is a view of its
-- own name. Use only what is known at the time of the prediction.
SELECT
  id,                                     -- entity: what a prediction is about
  happened_at,                            -- time: when the inputs are known
  {label} AS label,
  CAST(amount AS DOUBLE) AS amount,
  channel
FROM events
"""

_LABELS: dict[str, str] = {
    "binary": "CAST(outcome = 'yes' AS INT)",
    "multiclass": "outcome",
    "regression": "CAST(outcome AS DOUBLE)",
}
_GATES: dict[str, str] = {
    "binary": "{metric: roc_auc, min: 0.6}",
    "multiclass": "{metric: accuracy, min: 0.5}",
    "regression": "{metric: r2, min: 0.1}",
}


def render_project(project: ProjectId, task: Task) -> dict[str, str]:
    """The files of a new project: content by name."""
    defs = _DEFS.format(
        schema="../../../docs/reference/schema.json",
        query=QUERY_FILE,
        project=project,
        team=project.team,
        name=project.name.replace("_", " "),
        task=task,
        gate=_GATES[task],
    )
    return {CONFIG_FILE: defs, QUERY_FILE: _QUERY.format(label=_LABELS[task])}


def scaffold_project(root: Path, project: ProjectId, task: Task) -> list[Path]:
    """Write a new project; files that exist are never touched.

    Args:
        root: Project root, the folder of ``workspace.yaml``.
        project: Team and name.
        task: What kind of answer the model gives.

    Returns:
        The files written, ``workspace.yaml`` among them when the team is new.

    Raises:
        ConfigError: The folder already holds one of the files.
    """
    directory = root / PROJECTS / project.team / project.name
    files = {directory / name: text for name, text in render_project(project, task).items()}
    taken = [file for file in files if file.exists() or file.is_symlink()]
    if taken:
        raise ConfigError(
            "the project exists already",
            where=taken[0],
            fix="choose another name, or edit what is there",
        )
    directory.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    added = add_team(root, project.team)
    return [*files, *([added] if added else [])]
