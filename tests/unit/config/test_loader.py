"""Reading a project's folder: exact places, all problems at once, nothing from outside."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_assets.config.loader import discover, load_project, load_text
from mlops_assets.config.model import MlpModel
from mlops_assets.config.problems import ConfigProblems, Problem
from mlops_assets.errors import ConfigError
from mlops_assets.keys import ProjectId

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


def _problems(text: str, **environ: str) -> list[Problem]:
    return load_text(text.encode(), Path("defs.yaml"), environ).problems


def _only(text: str, **environ: str) -> Problem:
    (problem,) = _problems(text, **environ)
    return problem


def test_a_valid_project_is_loaded(write_project: Callable[..., Path], tmp_path: Path) -> None:
    project = load_project(write_project(), tmp_path, {})
    assert project.id == ProjectId("flights", "delay")
    assert project.spec.features.inputs.names == ("distance", "carrier")
    assert project.written["features"]["query"] == "features.sql"
    assert project.directory == tmp_path / "project_configs/flights/delay"


NO_HINT = "-"
BROKEN: list[tuple[str, str, int, str, str, str | None]] = [
    # old text, new text, line, path, part of the message, suggestion
    ("task: binary", "task: binry", 4, "task", "found 'binry'", "binary"),
    ("task: binary", "tsak: binary", 4, "tsak", "the unknown key 'tsak'", "task"),
    ("type: files", "type: fils", 6, "sources.flights.type", "one of dataset, files", "files"),
    ("type: files, ", "", 6, "sources.flights.type", "found nothing", None),
    ("uri: data", "url: data", 6, "sources.flights.url", "the unknown key 'url'", "uri"),
    ("flights: {type", "Flights: {type", 6, "sources.Flights", "the key 'Flights'", None),
    ("{column: is_late}", "is_late", 11, "features.label", "found 'is_late', expected a map", None),
    ("[distance]", "distance", 12, "features.inputs.numeric", "expected a list", None),
    ("[distance]", "[dist-ance]", 12, "features.inputs.numeric[0]", "a column name", None),
    ("    time: departure\n", "", 7, "features.time", "found nothing", None),
    ("binary\n", "binary\n  model: {type: mlp, hidden: [0]}\n", 5, "model.hidden[0]", "≥ 1", None),
    ("binary\n", "binary\n  model: {width: [8]}\n", 5, "model.width", "one of bins, dropout", None),
    (
        "binary\n",
        "binary\n  training:\n    batch_size: -1\n",
        6,
        "training.batch_size",
        "found -1, expected a whole number ≥ 1 or auto",
        None,
    ),
    ("binary\n", "binary\n  epochs: 3\n", 5, "epochs", "the unknown key", "training.epochs"),
    (
        "binary\n",
        "binary\n  evaluation:\n    gates:\n      - {metric: auc, min: 1}\n",
        7,
        "evaluation.gates[0].metric",
        "found 'auc'",
        "roc_auc",
    ),
    (
        "binary\n",
        "binary\n  evaluation:\n    gates:\n      - {metric: roc_auc, min: 0}\n"
        "      - metric: rmse\n        min: 1\n",
        8,
        "evaluation.gates[1].metric",
        "a metric for binary",
        None,
    ),
    (
        "binary\n",
        "binary\n  evaluation:\n    split:\n      by: entity\n      test: 3d\n",
        8,
        "evaluation.split.test",
        "a span of time",
        None,
    ),
    (
        "binary\n",
        "binary\n  monitoring: {freshness: {raw: 26}}\n",
        5,
        "monitoring.freshness.raw",
        "found 26, expected a duration such as 26h or 14d",
        None,
    ),
    (
        "binary\n",
        "binary\n  checks: {flihgts: []}\n",
        5,
        "checks.flihgts",
        "not a source",
        "flights",
    ),
    ("binary\n", "binary\n  training: {epochs: true}\n", 5, "training.epochs", "found true", None),
    (
        "binary\n",
        "binary\n  training: {batch_size: false}\n",
        5,
        "training.batch_size",
        "found false, expected a whole number ≥ 1 or auto",
        None,
    ),
    ("type: mlops_assets.MLProject", "type: MLProject", 1, "type", "'MLProject'", None),
    (
        "type: files, ",
        "type: dataset, name: a.b, partitions: {}, ",
        6,
        "sources.flights.partitions",
        "expected nothing: partitions is for type: one of files, kafka, sql",
        None,
    ),
    (
        "type: files, ",
        "type: files, incremental: {}, ",
        6,
        "sources.flights.incremental",
        "expected nothing: incremental is for type: sql",
        None,
    ),
    (
        "{type: files, uri: data/flights}",
        "{type: sql, uri_env: A, table: a.b, intake: {every: 5m}}",
        6,
        "sources.flights.intake",
        "the unknown key 'intake'",
        "incremental.intake",
    ),
    (
        "{type: files, uri: data/flights}",
        "{type: kafka, bootstrap_servers: 'b:9', topic: t, columns: {a: int}, "
        "partitions: {offsets: 9, every: day}}",
        6,
        "sources.flights.partitions.every",
        "expected offsets",
        NO_HINT,
    ),
    (
        "binary\n",
        "binary\n  monitoring: {inference_log: {type: kafka, topic: t}}\n",
        5,
        "monitoring.inference_log.type",
        "stands under source: {type: kafka, …}",
        None,
    ),
    (
        "binary\n",
        "binary\n  monitoring: {inference_log: {type: kafka, topic: t}}\n",
        5,
        "monitoring.inference_log.topic",
        "the unknown key 'topic'",
        "source.topic",
    ),
    (
        "{type: files, uri: data/flights}",
        "{type: sql, uri_env: hunter2, table: a.b}",
        6,
        "sources.flights.uri_env",
        "found another text (not shown), expected the name of an env",
        None,
    ),
    (
        "binary\n",
        "binary\n  compute: {launcher: docker, environment: [AWS_SECRET=abc]}\n",
        5,
        "compute.environment[0]",
        "found another text (not shown)",
        None,
    ),
    (
        "uri: data/flights",
        "uri: {{ env.X }}",
        6,
        "sources.flights.uri",
        'expected quotes around it: "{{ env.NAME }}"',
        None,
    ),
    (
        "uri: data/flights",
        "uri: {{ env.X }}/x",
        6,
        "sources.flights.uri",
        "{{ without quotes",
        None,
    ),
    (
        "uri: data/flights",
        "uri: x, columns: {a: decimal(10,2)}",
        6,
        "sources.flights.columns.2)",
        'such as "decimal(10,2)"',
        None,
    ),
    (
        "uri: data/flights",
        "uri: x, columns: {a: struct<x:decimal(10,2)>, b: map<string,int>}",
        6,
        "sources.flights.columns.2)>",
        'such as "decimal(10,2)"',
        None,
    ),
    *(
        ("binary\n", f"binary\n  deployment: {{{written}}}\n", 5, f"deployment.{key}", said, None)
        for written, key, said in [
            ("grpc_url: 'http://t:8001', http_url: 'http://t:8000'", "grpc_url", "host:port"),
            ("grpc_url: 't:80010', http_url: 'http://t:8000'", "grpc_url", "ports from 1 to 65535"),
            ("grpc_url: 't:8001', http_url: 't:8000'", "http_url", "a URL with http://"),
            ("grpc_url: 't:8001'", "http_url", "the same Triton's address, as grpc_url is given"),
            ("http_url: 'http://t:8000'", "grpc_url", "address, as http_url is given"),
            (
                "model_repository: 's3://b/x'",
                "model_repository",
                "found an address, expected a fol",
            ),
        ]
    ),
    *(
        ("binary\n", f"binary\n  {written}\n", 5, path, said, None)
        for written, path, said in [
            (
                "training: {distributed: {nodes: 2, rendezvous: 'h:70000'}}",
                "training.distributed.rendezvous",
                "a port that no machine has, expected ports from 1 to 65535",
            ),
            (
                "training: {distributed: {timeout: 0s}}",
                "training.distributed.timeout",
                "found no time at all, expected 1s or more",
            ),
            ("spark: {master: 'spark://h:70777', driver_host: h}", "spark.master", "ports from 1"),
        ]
    ),
    *(
        (
            "binary\n",
            f"binary\n  automation: {{{key}: {value}}}\n",
            5,
            f"automation.{key}",
            said,
            None,
        )
        for key, value, said in [
            (
                "cooldown",
                "99999999999d",
                "found '99999999999d', expected a duration of at most 3660d",
            ),
            ("cooldown", "9999999w", "at most 3660d (ten years)"),
            ("fallback_schedule", '"0 3 * *"', "expected five cron fields, such as"),
            ("fallback_schedule", '"0 0 3 * * 1"', "found '0 0 3 * * 1', expected five cron"),
            ("fallback_schedule", '"0 3 31 2 *"', "expected a day that some month has"),
            ("fallback_schedule", '"0 3 31 4,6 *"', "expected a day that some month has"),
            ("fallback_schedule", '"@reboot"', "five cron fields"),
            ("fallback_schedule", '""', "five cron fields"),
            ("fallback_schedule", "3", "found 3, expected five cron fields"),
        ]
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "text", "hint"), BROKEN, ids=[case[3] for case in BROKEN]
)
def test_a_mistake_is_reported_at_its_place(
    old: str, new: str, line: int, path: str, text: str, hint: str | None
) -> None:
    assert DEFS.count(old) == 1
    problems = _problems(DEFS.replace(old, new))
    (problem,) = [problem for problem in problems if problem.path == path]
    assert problem.line == line
    assert text in problem.text
    if hint:
        assert problem.suggestion == (None if hint == NO_HINT else hint)


def test_every_problem_is_reported_at_once() -> None:
    text = (
        DEFS.replace("binary", "binry")
        .replace("type: files", "type: fils")
        .replace(
            "features:", "checks: {weather: []}\n  monitoring: {freshness: {raw: 1s}}\n  features:"
        )
        .replace("departure", "1st")
        .replace("label:", "lable:")
    )
    assert sorted(problem.path for problem in _problems(text)) == [
        "features.label",
        "features.lable",
        "features.time",
        "sources.flights.type",
        "task",
    ]


def test_rules_between_fields_are_judged_although_other_fields_are_wrong() -> None:
    text = (
        DEFS.replace("description: Will this flight arrive late?", "owners: [nobody]")
        .replace("uri: data/flights", "uri: 3, format: xml")
        .replace("[distance]", "[distance, IS_LATE]")
        + "    nonsense: 1\n"
        "  training: {epochs: x}\n"
        "  evaluation: {gates: [{metric: rmse, max: 1}], min_rows: x, slices: [a, a]}\n"
        "  checks: {weather: []}\n"
        "  model: {type: nope}\n"
    )
    assert sorted({problem.path for problem in _problems(text)}) == [
        "checks.weather",
        "description",
        "evaluation.gates[0].metric",
        "evaluation.min_rows",
        "evaluation.slices[1]",
        "features.inputs.numeric[1]",
        "features.nonsense",
        "model.type",
        "owners[0]",
        "sources.flights.format",
        "sources.flights.uri",
        "training.epochs",
    ]


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("", None, "an empty file"),
        ("- a\n", None, "a list"),
        ("type: mlops_assets.MLProject\n", 1, "nothing"),
        ("type: mlops_assets.MLProject\nattributes: 3\n", 2, "3"),
        (DEFS + "requirements: {env: [A]}\n", 13, "the unknown key 'requirements'"),
        (DEFS + "template_vars_module: os\n", 13, "the unknown key 'template_vars_module'"),
        (DEFS + "---\n" + DEFS, 13, "a second document (---)"),
        (DEFS.replace("task: binary", "task: !x binary"), 4, "the tag !x"),
        (DEFS.replace("task: binary", "task: binary\n  task: binary"), 5, "the key task a second"),
        (DEFS.replace("task: binary", "task: &t binary"), 4, "the anchor &t"),
    ],
)
def test_the_file_itself_is_judged(text: str, line: int | None, found: str) -> None:
    problem = _only(text)
    assert problem.line == line
    assert problem.found.startswith(found)


@pytest.mark.parametrize(
    "value",
    [
        "{{ 7 * 7 }}",
        "{{ env.A.b }}",
        "{{ env['A'] }}",
        "{% raw %}",
        "{# x #}",
        "{{ env.A }} {{ b }}",
        "{{ ''.__class__ }}",
        "{{ env('A') }}",
        "{{ context.x }}",
        "{{ env.A",
        "{{}}",
    ],
)
def test_template_expressions_other_than_env_are_refused(value: str) -> None:
    text = DEFS.replace("uri: data/flights", f'uri: "{value}"')
    problem = _only(text, A="1")
    assert (problem.line, problem.path) == (6, "sources.flights.uri")
    assert problem.expected == "only {{ env.NAME }}"


def test_template_expressions_in_keys_are_refused() -> None:
    text = DEFS.replace("task: binary", 'task: binary\n  tags: {"{{ env.A }}": x}')
    problems = _problems(text, A="1")
    assert {problem.line for problem in problems} == {5}
    assert "a key without a template expression" in {problem.expected for problem in problems}


def test_environment_references_are_resolved_in_the_spec_and_kept_as_written() -> None:
    text = DEFS.replace("uri: data/flights", 'uri: "s3://{{ env.BUCKET }}/{{env.PREFIX}}/x"')
    loaded = load_text(text.encode(), Path("d"), {"BUCKET": "b{{ env.OTHER }}", "PREFIX": "p"})
    assert loaded.problems == []
    assert loaded.spec is not None
    assert loaded.spec.sources["flights"].uri == "s3://b{{ env.OTHER }}/p/x"  # type: ignore[union-attr]
    assert "BUCKET" in loaded.written["sources"]["flights"]["uri"]


def test_a_missing_variable_is_named() -> None:
    text = DEFS.replace("uri: data/flights", 'uri: "{{ env.DATA_URL }}"')
    problem = _only(text, DATA_URI="x")
    assert problem.found == "the environment variable DATA_URL, which is not set"
    assert (problem.line, problem.suggestion) == (6, "DATA_URI")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("task: binary", 'task: "{{ env.SECRET }}"'),
        ("type: files", 'type: "{{ env.SECRET }}"'),
        ("time: departure", 'time: "x-{{ env.SECRET }}"'),
        ("[distance]", '[is_late, "{{ env.SECRET }}", "{{ env.SECRET }}"]'),
        ("binary\n", 'binary\n  tags: {a: "{{ env.SECRET }}!"}\n'),
        ("binary\n", 'binary\n  evaluation: {slices: ["{{ env.SECRET }}", "{{ env.SECRET }}"]}\n'),
        ("binary\n", 'binary\n  training: {epochs: "{{ env.SECRET }}"}\n'),
        ("binary\n", 'binary\n  evaluation: {primary: {metric: "{{ env.SECRET }}"}}\n'),
    ],
)
def test_values_from_the_environment_are_in_no_message(old: str, new: str) -> None:
    problems = _problems(DEFS.replace(old, new), SECRET="hunter2")
    assert problems
    error = ConfigProblems(problems)
    for text in [str(error), repr(problems), str(error.__dict__)]:
        assert "hunter2" not in text


def test_what_was_found_is_shown_as_written() -> None:
    problem = _only(DEFS.replace("task: binary", 'task: "{{ env.SHORT }}"'), SHORT="x")
    assert problem.found == "'{{ env.SHORT }}'"


def test_the_error_counts_and_keeps_all_problems() -> None:
    error = ConfigProblems(_problems("type: x\nattributes: 3\n"))
    assert isinstance(error, ConfigError)
    assert "the first of 2 problems" in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert again.problems == error.problems
    assert str(again) == str(error)


def test_a_broken_project_raises_and_hides_no_other(
    write_project: Callable[..., Path], tmp_path: Path
) -> None:
    good = write_project("shop/spend")
    bad = write_project("flights/delay", defs="type: [\n")
    assert discover(tmp_path) == [ProjectId("flights", "delay"), ProjectId("shop", "spend")]
    with pytest.raises(ConfigProblems) as caught:
        load_project(bad, tmp_path, {})
    assert caught.value.where == "project_configs/flights/delay/defs.yaml:2"
    assert load_project(good, tmp_path, {}).id.team == "shop"


def test_folders_without_a_project_are_not_discovered(
    write_project: Callable[..., Path], tmp_path: Path
) -> None:
    write_project("flights/delay")
    write_project("flights/other", defs="type: dagster.DefsFolderComponent\nattributes: {}\n")
    write_project("flights/Bad-Name")
    (tmp_path / "project_configs/flights/notes").mkdir()
    (tmp_path / "project_configs/flights/__pycache__").mkdir()
    assert discover(tmp_path) == [ProjectId("flights", "delay")]
    assert discover(tmp_path / "nowhere") == []


def _refused(directory: Path, root: Path) -> str:
    with pytest.raises(ConfigProblems) as caught:
        load_project(directory, root, {})
    return str(caught.value)


@pytest.mark.parametrize("name", ["Flights/delay", "flights/De-lay", "flights/a__b", "flights/1a"])
def test_folder_names_that_are_no_names_are_refused(
    write_project: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    assert "lower_case_words" in _refused(write_project(name), tmp_path)


def test_folders_at_another_depth_or_place_are_refused(
    write_project: Callable[..., Path], tmp_path: Path
) -> None:
    assert "<team>/<project>" in _refused(write_project("flights"), tmp_path)
    assert "<team>/<project>" in _refused(write_project("shop/a/b"), tmp_path)
    directory = write_project("team/p")
    assert "<team>/<project>" in _refused(directory / ".." / ".." / "team" / "p", tmp_path)
    assert "no such file" in _refused(tmp_path / "project_configs/team/q", tmp_path)


def test_links_to_other_folders_are_refused(
    write_project: Callable[..., Path], tmp_path: Path
) -> None:
    theirs = write_project("shop/spend")
    ours = tmp_path / "project_configs/flights"
    ours.mkdir()
    (ours / "stolen").symlink_to(theirs, target_is_directory=True)
    assert "a link to another folder" in _refused(ours / "stolen", tmp_path)
    (ours / "file").mkdir()
    (ours / "file/defs.yaml").symlink_to(theirs / "defs.yaml")
    assert "a link out of the project's folder" in _refused(ours / "file", tmp_path)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("/etc/features.sql", "expected: a .sql file inside"),
        ("../../shop/spend/features.sql", "expected: a .sql file inside"),
        ("a/../../x.sql", "expected: a .sql file inside"),
        ("C:/features.sql", "expected: a .sql file inside"),
        ("..\\\\x.sql", "expected: a .sql file inside"),
        ("pkg.module:query", "expected: a .sql file inside"),
        ("features.txt", "a .sql file"),
        ("feature.sql", "did you mean features.sql?"),
        ("link.sql", "a link out of the project's folder"),
    ],
)
def test_the_query_is_a_file_inside_the_folder(
    write_project: Callable[..., Path], tmp_path: Path, query: str, text: str
) -> None:
    (tmp_path / "other.sql").write_text("SELECT 1")
    directory = write_project(defs=DEFS.replace("query: features.sql", f'query: "{query}"'))
    (directory / "link.sql").symlink_to(tmp_path / "other.sql")
    message = _refused(directory, tmp_path)
    assert text in message
    assert ":8" in message


@pytest.mark.parametrize("file", ["../model.py", "my.module:Net", "my.module", "/x/model.py"])
def test_the_model_file_is_a_file_inside_the_folder(
    write_project: Callable[..., Path], tmp_path: Path, file: str
) -> None:
    model = f"binary\n  model: {{type: custom, file: '{file}'}}\n"
    directory = write_project(defs=DEFS.replace("binary\n", model))
    assert "model.file" in _refused(directory, tmp_path)


def test_a_link_inside_the_folder_is_accepted(
    write_project: Callable[..., Path], tmp_path: Path
) -> None:
    directory = write_project(defs=DEFS.replace("features.sql", "link.sql"))
    (directory / "link.sql").symlink_to("features.sql")
    assert load_project(directory, tmp_path, {}).spec.features.query == "link.sql"


@pytest.mark.parametrize(
    "uri",
    [
        "../../shop/spend/data",
        "{root}/project_configs/shop/*",
        "linked/*.csv",
        "../x/../y",
        "../../../lake",
    ],
)
def test_data_of_other_projects_are_refused(
    write_project: Callable[..., Path], tmp_path: Path, uri: str
) -> None:
    theirs = write_project("shop/spend")
    defs = DEFS.replace("uri: data/flights", f'uri: "{uri.format(root=tmp_path)}"')
    directory = write_project(defs=defs)
    (directory / "linked").symlink_to(theirs, target_is_directory=True)
    assert "sources.flights.uri" in _refused(directory, tmp_path)


def test_data_elsewhere_are_accepted(write_project: Callable[..., Path], tmp_path: Path) -> None:
    for number, uri in enumerate(
        ["s3://bucket/../x", "/data/lake/*", f"file://{tmp_path}/d", "d/*.csv"]
    ):
        directory = write_project(f"t/p{number}", defs=DEFS.replace("data/flights", f'"{uri}"'))
        load_project(directory, tmp_path, {})


def test_loading_costs_little_per_project(
    write_project: Callable[..., Path], tmp_path: Path
) -> None:
    directories = [write_project(f"team/p{number}") for number in range(60)]
    load_project(directories[0], tmp_path, {})
    begun = time.process_time()
    for directory in directories:
        load_project(directory, tmp_path, {})
    assert (time.process_time() - begun) / len(directories) < 0.003


@pytest.mark.parametrize("uri", ["{{ env.X }}", "{{ env.X }}/x"])
def test_a_forgotten_quote_is_one_problem(uri: str) -> None:
    for text in (DEFS.replace("data/flights", uri), DEFS.replace("data/flights}", f"{uri} }}")):
        assert _only(text, X="x").path == "sources.flights.uri"


def test_an_empty_variable_is_named() -> None:
    text = DEFS.replace("uri: data/flights", 'uri: "{{ env.DATA }}"')
    problem = _only(text, DATA="")
    assert problem.found == "the environment variable DATA, which is empty"
    assert problem.expected == "a value in DATA"


@pytest.mark.parametrize(
    "deployment",
    [
        "{grpc_url: 'triton.internal:8001', http_url: 'http://triton.internal:8000'}",
        "{grpc_url: 'grpc://[::1]:8001', http_url: 'https://host/triton'}",
        "{model_repository: /mnt/models}",
    ],
)
def test_other_tritons_are_accepted(deployment: str) -> None:
    assert _problems(DEFS.replace("binary\n", f"binary\n  deployment: {deployment}\n")) == []


def test_a_model_without_a_type_is_an_mlp() -> None:
    text = DEFS.replace("binary\n", "binary\n  model: {hidden: [8]}\n")
    loaded = load_text(text.encode(), Path("d"), {})
    assert loaded.spec is not None
    assert loaded.spec.model == MlpModel(hidden=(8,))
    (problem,) = _problems(text.replace("[8]", "[true]"))
    assert (problem.path, problem.found) == ("model.hidden[0]", "true")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("~/data", "~ or $, which only a shell knows"),
        ("$DATA/x", "~ or $, which only a shell knows"),
        ("${DATA_URI}/x", "~ or $, which only a shell knows"),
        ("s3://My_Bucket/x", "a bucket whose name S3 does not allow"),
        ("s3://key:hunter2@bucket/x", "s3:// with a user"),
        ("s3:///x", "s3:// without a bucket"),
    ],
)
def test_addresses_that_lead_nowhere_are_refused(
    write_project: Callable[..., Path], tmp_path: Path, uri: str, said: str
) -> None:
    directory = write_project(defs=DEFS.replace("uri: data/flights", f'uri: "{uri}"'))
    assert said in _refused(directory, tmp_path)


@pytest.mark.parametrize("cron", ["0 3 * * 1", "@weekly", "0 3 29 2 *", "0 3 * * mon#1"])
def test_schedules_that_fire_are_accepted(cron: str) -> None:
    text = DEFS.replace("binary\n", f'binary\n  automation: {{fallback_schedule: "{cron}"}}\n')
    assert _problems(text) == []
