"""``custom``: a team's own module, from a file inside the project's folder.

The file defines ``build_model(inputs, **params)``, where ``inputs`` is a
:class:`~mlops_assets.models.inputs.ModelInputs` and ``params`` are those of the YAML, and returns
a ``torch.nn.Module`` whose ``forward(numeric, categorical)`` gives raw scores ``[N, outputs]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mlops_assets.config.model import CustomModel
from mlops_assets.errors import ConfigError
from mlops_assets.models.inputs import ModelInputs

if TYPE_CHECKING:
    from torch import nn

SPEC = CustomModel
MAX_FILE_BYTES = 1_000_000


def numeric_bins(_spec: CustomModel) -> int:
    """None: a custom model gets the scaled numbers."""
    return 0


def custom_file(spec: CustomModel, directory: Path) -> Path:
    """The model's file.

    Raises:
        ConfigError: It is missing, too large, or (also through a link) outside the folder.
    """
    root = directory.resolve()
    path = (directory / spec.file).resolve()
    if Path(spec.file).is_absolute() or ".." in Path(spec.file).parts or root not in path.parents:
        raise ConfigError(
            "the model's file must lie in the project's folder",
            where="model.file",
            found=spec.file,
            expected="a relative path without `..` that no link leads out of the folder",
        )
    if not path.is_file():
        raise ConfigError(
            "the model's file does not exist",
            where="model.file",
            found=spec.file,
            fix="create it with `def build_model(inputs, **params)`",
        )
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ConfigError("the model's file is larger than 1 MB", where="model.file")
    return path


def custom_source(spec: CustomModel, directory: Path, files: Mapping[str, str]) -> str:
    """Text of the model's file: that of the snapshot, if it is there.

    Raises:
        ConfigError: As :func:`custom_file`, or the file is no UTF-8 text.
    """
    if spec.file in files:
        return files[spec.file]
    try:
        return custom_file(spec, directory).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _failed(spec, error) from error


def build(spec: CustomModel, inputs: ModelInputs) -> nn.Module:
    """The team's untrained module, tried on two rows.

    Raises:
        ConfigError: The file fails, has no ``build_model``, or its module does not fit.
    """
    build_model = _load(spec, inputs)
    try:
        module = build_model(inputs, **spec.params)
        _check(module, inputs)
    except ConfigError:
        raise
    except Exception as error:
        raise _failed(spec, error) from error
    checked: nn.Module = module
    return checked


def _load(spec: CustomModel, inputs: ModelInputs) -> Any:
    source = custom_source(spec, inputs.directory, inputs.files)
    module = ModuleType("mlops_custom_model")
    module.__file__ = spec.file
    try:
        # The team's own code, from its own folder: this is what `custom` means. Executed from the
        # text that was checked, so that no stale bytecode is taken and none is written.
        exec(compile(source, spec.file, "exec"), module.__dict__)  # noqa: S102
    except Exception as error:
        raise _failed(spec, error) from error
    build_model = getattr(module, "build_model", None)
    if not callable(build_model):
        raise ConfigError(
            "the model's file defines no build_model",
            where=spec.file,
            expected="def build_model(inputs, **params) that returns a torch.nn.Module",
        )
    return build_model


def _failed(spec: CustomModel, error: Exception) -> ConfigError:
    return ConfigError(
        "the model's file failed", where=spec.file, found=f"{type(error).__name__}: {error}"
    )


def _check(module: Any, inputs: ModelInputs) -> None:
    import torch

    if not isinstance(module, torch.nn.Module):
        raise ConfigError(
            "build_model returned no module",
            where="model.file",
            found=type(module).__name__,
            expected="a torch.nn.Module",
        )
    numeric = torch.zeros(2, len(inputs.numeric))
    categorical = torch.zeros(2, len(inputs.cardinalities), dtype=torch.int64)
    was_training = module.training
    with torch.no_grad():
        scores = module.eval()(numeric, categorical)
    module.train(was_training)
    shape = tuple(getattr(scores, "shape", ()))
    if shape != (2, inputs.outputs):
        raise ConfigError(
            "the module's output has the wrong shape",
            where="model.file",
            found=f"{list(shape)} for 2 rows",
            expected=f"[2, {inputs.outputs}]",
        )
