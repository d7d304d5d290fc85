"""What every source is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mlops_assets.config.partitions import Window
from mlops_assets.errors import ConfigError
from mlops_assets.keys import ProjectId

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from mlops_assets.config.project import Project
    from resources.s3_folder import S3Folder


@dataclass(frozen=True)
class SourceContext:
    """Whose source it is.

    Attributes:
        project: The project.
        project_directory: Its folder; relative paths start there.
        workspace: A private folder that lives until the data were read.
        name: The source's name in the project, for messages.
        window: The one partition that is meant, for a source that is taken by time.
        read: Gives a file that the YAML names, as it was when the project was loaded.
        lent: Where Spark's executors find what this machine read, when they do not share its disk.
    """

    project: ProjectId
    project_directory: Path
    workspace: Path
    name: str = "source"
    window: Window | None = None
    read: Callable[[str], bytes] | None = None
    lent: S3Folder | None = None

    @classmethod
    def of(
        cls, project: Project, name: str, workspace: Path, window: Window | None = None
    ) -> SourceContext:
        """The context of a project's source."""
        return cls(project.id, project.directory, workspace, name, window, project.content)

    def file(self, name: str) -> bytes:
        """Bytes of a file that the YAML names.

        Raises:
            ConfigError: It cannot be read.
        """
        try:
            return self.read(name) if self.read else (self.project_directory / name).read_bytes()
        except OSError as error:
            raise ConfigError(
                "cannot read the file", where=self.where, found=f"{name}: {error.strerror}"
            ) from None

    @property
    def where(self) -> str:
        """The source, for messages."""
        partition = f" {self.window.key}" if self.window else ""
        return f"{self.project} {self.name}{partition}"


class Source(Protocol):
    """A kind of source; the spec's class is the one that its ``type:`` names."""

    def digest(self, spec: Any, context: SourceContext) -> str:
        """Identity of the bytes that are there now and of how they would be read.

        Cheap: a sensor asks for it every minute. Nothing is written.

        Returns:
            ``sha256:<hex>``.

        Raises:
            SourceError: The source is away.
        """
        ...

    def inspect(self, spec: Any, context: SourceContext) -> None:
        """Find what is wrong without Spark, which takes long to start: footers and headers.

        Raises:
            SourceError: The source is away or corrupt; the file is named.
            SchemaError: Its files do not fit together.
        """
        ...

    def read(self, spark: SparkSession, spec: Any, context: SourceContext) -> DataFrame:
        """The data, read when they are used.

        Raises:
            SourceError: The source is away or corrupt; the file is named.
            SchemaError: Its files do not fit together, or declared columns are missing.
        """
        ...


@runtime_checkable
class SnapshotSource(Protocol):
    """A source whose reading sees one moment, while others go on writing."""

    def read_snapshot(
        self, spark: SparkSession, spec: Any, context: SourceContext
    ) -> tuple[DataFrame, str]:
        """:meth:`Source.read`, and the :meth:`Source.digest` of exactly the rows that were read."""
        ...
