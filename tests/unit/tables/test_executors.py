"""How executors' files are named for Spark."""

from __future__ import annotations

from mlops_assets.tables.executor_tasks import RemoteFile
from mlops_assets.tables.executors import s3a_address


def test_a_key_is_no_glob_for_sparks_own_connector() -> None:
    file = RemoteFile("data", "shop/day=1 [a]/{b}*?.parquet", 10)
    assert s3a_address(file) == "s3a://data/shop/day=1 \\[a\\]/\\{b\\}\\*\\?.parquet"
    assert s3a_address(RemoteFile("data", "s3:/a.parquet", 1)) == "s3a://data/s3:/a.parquet"
