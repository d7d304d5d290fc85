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


@pytest.mark.parametrize(
    "name",
    [
        "spark.sql.files.ignoreCorruptFiles",
        "spark.yarn.dist.files",
        "spark.kubernetes.driver.volumes.hostPath.x.mount.path",
        "spark.kubernetes.driver.podTemplateFile",
    ],
)
def test_settings_that_decide_results_or_read_files_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        SparkSpec(settings={name: "true"})
