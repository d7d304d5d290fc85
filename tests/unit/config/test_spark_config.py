"""``spark:``: what is allowed, and what is refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from mlops_assets.config.spark import SparkSpec
from mlops_assets.config.team import load_team, team_spark
from mlops_assets.errors import ConfigError
from resources.spark import cluster_options


def test_the_default_is_this_machine() -> None:
    spec = SparkSpec()
    assert not spec.is_cluster
    assert [name for name in cluster_options(spec) if name != "spark.mlops.identity"] == []


def test_a_cluster_gets_what_is_written() -> None:
    spec = SparkSpec(
        master="spark://10.0.0.1:7077",
        driver_host="10.0.0.2",
        driver_memory="3g",
        executors={"instances": 4, "cores": 2, "memory": "6g"},
        packages=["org.apache.hadoop:hadoop-aws:3.5.0"],
        settings={"spark.sql.shuffle.partitions": "400"},
    )
    found = cluster_options(spec)
    assert found["spark.master"] == "spark://10.0.0.1:7077"
    assert found["spark.driver.host"] == "10.0.0.2"
    assert found["spark.driver.memory"] == "3g"
    assert found["spark.executor.instances"] == "4"
    assert found["spark.executor.memory"] == "6g"
    assert found["spark.cores.max"] == "8"
    assert found["spark.jars.packages"] == "org.apache.hadoop:hadoop-aws:3.5.0"
    assert found["spark.sql.shuffle.partitions"] == "400"


def test_specs_are_told_apart() -> None:
    names = {cluster_options(SparkSpec(driver_memory=m))["spark.mlops.identity"] for m in
             ("1g", "2g", None)}  # fmt: skip
    assert len(names) == 3


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ({"master": "mesos://x:1"}, "master"),
        ({"master": "spark://user:password@x:1"}, "master"),
        ({"master": "spark://10.0.0.1:7077"}, "driver_host"),
        ({"executors": {"cores": 2}}, "cores"),
        ({"master": "sc://host:15002;token=abc"}, "master"),
        ({"master": "sc://host:15002", "driver_memory": "2g"}, "driver_memory"),
        ({"master": "sc://host:15002", "packages": ["a:b:1"]}, "packages"),
        ({"master": "sc://host:15002", "executors": {"cores": 2}}, "cores"),
        ({"master": "sc://host:15002", "settings": {"spark.executor.cores": "2"}}, "settings"),
        ({"executors": {"python": "python3"}}, "python"),
        ({"master": "sc://host:15002", "executors": {"python": "python3"}}, "python"),
        ({"master": "spark://localhost:1", "executors": {"python": "-c x"}}, "python"),
        ({"packages": ["../evil.jar"]}, "packages"),
        ({"settings": {"spark.driver.extraJavaOptions": "-agentpath:x"}}, "extraJavaOptions"),
        ({"settings": {"spark.executor.extraClassPath": "/tmp/x"}}, "extraClassPath"),
        ({"settings": {"spark.plugins": "x"}}, "plugins"),
        ({"settings": {"spark.sql.runSQLOnFiles": "true"}}, "runSQLOnFiles"),
        ({"settings": {"spark.sql.session.timeZone": "CET"}}, "timeZone"),
        ({"settings": {"spark.hadoop.fs.s3a.secret.key": "x"}}, "secret"),
    ],
)
def test_what_is_refused(written: dict[str, object], place: str) -> None:
    with pytest.raises(ValidationError) as raised:
        SparkSpec.model_validate(written)
    causes = [error.get("ctx", {}).get("error") for error in raised.value.errors()]
    assert place in f"{raised.value} {[getattr(c, 'problems', '') for c in causes]}"


def test_a_team_chooses_for_its_projects(tmp_path: Path) -> None:
    folder = tmp_path / "project_configs" / "shop"
    folder.mkdir(parents=True)
    (folder / "team.yaml").write_text("spark: {driver_memory: 2g}\n")
    assert team_spark("shop", tmp_path, {}).driver_memory == "2g"
    assert team_spark("other", tmp_path, {}) == SparkSpec()
    (folder / "team.yaml").write_text("spark:\n  driver_memry: 2g\n")
    (problem,) = load_team("shop", tmp_path, {}).problems
    assert problem.suggestion == "driver_memory"
    assert problem.line == 2
    with pytest.raises(ConfigError, match="team's settings are wrong"):
        team_spark("shop", tmp_path, {})


S3A = "spark.hadoop.fs.s3a"
K8S = "spark.kubernetes"
REFUSED = {
    "results": [
        "spark.sql.files.ignoreCorruptFiles",
        "spark.sql.ansi.enabled",
        "spark.task",
        "spark.sql",
    ],
    "code": [
        "spark.shuffle.manager",
        "spark.shuffle.sort.io.plugin.class",
        "spark.shuffle.mapStatus.compression.codec",
        "spark.sql.adaptive.customCostEvaluatorClass",
        "spark.storage.replication.policy",
        "spark.storage.replication.topologyMapper",
        "spark.executor.defaultJavaOptions",
        "spark.executor.extraLibraryPath",
        "spark.executor.resource.gpu.discoveryScript",
        f"{S3A}.impl",
        f"{S3A}.custom.signers",
        f"{S3A}.http.signer.class",
        f"{S3A}.s3.client.factory.impl",
        f"{S3A}.audit.service.classname",
        f"{S3A}.aws.credentials.provider",
        f"{S3A}.connection.factory.impl",
        f"{K8S}.driver.pod.featureSteps",
        f"{K8S}.executor.pod.featureSteps",
        f"{K8S}.allocation.pods.allocator",
        f"{K8S}.driverEnv.LD_PRELOAD",
        "spark.yarn.appMasterEnv.LD_PRELOAD",
        "spark.yarn.am.extraJavaOptions",
        "spark.yarn.jars",
    ],
    "where requests go": [
        f"{S3A}.endpoint",
        f"{S3A}.endpoint.region",
        f"{S3A}.proxy.host",
        f"{S3A}.proxy.port",
        f"{S3A}.bucket.data.endpoint",
        f"{S3A}.bucket.data.threads.max",
        f"{S3A}.assumed.role.sts.endpoint",
        f"{K8S}.context",
    ],
    "secrets": [
        f"{S3A}.encryption.key",
        f"{S3A}.server-side-encryption.key",
        f"{S3A}.access.key",
        f"{S3A}.session.token",
        f"{S3A}.proxy.password",
        f"{K8S}.authenticate.oauthToken",
        f"{K8S}.executor.secretKeyRef.A",
        "spark.yarn.keytab",
    ],
    "encryption": [
        "spark.network.crypto.enabled",
        "spark.network.crypto.saslFallback",
        "spark.network.sasl.serverAlwaysEncrypt",
        f"{S3A}.connection.ssl.enabled",
        f"{S3A}.ssl.channel.mode",
        f"{S3A}.encryption.algorithm",
        f"{K8S}.trust.certificates",
    ],
    "files": [
        "spark.yarn.dist.files",
        "spark.scheduler.allocation.file",
        "spark.storage.decommission.fallbackStorage.path",
        f"{K8S}.driver.volumes.hostPath.x.mount.path",
        f"{K8S}.driver.podTemplateFile",
        f"{K8S}.file.upload.path",
    ],
}
TAKEN = [
    "spark.dynamicAllocation.maxExecutors",
    "spark.executor.memoryOverhead",
    "spark.executor.pyspark.memory",
    "spark.executor.resource.gpu.amount",
    f"{S3A}.connection.maximum",
    f"{S3A}.connection.timeout",
    f"{S3A}.experimental.input.fadvise",
    f"{S3A}.path.style.access",
    f"{S3A}.threads.max",
    f"{K8S}.authenticate.executor.serviceAccountName",
    f"{K8S}.container.image",
    f"{K8S}.executor.container.image",
    f"{K8S}.executor.label.team",
    f"{K8S}.executor.request.cores",
    f"{K8S}.namespace",
    f"{K8S}.node.selector.node.kubernetes.io/instance-type",
    "spark.memory.fraction",
    "spark.network.timeout",
    "spark.rpc.message.maxSize",
    "spark.scheduler.minRegisteredResourcesRatio",
    "spark.shuffle.file.buffer",
    "spark.shuffle.readHostLocalDisk",
    "spark.speculation.quantile",
    "spark.sql.adaptive.coalescePartitions.enabled",
    "spark.sql.autoBroadcastJoinThreshold",
    "spark.sql.files.maxPartitionBytes",
    "spark.sql.shuffle.partitions",
    "spark.storage.memoryFraction",
    "spark.task.maxFailures",
    "spark.yarn.am.memory",
    "spark.yarn.queue",
]


@pytest.mark.parametrize("name", [name for names in REFUSED.values() for name in names])
def test_settings_that_are_more_than_costs_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        SparkSpec(settings={name: "true"})
    with pytest.raises(ValidationError):
        SparkSpec(settings={name.upper(): "true"})


@pytest.mark.parametrize("name", TAKEN)
def test_settings_about_costs_are_taken(name: str) -> None:
    assert SparkSpec(settings={name: "1"}).settings == {name: "1"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"{S3A}.encryption.key", "about costs, which holds no secret"),
        ("spark.network.auth.x", "begins with spark.network.io., spark.network.maxRemoteBlock"),
        ("spark.ui.port", "begins with spark.dynamicAllocation., spark.executor."),
    ],
)
def test_a_refusal_says_what_may_be_set(name: str, expected: str) -> None:
    with pytest.raises(ValidationError) as raised:
        SparkSpec(settings={name: "1"})
    (error,) = raised.value.errors()
    (problem,) = error["ctx"]["error"].problems
    assert expected in problem.expected
