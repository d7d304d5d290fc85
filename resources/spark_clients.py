"""What this machine needs for clusters of other makers: their clients' settings, and S3's."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from mlops_assets.config.spark import SparkSpec
from mlops_assets.errors import EnvironmentProblemError

_IN_CLUSTER = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def require_client(spec: SparkSpec, environ: Mapping[str, str]) -> None:
    """Look whether this machine can be a client of the cluster, before Spark tries for minutes.

    Raises:
        EnvironmentProblemError: Settings are missing.
    """
    if spec.master == "yarn":
        _require_hadoop(environ)
    if spec.master.startswith("k8s://"):
        _require_kubernetes(spec, environ)


def executor_python(spec: SparkSpec, environ: Mapping[str, str]) -> str:
    """Which Python executors start: other machines do not have this one's virtual environment.

    Args:
        spec: Where the work is done, and which Python the project names.
        environ: The environment, in which ``PYSPARK_PYTHON`` is the operator's word.
    """
    if spec.executors.python:
        return spec.executors.python
    if not spec.is_cluster or spec.is_on_loopback:
        return sys.executable
    return environ.get("PYSPARK_PYTHON") or "python3"


def s3a_options(environ: Mapping[str, str]) -> dict[str, str]:
    """Where S3 is, for Spark's own connector; its credentials stay in each machine's environment.

    Args:
        environ: The environment that boto3 reads too.
    """
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    options = {"spark.hadoop.fs.s3a.endpoint.region": region} if region else {}
    if endpoint:
        options["spark.hadoop.fs.s3a.endpoint"] = endpoint
        options["spark.hadoop.fs.s3a.path.style.access"] = "true"
        is_plain = endpoint.startswith("http://")
        options["spark.hadoop.fs.s3a.connection.ssl.enabled"] = str(not is_plain).lower()
    return options


def _require_hadoop(environ: Mapping[str, str]) -> None:
    names = ("HADOOP_CONF_DIR", "YARN_CONF_DIR")
    given = {name: environ[name] for name in names if environ.get(name)}
    if any((Path(folder) / "yarn-site.xml").is_file() for folder in given.values()):
        return
    shown = ", ".join(f"{name}={folder}" for name, folder in given.items())
    raise EnvironmentProblemError(
        "YARN cannot be found from this machine",
        where="spark.master yarn",
        found=f"{shown}, without a yarn-site.xml" if given else "no HADOOP_CONF_DIR",
        expected="HADOOP_CONF_DIR: a folder with the cluster's yarn-site.xml and core-site.xml",
        fix="copy the cluster's client configuration here and set HADOOP_CONF_DIR to it",
    )


def _require_kubernetes(spec: SparkSpec, environ: Mapping[str, str]) -> None:
    home = Path(environ.get("HOME") or "~").expanduser()
    named = [Path(part) for part in environ.get("KUBECONFIG", "").split(":") if part]
    places = [*(named or [home / ".kube" / "config"]), _IN_CLUSTER]
    if not any(place.is_file() for place in places):
        raise EnvironmentProblemError(
            "Kubernetes cannot be used from this machine",
            where=f"spark.master {spec.master}",
            found=f"no file at {', '.join(map(str, places))}",
            expected="a kubeconfig, or a pod with a service account",
            fix="set KUBECONFIG, or run where a service account is mounted",
        )
    if not any(name.endswith("container.image") for name in spec.settings):
        raise EnvironmentProblemError(
            "Kubernetes needs an image for the executors",
            where=f"spark.master {spec.master}",
            found="no spark.kubernetes.container.image",
            expected="an image with Spark and a Python of this version, with pyarrow and boto3",
            fix="set it under spark.settings",
        )
