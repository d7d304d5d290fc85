"""``team.yaml``: defaults, routing, and every problem with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops_assets.config.checking import check_paths
from mlops_assets.config.team import LoadedTeam, load_team


def load(tmp_path: Path, text: str, **environ: str) -> LoadedTeam:
    folder = tmp_path / "project_configs" / "shop"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "team.yaml").write_text(text)
    return load_team("shop", tmp_path, environ)


def test_a_team_without_a_file_has_the_log(tmp_path: Path) -> None:
    alerts = load_team("shop", tmp_path, {}).spec.alerts
    assert list(alerts.channels) == ["log"]
    assert [route.channels for route in alerts.chosen_routes] == [("log",)]


GOOD = """\
alerts:
  channels:
    chat: {type: webhook, url: "{{ env.HOOK }}"}
    mail: {type: email, to: [a@example.org], sender: b@example.org, host: smtp.example.org}
  routes:
    - {kinds: [quality, deployment], channels: [mail]}
    - {channels: [chat]}
  repeat_after: 12h
"""


def test_secrets_come_from_the_environment(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD, HOOK="https://hooks.example.org/T0/secret")
    assert loaded.problems == []
    assert loaded.spec.alerts.channels["chat"].url.endswith("secret")  # type: ignore[union-attr]
    assert "secret" not in loaded.redactor.redact("https://hooks.example.org/T0/secret")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (GOOD, 3, "HOOK"),
        ("alerts:\n  chanels: {}\n", 2, "did you mean channels"),
        ("alrets: {}\n", 1, "did you mean alerts"),
        ("alerts:\n  channels:\n    log: {type: log, to: x}\n", 3, "unknown key 'to'"),
        ("alerts:\n  routes:\n    - {kinds: [drfit], channels: [log]}\n", 3, "mean drift"),
        ("alerts:\n  routes:\n    - {severities: [eror], channels: [log]}\n", 3, "mean error"),
        ("alerts:\n  routes:\n    - {project: [x], channels: [log]}\n", 3, "mean projects"),
        ("alerts:\n  repeat_after: 0s\n", 2, "found 0s, expected one minute (1m) or more"),
        ("- alerts\n", 1, "found a list, expected a mapping"),
        ("alerts:\n  repeat_after: 1 day\n", 2, "found '1 day', expected a duration such as 26h"),
        ("alerts: {notify_recovery: sometimes}\n", 1, "expected true or false"),
        ("alerts: {channels: [log]}\n", 1, "alerts.channels: found a list, expected a mapping"),
        ("alerts: {channels: {My-Chat: {type: log}}}\n", 1, "the key 'My-Chat', expected a name"),
        ("spark: {master: 'spark://host', driver_host: a}\n", 1, "expected local, spark://<host>"),
        ("spark: {driver_memory: 8GB}\n", 1, "found '8GB', expected an amount of memory such as"),
        ("spark: {settings: {spark.sql.shuffle.partitions: 400}}\n", 1, "found 400, expected text"),
        (
            "spark: {master: yarn, driver_host: a, executors: {instances: true}}\n",
            1,
            "spark.executors.instances: found true, expected a whole number ≥ 1",
        ),
        (
            "spark: {master: yarn, driver_host: a, executors: {core: 2}}\n",
            1,
            "the unknown key 'core', expected one of cores, instances, memory, python",
        ),
        (
            "spark: {master: 'k8s://https://h:6443', driver_host: a}\n",
            1,
            "spark.settings: found no image",
        ),
        ("compute: {launcher: docker}\n", 1, "the unknown key 'compute', expected one of alerts"),
        ("alerts:\n  routes: [{channels: [chta]}]\n", 2, "log"),
        ("alerts:\n  channels: {chat: {type: pager}}\n", 2, "pager"),
        ("alerts:\n  repeat_after: often\n", 2, "often"),
        ("alerts:\n  repeat_after: 99999999999d\n", 2, "at most 3660d"),
        ("alerts: {}\nalerts: {}\n", 2, "alerts"),
        ("alerts: !!python/object:os.system {}\n", 1, "tag"),
    ],
)
def test_every_problem_has_its_place(tmp_path: Path, text: str, line: int, said: str) -> None:
    problems = load(tmp_path, text).problems
    assert any(p.line == line and said in str(p) for p in problems), problems


MAIL = """\
alerts:
  channels:
    mail: {type: email, to: [a@example.org], sender: b@example.org, host: h, %s}
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("encryption: ssl", "encryption: found 'ssl', expected one of offered, starttls, tls"),
        ("port: true", "port: found true, expected a whole number ≥ 1"),
        ("port: 99999", "port: found 99999, expected a whole number ≥ 1 and ≤ 65,535"),
        ("too: x", "did you mean to?"),
        ("user: me, password: '{{ env.EMPTY }}', port: x", "port: found 'x'"),
    ],
)
def test_a_channel_is_judged_by_its_own_fields(tmp_path: Path, change: str, said: str) -> None:
    (problem,) = load(tmp_path, MAIL % change, EMPTY="").problems
    assert said in str(problem)


def test_addresses_are_a_list(tmp_path: Path) -> None:
    text = (MAIL % "port: 25").replace("[a@example.org]", "a@example.org")
    (problem,) = load(tmp_path, text).problems
    assert "alerts.channels.mail.to: found 'a@example.org', expected a list" in str(problem)


def test_channels_without_routes_get_everything(tmp_path: Path) -> None:
    loaded = load(tmp_path, MAIL % "port: 25")
    assert loaded.problems == []
    assert [route.channels for route in loaded.spec.alerts.chosen_routes] == [("mail",)]
    assert load(tmp_path, "alerts: {routes: []}\n").spec.alerts.chosen_routes == ()


@pytest.mark.parametrize(
    "text",
    [
        "alerts: {channels: {chat: {type: webhook, url: https://hooks.example.org/T0/geheim}}}",
        'alerts: {channels: {chat: {type: webhook, url: "https://h.org/geheim{{ env.X }}"}}}',
        MAIL % "user: me, password: geheim",
        MAIL % "user: me, password: [geheim]",
        MAIL % "user: me, password: {x: geheim}",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    loaded = load(tmp_path, text, X="x")
    assert "a secret in the file, expected {{ env.NAME }}" in str(loaded.problems[0])
    assert "geheim" not in f"{loaded.problems} {loaded.spec}"


def test_a_user_needs_a_password(tmp_path: Path) -> None:
    (problem,) = load(tmp_path, MAIL % "user: me").problems
    assert (problem.line, problem.path) == (3, "alerts.channels.mail.password")


def test_all_problems_at_once(tmp_path: Path) -> None:
    text = "alerts:\n  chanels: {}\n  repeat_after: often\n  routes: [{channels: []}]\n"
    assert {problem.line for problem in load(tmp_path, text).problems} == {2, 3, 4}


def test_a_link_to_another_teams_file_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "project_configs" / "shop"
    folder.mkdir(parents=True)
    other = tmp_path / "elsewhere.yaml"
    other.write_text("alerts: {}\n")
    (folder / "team.yaml").symlink_to(other)
    assert "a link" in load_team("shop", tmp_path, {}).problems[0].found


def test_mlops_check_reports_it(tmp_path: Path) -> None:
    load(tmp_path, "alerts: {chanels: {}}\n")
    (tmp_path / "project_configs" / "shop" / "churn").mkdir()
    (tmp_path / "project_configs" / "shop" / "churn" / "defs.yaml").write_text("type: x\n")
    report = check_paths([], tmp_path, {})
    assert any(problem.file.name == "team.yaml" for problem in report.problems)
