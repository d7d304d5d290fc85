"""``mlops clean`` and ``mlops verify``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli.main import cli
from resources.local_store import LocalStore
from resources.manifest import Draft

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "workspace.yaml").write_text("load_from:\n")
    monkeypatch.setenv("MLOPS_ROOT", str(tmp_path))
    return lambda *arguments: CliRunner().invoke(cli, list(arguments), prog_name="mlops")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / ".mlops" / "store")
    with store.staging("shop/a/raw/x") as staged:
        (staged / "part").write_text("body")
        store.publish("shop/a/raw/x", staged, Draft(data_version="sha256:1"))
    return store


def test_clean_lists_what_it_removes(run: Run, store: LocalStore) -> None:
    left = store.root / "shop/a/raw/x/_data/20200101T000000-0"
    left.mkdir()
    (left / "part").write_text("x" * 1234)
    for path in (left / "part", left):
        os.utime(path, (time.time() - 8 * 86_400,) * 2)
    assert "0 leftovers" in run("clean", "--older-than", "9d").output
    first = run("clean", "--dry-run")
    assert "1,234 bytes  shop/a/raw/x/_data/20200101T000000-0" in first.output
    assert "would be removed: 1 leftovers, 1,234 bytes" in first.output
    assert left.is_dir()
    second = run("clean")
    assert second.exit_code == 0
    assert "\nremoved: 1 leftovers, 1,234 bytes" in second.output
    assert not left.exists()


@pytest.mark.parametrize("age", ["1h", "0d", "soon"])
def test_clean_keeps_what_a_run_may_be_writing(run: Run, age: str) -> None:
    result = run("clean", "--older-than", age)
    assert result.exit_code == 2
    assert "Invalid value" in result.output


def test_verify_ends_with_1_when_something_is_damaged(run: Run, store: LocalStore) -> None:
    for project in ((), ("shop/a",)):
        whole = run("verify", *project)
        assert whole.exit_code == 0
        assert "1 versions, 1 files (4 bytes) and 0 documents read: all whole" in whole.output
    (part,) = store.root.rglob("part")
    part.write_text("BODY")
    damaged = run("verify")
    assert damaged.exit_code == 1
    assert "a file was changed" in damaged.output
    assert "1 damaged" in damaged.output
    nothing = run("verify", "shop/b")
    assert nothing.exit_code == 1
    assert "nothing of this project" in nothing.output
    assert run("verify", "../x").exit_code == 2
