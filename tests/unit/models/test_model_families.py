"""Every model family keeps the contract; custom files stay inside their folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mlops_assets.config.model import CustomModel, MlpModel
from mlops_assets.errors import ConfigError
from mlops_assets.models import ModelInputs, build_module, model_types, numeric_bins
from mlops_assets.models.custom import custom_file
from mlops_assets.models.mlp_network import MlpNetwork, PooledDropout

GOOD = """
import torch

def build_model(inputs, width=3):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Linear(len(inputs.numeric), width)
            self.rest = torch.nn.Linear(width, inputs.outputs)
        def forward(self, numeric, categorical):
            return self.rest(self.first(numeric))
    return Net()
"""


def _inputs(directory: Path, *, outputs: int = 1, cardinalities: Any = (4, 6)) -> ModelInputs:
    return ModelInputs(("a", "b"), cardinalities, outputs, directory)


def _spec(kind: str) -> Any:
    return {"mlp": MlpModel(hidden=(8,)), "custom": CustomModel(type="custom")}[kind]


@pytest.mark.parametrize("kind", model_types())
@pytest.mark.parametrize("outputs", [1, 3])
def test_every_family_builds_a_module_that_keeps_the_contract(tmp_path, kind, outputs):
    (tmp_path / "model.py").write_text(GOOD)
    spec, inputs = _spec(kind), _inputs(tmp_path, outputs=outputs)
    torch.manual_seed(0)
    module = build_module(spec, inputs)
    torch.manual_seed(0)
    again = build_module(spec, inputs)

    scores = module(torch.randn(5, 2), torch.randint(0, 4, (5, 2)))

    assert scores.shape == (5, outputs)
    scores.sum().backward()
    assert numeric_bins(spec) >= 0
    for left, right in zip(module.parameters(), again.parameters(), strict=True):
        assert torch.equal(left, right)


def test_there_are_families():
    assert set(model_types()) == {"mlp", "custom"}


@pytest.mark.parametrize(("numeric", "cardinalities"), [((), (3,)), (("a",), ())])
def test_a_perceptron_needs_only_one_kind_of_input(tmp_path, numeric, cardinalities):
    module = build_module(MlpModel(), ModelInputs(numeric, cardinalities, 1, tmp_path))
    categories = torch.zeros(4, len(cardinalities), dtype=torch.int64)

    assert module(torch.zeros(4, len(numeric)), categories).shape == (4, 1)


def test_every_category_has_a_place_of_its_own():
    network = MlpNetwork(
        numeric=0, cardinalities=(3, 4), outputs=1, hidden=(2,), dropout=0, max_embedding=8
    )

    assert network.embedding is not None
    assert network.embedding.num_embeddings == 7
    assert network.offsets.tolist() == [0, 3]


def test_dropout_drops_its_share_and_keeps_the_mean():
    dropout = PooledDropout(0.25).train()
    values = dropout(torch.ones(1000, 100))

    assert float((values == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert float(values.mean()) == pytest.approx(1, abs=0.02)
    assert torch.equal(dropout.eval()(torch.ones(3)), torch.ones(3))


def test_dropout_repeats_itself_for_the_same_seed_only():
    dropout = PooledDropout(0.5).train()
    masks = []
    for seed in (1, 1, 2):
        dropout.reseed(seed)
        masks.append(dropout(torch.ones(64, 8)))

    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[2], dropout(torch.ones(64, 8)))


@pytest.mark.parametrize("file", ["../model.py", "sub/../../model.py", "/etc/hostname", "link.py"])
def test_a_file_outside_the_folder_is_refused(tmp_path, file):
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "model.py").write_text(GOOD)
    (folder / "link.py").symlink_to(tmp_path / "model.py")

    with pytest.raises(ConfigError, match="must lie in the project's folder"):
        build_module(CustomModel(type="custom", file=file), _inputs(folder))


def test_a_linked_folder_is_refused(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (tmp_path / "model.py").write_text(GOOD)
    (folder / "inside").symlink_to(tmp_path)

    with pytest.raises(ConfigError, match="must lie in the project's folder"):
        custom_file(CustomModel(type="custom", file="inside/model.py"), folder)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = ", "SyntaxError"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("x = 1", "no build_model"),
        ("def build_model(inputs): return 3", "no module"),
        ("def build_model(inputs): raise KeyError('lost')", "lost"),
        (
            "import torch\ndef build_model(inputs): return torch.nn.Identity()",
            "TypeError|wrong shape",
        ),
    ],
)
def test_an_unusable_file_is_a_config_error_by_its_name(tmp_path, source, found):
    (tmp_path / "model.py").write_text(source)

    with pytest.raises(ConfigError, match=found):
        build_module(CustomModel(type="custom"), _inputs(tmp_path))


def test_a_missing_file_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        build_module(CustomModel(type="custom"), _inputs(tmp_path))


def test_parameters_reach_the_file_and_its_snapshot_wins(tmp_path):
    (tmp_path / "model.py").write_text("raise SystemError('edited meanwhile')")
    inputs = ModelInputs(("a",), (), 1, tmp_path, {"model.py": GOOD})
    module: Any = build_module(CustomModel(type="custom", params={"width": 11}), inputs)

    assert module.first.out_features == 11
