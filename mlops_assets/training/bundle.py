"""A trained model as an immutable, content-addressed folder of plain files. No pickle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import BundleError
from mlops_assets.training.bundle_safety import (
    file_table_id,
    parse_json,
    require_plain_rows,
    require_safe_onnx,
    require_safetensors,
    verified_files,
)
from mlops_assets.training.bundle_schema import (
    FORMAT,
    JSON_FILES,
    ONNX_FILE,
    ROWS_FILE,
    WEIGHTS_FILE,
    BundleInfo,
    BundleSchema,
)
from mlops_assets.training.golden import Golden

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files have been verified.

    Attributes:
        directory: Its folder.
        info: ``bundle.json``.
        documents: Its other JSON files, by name without the ending.
    """

    directory: Path
    info: BundleInfo
    documents: dict[str, dict[str, Any]]

    @property
    def id(self) -> str:
        """``sha256:…``: the same for the same content."""
        return self.info.id

    @property
    def onnx_path(self) -> Path:
        """The ONNX graph, from raw values to the answer."""
        return self.directory / ONNX_FILE

    @cached_property
    def schema(self) -> BundleSchema:
        """Inputs and output."""
        return BundleSchema.from_dict(self.documents["schema"])

    def golden(self) -> Golden:
        """Golden rows and their right answers."""
        return Golden.from_dict(self.documents["golden"])

    def reference_rows(self) -> pa.Table | None:
        """Some training rows; None in a bundle that was written before they were kept."""
        import pyarrow.parquet

        path = self.directory / ROWS_FILE
        return pyarrow.parquet.read_table(path, partitioning=None) if path.is_file() else None

    @property
    def split(self) -> dict[str, Any]:
        """Row counts, ``train_until`` and ``test_from`` of the training."""
        return self.documents["split"]

    @property
    def config(self) -> dict[str, Any]:
        """The project as written when it was trained."""
        return self.documents["config"]

    @property
    def metrics(self) -> dict[str, Any]:
        """Learning curve and validation metrics."""
        return self.documents["metrics"]

    @property
    def reference(self) -> dict[str, Any]:
        """Profile of the training rows."""
        return self.documents["reference"]

    @property
    def parity(self) -> dict[str, Any]:
        """How far torch and ONNX Runtime differ."""
        return self.documents["parity"]

    @property
    def lineage(self) -> dict[str, Any]:
        """Versions of data and code, and the training key."""
        return self.documents["lineage"]

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Fitted preprocessing, for ``Preprocessing.from_dict``."""
        return self.documents["preprocessing"]


def open_bundle(directory: Path) -> Bundle:
    """Verify a bundle and read its documents.

    Raises:
        BundleError: A file is unknown, missing, a link, too large or changed; the weights are no
            safetensors; the ONNX model keeps data elsewhere; the reference rows are no such rows.
    """
    if not directory.is_dir():
        raise BundleError("there is no such bundle", where=directory)
    info, bodies = verified_files(directory)
    if info.get("format") != FORMAT:
        raise BundleError(
            "the bundle has a form that this version does not know",
            where=directory,
            found=info.get("format"),
            expected=FORMAT,
        )
    identity = file_table_id(info["files"])
    if info.get("id") != identity:
        raise BundleError(
            "the bundle's id does not fit its files",
            where=directory,
            found=info.get("id"),
            expected=identity,
        )
    require_safetensors(bodies[WEIGHTS_FILE], directory / WEIGHTS_FILE)
    require_safe_onnx(bodies[ONNX_FILE], directory / ONNX_FILE)
    documents = {
        name.removesuffix(".json"): parse_json(bodies[name], directory / name)
        for name in JSON_FILES
    }
    bundle = Bundle(directory, BundleInfo(identity, dict(info["files"])), documents)
    _require_readable(bundle)
    if ROWS_FILE in bodies:
        names = [column.name for column in bundle.schema.inputs]
        require_plain_rows(bodies[ROWS_FILE], directory / ROWS_FILE, names)
    return bundle


def _require_readable(bundle: Bundle) -> None:
    try:
        schema, golden = bundle.schema, bundle.golden()
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            "the bundle's documents do not have the expected form",
            where=bundle.directory,
            found=f"{type(error).__name__}: {error}",
        ) from error
    if {column.name for column in schema.inputs} != set(golden.inputs):
        raise BundleError("the golden rows do not fit the schema", where=bundle.directory)
