"""One Spark session for each process, quiet, with nothing left in the working folder."""

from __future__ import annotations

import atexit
import hashlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.config.outside_calls import JAVA_FUNCTIONS
from mlops_assets.config.spark import SparkSpec
from mlops_assets.errors import EnvironmentProblemError
from resources import durable
from resources.java import Java, find_java, prepare_java_home
from resources.processes import HOST
from resources.scratch import scratch_folder
from resources.settings import Settings
from resources.spark_clients import executor_python, require_client, s3a_options
from resources.spark_connect import close_remote_session, remote_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_GIB = 1024**3
_LOCK = threading.Lock()
_IDENTITY = "spark.mlops.identity"

_LOG4J = """\
rootLogger.level = error
# The same level as the root's: otherwise Spark announces its default on the console.
logger.shell.name = org.apache.spark.api.python.PythonGatewayServer
logger.shell.level = error
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex{short}%n
# A failed task is reported as an exception with its cause; here it would be said several times.
logger.executor.name = org.apache.spark.executor
logger.executor.level = off
logger.tasks.name = org.apache.spark.scheduler
logger.tasks.level = off
logger.write.name = org.apache.spark.sql.execution.datasources
logger.write.level = off
logger.util.name = org.apache.spark.util
logger.util.level = off
"""


def spark_session(
    app_name: str = "mlops", *, home: Path | None = None, spec: SparkSpec | None = None
) -> SparkSession:
    """The process's one Spark session, started on first use (10 s or so).

    A session that was started for another spec is stopped first.

    Args:
        app_name: Name of the application; only the first caller's counts.
        home: Folder for scratch files; by default the settings' ``home``.
        spec: Where the work is done; by default on this machine.

    Raises:
        EnvironmentProblemError: There is no usable Java, or Spark or its cluster does not start.
    """
    from pyspark.sql import SparkSession

    wanted = spec or SparkSpec()
    with _LOCK:
        if wanted.is_connect:
            return _start_remote(app_name, wanted)
        close_remote_session()
        running = SparkSession.getActiveSession() or _default_session()
        if running is not None and running.conf.get(_IDENTITY, "") not in {"", _identity(wanted)}:
            _stop(running)
            _end_jvm()
            running = None
        return running or _start(app_name, home or Settings.from_environment().home, wanted)


def stop_spark() -> None:
    """Stop the process's session, if there is one, and remove its scratch files."""
    from pyspark.sql import SparkSession

    with _LOCK:
        close_remote_session()
        running = SparkSession.getActiveSession() or _default_session()
        if running is not None:
            _stop(running)


def _start_remote(app_name: str, spec: SparkSpec) -> SparkSession:
    """A session on a Spark Connect server; this process's own Spark ends."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if SparkContext._active_spark_context is not None:
        _stop(SparkSession.builder.getOrCreate())
        _end_jvm()
    options = spark_options(Path(), cores=1, memory_bytes=0)
    session = remote_session(spec, app_name, options)
    atexit.register(stop_spark)
    _silence_query_errors()
    return session


def _stop(running: SparkSession) -> None:
    scratch = Path(running.conf.get("spark.mlops.scratch", ""))
    running.stop()
    if scratch.name:
        durable.remove_tree(scratch)


def _end_jvm() -> None:
    """End the process's JVM: the next one has its own memory and packages.

    PySpark keeps it when a session stops, and has no public way to end it.
    """
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    if gateway is None:
        return
    gateway.shutdown()
    process = getattr(gateway, "proc", None)
    if process is not None:
        process.stdin.close()  # the JVM ends with its standard input
        process.wait(timeout=30)
    SparkContext._gateway = SparkContext._jvm = None


def spark_options(scratch: Path, *, cores: int, memory_bytes: int) -> dict[str, str]:
    """Options for a session on this machine, from its size.

    Args:
        scratch: Folder for shuffles, spills and logs' configuration.
        cores: Processor cores.
        memory_bytes: Main memory; a quarter, between 1 and 8 GiB, goes to Spark.
    """
    gibibytes = min(max(memory_bytes // _GIB // 4, 1), 8)
    java_options = [
        f"-Dlog4j2.configurationFile=file:{scratch / 'log4j2.properties'}",
        f"-Djava.io.tmpdir={scratch}",
        "-Duser.timezone=UTC",
        f"-Dderby.system.home={scratch}",
    ]
    return {
        "spark.master": f"local[{cores}]",
        "spark.mlops.scratch": str(scratch),
        "spark.driver.bindAddress": HOST,
        "spark.driver.host": HOST,
        "spark.driver.memory": f"{gibibytes}g",
        "spark.driver.extraJavaOptions": " ".join(f'"{option}"' for option in java_options),
        "spark.local.dir": str(scratch),
        "spark.log.structuredLogging.enabled": "false",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.adaptive.enabled": "true",
        "spark.sql.shuffle.partitions": str(max(cores, 4)),
        # A query reads its project's sources, not paths, and not ${env:…}.
        "spark.sql.runSQLOnFiles": "false",
        "spark.sql.variable.substitute": "false",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
        "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
        # A flipped bit in a page is an error, where the writer left checksums.
        "spark.hadoop.parquet.page.verify-checksum.enabled": "true",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    }


def cluster_options(spec: SparkSpec) -> dict[str, str]:
    """What a spec changes in :func:`spark_options`."""
    options = {_IDENTITY: _identity(spec), **spec.settings}
    if spec.driver_memory:
        options["spark.driver.memory"] = spec.driver_memory
    if spec.packages:
        options["spark.jars.packages"] = ",".join(spec.packages)
    if not spec.is_cluster:
        return options
    options["spark.master"] = spec.master
    options = s3a_options(os.environ) | options
    if spec.driver_host:
        options["spark.driver.host"] = spec.driver_host
        options["spark.driver.bindAddress"] = "0.0.0.0"  # noqa: S104 - asked for by `driver_host`
    given = spec.executors
    wishes = {"instances": given.instances, "cores": given.cores, "memory": given.memory}
    options |= {f"spark.executor.{k}": str(v) for k, v in wishes.items() if v is not None}
    if given.instances and given.cores and spec.master.startswith("spark://"):
        options["spark.cores.max"] = str(given.instances * given.cores)
    return options


def _identity(spec: SparkSpec) -> str:
    return hashlib.sha256(spec.model_dump_json().encode()).hexdigest()[:16]


def _default_session() -> SparkSession | None:
    """The session that another thread of this process started."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if SparkContext._active_spark_context is None:
        return None
    return SparkSession.builder.getOrCreate()


