"""A real standalone Spark cluster on loopback: one master, two workers; or a Connect server."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pyspark
import requests

from resources.java import find_java, prepare_java_home
from resources.processes import HOST, ProcessRecord, free_port, log_tail, start_process, stop_group
from tests.ports import spare_port

START_SECONDS = 90.0


@contextmanager
def spark_cluster(
    folder: Path, workers: int = 2, given: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The address of a running cluster, whose machines have what is given in their environment."""
    home = Path(pyspark.__file__).parent
    environment = _environment(folder, given or {})
    port = spare_port()
    page = free_port(port + 1)
    url = f"spark://{HOST}:{port}"
    launcher = home / "bin" / "spark-class"
    deploy = "org.apache.spark.deploy"
    running: list[ProcessRecord] = []

    def start(name: str, *arguments: str) -> None:
        log = folder / f"{name}.log"
        command = [launcher, *arguments]
        _, record = start_process(command, environment=environment, log=log, directory=folder)
        running.append(record)

    try:
        start(
            "master", f"{deploy}.master.Master",
            *("--host", HOST, "--port", str(port), "--webui-port", str(page)),
        )  # fmt: skip
        for number in range(workers):
            start(
                f"worker{number}", f"{deploy}.worker.Worker",
                *("--host", HOST, "-c", "1", "-m", "1g", "--webui-port", "0", url),
            )  # fmt: skip
        _wait(page, workers, folder)
        yield url
    finally:
        for record in reversed(running):
            stop_group(record)


@contextmanager
def connect_server(folder: Path, given: Mapping[str, str]) -> Iterator[str]:
    """The ``sc://`` address of a running Spark Connect server with two cores."""
    port = spare_port()
    deploy = {
        "spark.connect.grpc.binding.address": HOST,
        "spark.connect.grpc.binding.port": str(port),
        "spark.driver.memory": "1g",
        "spark.ui.enabled": "false",
    }
    conf = [word for name, value in deploy.items() for word in ("--conf", f"{name}={value}")]
    kind = "org.apache.spark.sql.connect.service.SparkConnectServer"
    command = [
        Path(pyspark.__file__).parent / "bin" / "spark-submit",
        *("--class", kind, "--master", "local[2]", *conf, "spark-internal"),
    ]
    log = folder / "connect.log"
    environment = _environment(folder, given)
    _, record = start_process(command, environment=environment, log=log, directory=folder)
    try:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
                break
            time.sleep(0.3)
        else:
            raise TimeoutError(log_tail(log))
        yield f"sc://{HOST}:{port}"
    finally:
        stop_group(record)


def _environment(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "JAVA_HOME": str(prepare_java_home(find_java(), folder / "java")),
        "SPARK_LOCAL_IP": HOST,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_WORKER_DIR": str(folder / "work"),
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        **given,
    }


def _wait(page: int, workers: int, folder: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            state = requests.get(f"http://{HOST}:{page}/json/", timeout=2).json()
            if state["aliveworkers"] == workers:
                return
        except (requests.RequestException, ValueError):
            pass
        time.sleep(0.3)
    raise TimeoutError(log_tail(folder / "master.log"))
