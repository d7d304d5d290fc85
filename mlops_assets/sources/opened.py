"""A source as a table for whoever computes: this machine, or a cluster with a store in S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_assets.config.source_base import SourceBase
from mlops_assets.config.sources import FilesSource
from mlops_assets.sources.base import SnapshotSource, SourceContext
from mlops_assets.sources.executor_objects import read_objects
from mlops_assets.sources.objects import is_s3
from mlops_assets.sources.reading import reading
from mlops_assets.sources.registry import source_for
from mlops_assets.tables.executors import uses_executors
from resources.s3_store import S3Store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from resources.store import Store


@dataclass(frozen=True)
class Opened:
    """A source that is being read.

    Attributes:
        df: Its rows.
        digest: Identity of exactly these rows, where they are of one snapshot; None where the
            source has to be asked after the reading whether it changed meanwhile.
    """

    df: DataFrame
    digest: str | None = None


@contextmanager
def opened(
    spec: SourceBase,
    context: SourceContext,
    store: Store,
    collection: str,
    spark_factory: Callable[[], SparkSession],
) -> Iterator[Opened]:
    """A source as a table, for a block; looked at before Spark starts, where this machine reads it.

    What only this machine can read, such as a database, is lent to a cluster through S3: executors
    read copies, which are gone after the block. Local files are not, as a cluster may share them.

    Args:
        spec: The source.
        context: Whose it is.
        store: Where the data go.
        collection: The collection that they go to.
        spark_factory: Starts Spark.

    Raises:
        SourceError: The source is away or corrupt.
        SchemaError: Its files do not fit together.
        StoreError: S3 cannot be written.
    """
    is_files = isinstance(spec, FilesSource)
    if isinstance(store, S3Store) and isinstance(spec, FilesSource) and is_s3(spec.uri):
        spark = spark_factory()
        if uses_executors(spark, store):
            with reading(context.where):
                df = read_objects(spark, spec, context)
            yield Opened(df)
            return
    source_for(spec).inspect(spec, context)
    spark = spark_factory()
    if isinstance(store, S3Store) and uses_executors(spark, store) and not is_files:
        with store.folder(collection) as folder:
            yield _read(spark, spec, replace(context, lent=folder))
    else:
        yield _read(spark, spec, context)


def _read(spark: SparkSession, spec: SourceBase, context: SourceContext) -> Opened:
    source = source_for(spec)
    with reading(context.where):
        if isinstance(source, SnapshotSource):
            return Opened(*source.read_snapshot(spark, spec, context))
        return Opened(source.read(spark, spec, context))
