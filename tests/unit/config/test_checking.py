"""All problems of all projects in one pass, in YAML, SQL, model files and workspace."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from mlops_assets.config.checking import CheckReport, check_paths
from mlops_assets.config.loader import load_project, load_redactor
from mlops_assets.config.metrics import Task
from mlops_assets.config.scaffold import scaffold_project
from mlops_assets.config.workspace import add_team, teams_in_workspace
from mlops_assets.errors import ConfigError
from mlops_assets.keys import ProjectId

WriteProject = Callable[..., Path]
DEFS = """\
type: mlops_assets.MLProject
attributes:
  description: Will this flight arrive late?
  task: binary
  sources:
    flights: {type: files, uri: data/flights}
  features:
    query: features.sql
    entity: flight_id
    time: departure
    label: {column: is_late}
    inputs: {numeric: [distance], categorical: [carrier]}
"""
WORKSPACE = """\
load_from:
  - python_module:
      module_name: mlops_assets.definitions
      attribute: flights
      location_name: flights
      working_directory: .
"""


def _check(root: Path, *paths: Path, **environ: str) -> CheckReport:
    return check_paths(paths, root, environ)


def _lines(report: CheckReport) -> list[str]:
    return [f"{problem.place} {problem.path}" for problem in report.problems]


def test_valid_projects_have_no_problems(write_project: WriteProject, tmp_path: Path) -> None:
    write_project("flights/delay")
    write_project("shop/spend")
    report = _check(tmp_path)
    assert (report.problems, len(report.files), report.teams) == ((), 2, 2)


def test_no_project_hides_another(write_project: WriteProject, tmp_path: Path) -> None:
    write_project("a/broken_yaml", defs="type: [\n")
    write_project("a/empty", defs="")
    write_project("a/wrong", defs=DEFS.replace("binary", "binry"))
    write_project("b/sql", sql="SELECT 1;\nDROP TABLE x")
    write_project("b/column", sql="SELECT flight_id, departure, is_late, distance FROM flights")
    write_project("b/Name")
    write_project("c/good")
    report = _check(tmp_path)
    assert _lines(report) == [
        "project_configs/a/broken_yaml/defs.yaml:2 ",
        "project_configs/a/empty/defs.yaml ",
        "project_configs/a/wrong/defs.yaml:4 task",
        "project_configs/b/Name/defs.yaml ",
        "project_configs/b/column/defs.yaml:12 features.inputs.categorical[0]",
        "project_configs/b/sql/features.sql ",
    ]
    assert (len(report.files), report.teams) == (7, 3)


def test_paths_choose_projects(write_project: WriteProject, tmp_path: Path) -> None:
    one = write_project("a/one", defs="- 1\n")
    write_project("a/two", defs="- 2\n")
    write_project("b/three", defs="- 3\n")
    assert len(_check(tmp_path, one).problems) == 1
    assert len(_check(tmp_path, one.parent).problems) == 2
    assert len(_check(tmp_path, one / "features.sql").problems) == 1
    assert len(_check(tmp_path, one / "defs.yaml", one).problems) == 1
    assert len(_check(tmp_path).problems) == 3


def test_a_check_that_looks_at_nothing_fails(write_project: WriteProject, tmp_path: Path) -> None:
    assert _check(tmp_path).errors
    directory = write_project()
    assert "no such file" in _check(tmp_path, directory / "nowhere").errors[0].found
    empty = tmp_path / "project_configs/flights/empty"
    empty.mkdir()
    (empty / "defs.yml").write_text(DEFS)
    (problem,) = _check(tmp_path, empty).errors
    assert problem.found == "no project (defs.yml)"


def test_a_file_of_another_name_is_told(write_project: WriteProject, tmp_path: Path) -> None:
    write_project()
    forgotten = write_project("flights/forgotten") / "defs.yaml"
    forgotten.rename(forgotten.with_name("defs.yml"))
    other = write_project("flights/other", defs="type: dagster.X\nattributes: {}\n") / "defs.yaml"
    other.rename(other.with_name("defs.yml"))
    for paths in ([], [forgotten.parent.parent]):
        (problem,) = _check(tmp_path, *paths).errors
        assert problem.place == "project_configs/flights/forgotten/defs.yml"
        assert "which nothing reads, expected defs.yaml" in problem.text


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("events.csv", "csv"),
        ("s3://lake/%Y/*.CSV.gz, partitions: {every: month, start: 2024-01-01}", None),
        ("d/*.jsonl", "jsonl"),
        ("d/part-*.parquet", None),
        ("data/events", None),
    ],
)
def test_an_ending_that_contradicts_the_format_is_a_warning(
    write_project: WriteProject, tmp_path: Path, uri: str, told: str | None
) -> None:
    form = ", format: csv" if "CSV" in uri else ""
    uri = uri.replace("%Y/*", "%Y-%m")
    write_project(defs=DEFS.replace("data/flights}", f"{uri}{form}}}"))
    problems = _check(tmp_path).problems
    if told is None:
        assert problems == ()
    else:
        (problem,) = problems
        assert (problem.severity, problem.path) == ("warning", "sources.flights.uri")
        assert f"expected `format: {told}` beside it" in problem.text


def test_other_components_are_left_alone(write_project: WriteProject, tmp_path: Path) -> None:
    write_project()
    write_project("flights/other", defs="type: dagster.X\nattributes: {}\n---\ntype: y.Z\n")
    write_project("flights/delay/more", defs="type: some.Thing\n")
    assert len(_check(tmp_path).files) == 1
    assert _check(tmp_path).problems == ()


def test_projects_in_the_wrong_place_are_found(write_project: WriteProject, tmp_path: Path) -> None:
    theirs = write_project("a/good")
    write_project("a/good/deeper")
    write_project("top")
    (tmp_path / "project_configs/b").mkdir()
    (tmp_path / "project_configs/b/linked").symlink_to(theirs, target_is_directory=True)
    assert [problem.found.split()[0:3] for problem in _check(tmp_path).errors] == [
        ["the", "folder", f"{tmp_path}/project_configs/a/good/deeper"],
        ["a", "link", "to"],
        ["the", "folder", f"{tmp_path}/project_configs/top"],
    ]


def test_yaml_and_sql_problems_come_together(write_project: WriteProject, tmp_path: Path) -> None:
    write_project(
        defs=DEFS.replace("data/flights}", "data/flights}\n    weather: {type: files, uri: w}")
        + "  training: {epochs: x}\n",
        sql="SELECT flight_id, departure, is_late, distance, carrier\nFROM flihgts",
    )
    report = _check(tmp_path)
    assert _lines(report) == [
        "project_configs/flights/delay/defs.yaml:6 sources.flights",
        "project_configs/flights/delay/defs.yaml:7 sources.weather",
        "project_configs/flights/delay/defs.yaml:14 training.epochs",
        "project_configs/flights/delay/features.sql:2 ",
    ]
    assert [p.severity for p in report.problems] == ["warning", "warning", "error", "error"]


@pytest.mark.parametrize(
    ("source", "line", "found"),
    [
        ("def build_model(inputs):\n    return None\n", None, None),
        ("def build(inputs): ...\n", None, "no function build_model"),
        ("def build_model(inputs)\n    x\n", 1, "a syntax error"),
    ],
)
def test_the_model_file_is_read_but_not_run(
    write_project: WriteProject, tmp_path: Path, source: str, line: int | None, found: str | None
) -> None:
    model = "  model: {type: custom}\n"
    directory = write_project(defs=DEFS + model)
    (directory / "model.py").write_text(f"{source}raise SystemExit\n")
    problems = _check(tmp_path).problems
    if found is None:
        assert problems == ()
    else:
        assert problems[0].file.name == "model.py"
        assert problems[0].line == line
        assert problems[0].found.startswith(found)


def test_bytes_that_are_no_text(write_project: WriteProject, tmp_path: Path) -> None:
    directory = write_project()
    (directory / "features.sql").write_bytes(b"SELECT \xff")
    assert _check(tmp_path).errors[0].found == "bytes that are not UTF-8"


def test_teams_need_a_code_location(write_project: WriteProject, tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").write_text(WORKSPACE)
    write_project("flights/delay")
    assert _check(tmp_path).problems == ()
    write_project("shop/spend")
    assert _check(tmp_path).errors[0].found == "no location of team shop"
    (tmp_path / "workspace.yaml").write_text(WORKSPACE.replace("flights", "flihgts"))
    found = [(problem.found, problem.suggestion) for problem in _check(tmp_path).errors]
    assert ("a location of team flihgts, which has no project", "flights") in found


def test_a_new_team_is_added_to_the_workspace(tmp_path: Path) -> None:
    file = tmp_path / "workspace.yaml"
    assert add_team(tmp_path, "shop") is None
    file.write_text("# teams\n" + WORKSPACE)
    assert add_team(tmp_path, "flights") is None
    assert add_team(tmp_path, "shop") == file
    assert teams_in_workspace(tmp_path) == ["flights", "shop"]
    assert file.read_text().startswith("# teams\n" + WORKSPACE)
    file.write_text("load_from: []\n")
    assert add_team(tmp_path, "shop") is None
    assert file.read_text() == "load_from: []\n"


@pytest.mark.parametrize("task", get_args(Task))
def test_a_new_project_is_valid(tmp_path: Path, task: Task) -> None:
    project = ProjectId("growth", "churn")
    written = scaffold_project(tmp_path, project, task)
    assert [file.name for file in written] == ["defs.yaml", "features.sql"]
    assert _check(tmp_path).problems == ()
    assert load_project(written[0].parent, tmp_path, {}).spec.task == task
    with pytest.raises(ConfigError, match="exists already"):
        scaffold_project(tmp_path, project, task)


def test_a_new_project_overwrites_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "project_configs/growth/churn"
    directory.mkdir(parents=True)
    (directory / "features.sql").write_text("mine")
    with pytest.raises(ConfigError, match=r"features\.sql: the project exists already"):
        scaffold_project(tmp_path, ProjectId("growth", "churn"), "binary")
    assert [file.name for file in directory.iterdir()] == ["features.sql"]
    assert (directory / "features.sql").read_text() == "mine"


def test_the_redactor_knows_every_project(write_project: WriteProject, tmp_path: Path) -> None:
    write_project("a/one", defs=DEFS.replace("data/flights", '"{{ env.ONE }}"'))
    write_project("a/broken", defs='type: [ "{{ env.TWO }}"\n')
    redactor = load_redactor(tmp_path, {"ONE": "first", "TWO": "second"})
    assert redactor.redact("first second") == "{{ env.ONE }} {{ env.TWO }}"


def test_checking_many_projects_costs_little_each(
    write_project: WriteProject, tmp_path: Path
) -> None:
    for number in range(50):
        write_project(f"team/p{number}")
    _check(tmp_path)
    begun = time.process_time()
    assert _check(tmp_path).problems == ()
    assert (time.process_time() - begun) / 50 < 0.005
