"""What a machine needs before it can be a client of a cluster."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlops_assets.config.spark import SparkSpec
from mlops_assets.errors import EnvironmentProblemError
from resources.spark import cluster_options
from resources.spark_clients import executor_python, require_client, s3a_options


def test_yarn_needs_the_clusters_configuration(tmp_path: Path) -> None:
    spec = SparkSpec(master="yarn", driver_host="here")
    with pytest.raises(EnvironmentProblemError, match="no HADOOP_CONF_DIR"):
        require_client(spec, {})
    environ = {"HADOOP_CONF_DIR": str(tmp_path)}
    with pytest.raises(EnvironmentProblemError, match=r"without a yarn-site\.xml"):
        require_client(spec, environ)
    (tmp_path / "yarn-site.xml").touch()
    require_client(spec, environ)


def test_kubernetes_needs_a_kubeconfig_and_an_image(tmp_path: Path) -> None:
    image = {"spark.kubernetes.container.image": "registry.internal/spark:4"}
    bare = SparkSpec(master="k8s://https://k8s.internal:6443", driver_host="here")
    spec = bare.model_copy(update={"settings": image})
    environ = {"HOME": str(tmp_path)}
    with pytest.raises(EnvironmentProblemError, match="kubeconfig"):
        require_client(spec, environ)
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").touch()
    require_client(spec, environ)
    with pytest.raises(EnvironmentProblemError, match="image"):
        require_client(bare, environ)
    with pytest.raises(EnvironmentProblemError, match="missing"):
        require_client(spec, {**environ, "KUBECONFIG": str(tmp_path / "missing")})


def test_s3a_is_told_where_s3_is_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {
        "AWS_ENDPOINT_URL_S3": "http://minio.internal:9000",
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "key-id",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
    }
    found = s3a_options(environ)
    assert found == {
        "spark.hadoop.fs.s3a.endpoint": "http://minio.internal:9000",
        "spark.hadoop.fs.s3a.endpoint.region": "eu-central-1",
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
    }
    assert s3a_options({}) == {}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    settings = {"spark.hadoop.fs.s3a.path.style.access": "false"}
    spec = SparkSpec(master="spark://127.0.0.1:7077", settings=settings)
    options = cluster_options(spec)
    assert options["spark.hadoop.fs.s3a.endpoint"] == "http://minio.internal:9000"
    assert options["spark.hadoop.fs.s3a.path.style.access"] == "false"
    assert not any("secret" in f"{name}{value}" for name, value in options.items())
    assert not any("fs.s3a" in name for name in cluster_options(SparkSpec()))


OWN = {"PYSPARK_PYTHON": "/opt/cluster/bin/python"}


@pytest.mark.parametrize(
    ("master", "given", "environ", "expected"),
    [
        ("local", None, {}, sys.executable),
        ("local", None, OWN, sys.executable),
        ("spark://127.0.0.1:7077", None, OWN, sys.executable),
        ("spark://127.0.1.1:7077,localhost:7078", None, {}, sys.executable),
        ("spark://127.0.0.1:7077", "/opt/own/bin/python", OWN, "/opt/own/bin/python"),
        ("spark://10.0.0.1:7077", None, OWN, "/opt/cluster/bin/python"),
        ("spark://10.0.0.1:7077", None, {}, "python3"),
        ("spark://127.0.0.1:7077,10.0.0.1:7077", None, {}, "python3"),
        ("spark://127.internal:7077", None, {}, "python3"),
        ("yarn", None, {"PYSPARK_PYTHON": ""}, "python3"),
        ("yarn", "./environment/bin/python", OWN, "./environment/bin/python"),
        ("k8s://https://k8s.internal:6443", None, {}, "python3"),
    ],
)
def test_executors_run_a_python_of_their_own_machines(
    master: str, given: str | None, environ: dict[str, str], expected: str
) -> None:
    spec = SparkSpec(master=master, driver_host="here", executors={"python": given})
    assert executor_python(spec, environ) == expected
