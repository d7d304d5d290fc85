"""One quiet session, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resources.processes import start_ticks
from resources.spark import spark_options

ROOT = Path(__file__).parents[3]
PROGRAM = """
import os, sys, threading
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from resources.spark import spark_session, stop_spark
ours = ("JAVA_HOME", "PATH", "PYSPARK_PYTHON", "SPARK_LOCAL_IP")
environment = [os.environ.get(name) for name in ours]
session = spark_session(home=Path(sys.argv[2]))
assert [os.environ.get(name) for name in ours] == environment
found = []
thread = threading.Thread(target=lambda: found.append(spark_session()))
thread.start(); thread.join()
assert found[0].sparkContext is session.sparkContext
assert session.conf.get("spark.sql.session.timeZone") == "UTC"
assert session.conf.get("spark.ui.enabled") == "false"
session.range(10).selectExpr("id", "uuid() u").write.saveAsTable("t")
print(session.sql("select count(*) from t").collect()[0][0], flush=True)
if len(sys.argv) > 3: input()
stop_spark()
print(spark_session(home=Path(sys.argv[2])).range(3).count())
"""


def start(tmp_path: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(ROOT), str(tmp_path / "home"), *more],
        cwd=work,
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.spark
@pytest.mark.slow
def test_a_machine_without_java_uses_the_wheels_and_stays_clean(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for program in [*Path("/usr/bin").iterdir(), *Path("/bin").iterdir()]:
        if program.name != "java" and not (tools / program.name).is_symlink():
            (tools / program.name).symlink_to(program)
    process = start(tmp_path, PATH=str(tools), JAVA_HOME="")
    output, errors = process.communicate(timeout=180)
    assert output.split() == ["10", "3"], errors
    assert errors == ""  # quiet
    assert list((tmp_path / "work").iterdir()) == []
    assert list((tmp_path / "home" / "spark").iterdir()) == []
    assert [p.name for p in (tmp_path / "home" / "java").iterdir()] == ["java-21"]


@pytest.mark.spark
@pytest.mark.slow
def test_scratch_files_of_a_killed_process_go_with_the_next(tmp_path: Path) -> None:
    process = start(tmp_path, "wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "10\n"
    (scratch,) = (tmp_path / "home" / "spark").iterdir()
    jvm = _child(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    end = time.monotonic() + 30
    while start_ticks(jvm) is not None and time.monotonic() < end:
        time.sleep(0.2)
    assert start_ticks(jvm) is None  # the JVM ends with its Python
    scratch.mkdir(exist_ok=True)
    (scratch / "large").write_text("x")
    assert start(tmp_path).communicate(timeout=180)[0].split() == ["10", "3"]
    assert not scratch.exists()


def _child(parent: int) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                return int(entry.name)
    raise AssertionError("no JVM")


@pytest.mark.parametrize(("gibibytes", "memory"), [(1, "1g"), (8, "2g"), (23, "5g"), (128, "8g")])
def test_memory_follows_the_machine(gibibytes: int, memory: str) -> None:
    options = spark_options(Path("/s"), cores=2, memory_bytes=gibibytes * 1024**3)
    assert options["spark.driver.memory"] == memory
    assert options["spark.master"] == "local[2]"