def _start(app_name: str, home: Path, spec: SparkSpec) -> SparkSession:
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    require_client(spec, os.environ)
    java = find_java()
    scratch = _make_scratch(home / "spark")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    options = spark_options(scratch, cores=_cores(), memory_bytes=memory)
    options |= cluster_options(spec)
    if spec.is_cluster:  # a folder of this machine is none of the executors'
        del options["spark.local.dir"]
    try:
        with _environment(java, home, spec, scratch):
            session = SparkSession.builder.appName(app_name).config(map=options).getOrCreate()
    except (PySparkException, RuntimeError, OSError) as error:
        durable.remove_tree(scratch)
        raise EnvironmentProblemError(
            "Spark did not start",
            where=f"{spec.master}, Java {java.version} from {java.origin}: {java.home}",
            found=error,
            fix="look at the lines above; check that the cluster answers and has free cores"
            if spec.is_cluster
            else "look at the lines above; check free memory, and that 127.0.0.1 can be bound",
        ) from error
    _remove_java_functions(session)
    _silence_query_errors()
    atexit.register(stop_spark)
    return session


def _remove_java_functions(session: SparkSession) -> None:
    """A query must not call Java code, which could read the process's secrets.

    The texts are checked when they are loaded, by a parser that is not Spark's own; here they
    cannot be resolved, however they are written. Spark has no setting for it.
    """
    jvm: Any = session._jvm
    functions = session._jsparkSession.sessionState().functionRegistry()
    builtin, system = (jvm.scala.Some(word) for word in ("builtin", "system"))
    for name in JAVA_FUNCTIONS:
        functions.dropFunction(
            jvm.org.apache.spark.sql.catalyst.FunctionIdentifier(name, builtin, system)
        )


def _silence_query_errors() -> None:
    """Errors are raised with what matters; PySpark would log each with its data and stack too."""
    from pyspark.logger import PySparkLogger

    PySparkLogger.getLogger("SQLQueryContextLogger").disabled = True


def _cores() -> int:
    return max(len(os.sched_getaffinity(0)), 1)


@contextmanager
def _environment(java: Java, home: Path, spec: SparkSpec, scratch: Path) -> Iterator[None]:
    """The environment that Spark's launcher reads, for the time of the launch."""
    wanted = {
        "JAVA_HOME": str(prepare_java_home(java, home / "java")),
        "PYSPARK_PYTHON": executor_python(spec, os.environ),
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_DIRS": str(scratch),
        "SPARK_LOCAL_IP": spec.driver_host or HOST,
        "SPARK_LOCAL_HOSTNAME": spec.driver_host or "localhost",
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _make_scratch(folder: Path) -> Path:
    scratch = scratch_folder(folder)
    (scratch / "log4j2.properties").write_text(_LOG4J, encoding="utf-8")
    return scratch
