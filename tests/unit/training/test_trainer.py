"""The loop: it learns, is deterministic, and stops or goes on for the right reasons."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from mlops_assets.errors import TrainingError
from mlops_assets.training.checkpoint import latest_checkpoint
from mlops_assets.training.predicting import predict_torch
from mlops_assets.training.schedule import batch_size, rate_factor
from mlops_assets.training.split import split_rows
from mlops_assets.training.trainer import train


def _losses(result) -> list[tuple[float, float]]:
    return [(epoch.train_loss, epoch.validation_loss) for epoch in result.history]


def _same_weights(first, second) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


@pytest.fixture
def run(tmp_path):
    """Train in a fresh folder, or in the given one."""
    count = iter(range(100))

    def go(project, table, folder=None, on_epoch=None):
        split = split_rows(table, project.spec)
        folder = folder or tmp_path / f"run-{next(count)}"
        return train(table, split, project, checkpoints=folder, on_epoch=on_epoch)

    return go


@pytest.mark.parametrize(
    ("task", "metric", "least"),
    [("binary", "accuracy", 0.85), ("multiclass", "accuracy", 0.75)],
)
def test_it_learns(make_project, run, labelled, task, metric, least):
    project = make_project(task=task, training={"epochs": 20, "early_stopping": 0})
    result = run(project, labelled(1500, task))

    assert result.history[result.best_epoch - 1].metrics[metric] > least
    assert result.history[0].train_loss > result.history[-1].train_loss


def test_it_learns_a_regression_in_the_labels_unit(make_project, run, labelled):
    project = make_project(task="regression", training={"epochs": 20, "early_stopping": 0})
    table = labelled(1500, "regression")
    result = run(project, table)

    predictions = predict_torch(result.module, result.preprocessing, table)
    truth = table["label"].to_numpy()
    assert np.mean((predictions - truth) ** 2) < 0.2 * truth.var()


def test_the_same_seed_gives_the_same_model_and_another_seed_another(make_project, run, table):
    first, second = run(make_project(), table), run(make_project(), table)
    other = run(make_project(training={"seed": 8}), table)

    assert _losses(first) == _losses(second)
    assert _same_weights(first.module, second.module)
    assert _losses(first) != _losses(other)


def test_the_callers_random_state_stays(make_project, run, table):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    run(make_project(), table)

    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("stopped_after", [1, 3])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    make_project, run, table, tmp_path, stopped_after
):
    project = make_project(training={"epochs": 5})

    class KilledError(Exception):
        pass

    def kill(epoch):
        if epoch.epoch == stopped_after:
            raise KilledError

    with pytest.raises(KilledError):
        run(project, table, tmp_path / "killed", on_epoch=kill)
    seen = []
    resumed = run(project, table, tmp_path / "killed", on_epoch=lambda e: seen.append(e.epoch))
    whole = run(project, table)

    assert seen == list(range(stopped_after + 1, 6))
    assert (resumed.resumed_from, whole.resumed_from) == (stopped_after, None)
    assert _losses(resumed) == _losses(whole)
    assert _same_weights(resumed.module, whole.module)


def test_a_damaged_checkpoint_is_passed_over(make_project, run, table, tmp_path):
    project = make_project(training={"epochs": 3})
    whole = run(project, table, tmp_path / "c")
    newest = sorted((tmp_path / "c").glob("*.safetensors"))[-1]
    newest.write_bytes(newest.read_bytes()[:100])

    resumed = run(project, table, tmp_path / "c")

    assert resumed.resumed_from == 2
    assert _losses(resumed) == _losses(whole)


def test_an_infinite_loss_stops_and_keeps_the_last_good_checkpoint(
    make_project, run, table, tmp_path
):
    project = make_project(training={"learning_rate": 1e38, "epochs": 4})

    with pytest.raises(TrainingError, match="no finite number") as caught:
        run(project, table, tmp_path / "c")

    kept = latest_checkpoint(tmp_path / "c")
    assert kept is not None
    assert all(torch.isfinite(value.float()).all() for value in kept.tensors.values())
    assert "learning_rate" in str(caught.value)


def test_early_stopping_keeps_the_best_epoch(make_project, run, labelled, tmp_path):
    noise = labelled(300).set_column(
        6, "label", pa.array(np.random.default_rng(1).integers(0, 2, 300).astype(np.int32))
    )
    project = make_project(
        training={"epochs": 200, "early_stopping": 2, "learning_rate": 0.02}, model={"dropout": 0}
    )
    result = run(project, noise, tmp_path / "stopped")
    again = run(project, noise, tmp_path / "stopped")

    assert _same_weights(result.module, again.module), "the best weights are in the checkpoint"
    losses = [epoch.validation_loss for epoch in result.history]
    assert len(losses) == result.best_epoch + 2 < 200
    assert min(losses) == losses[result.best_epoch - 1]


def test_cuda_without_a_device_is_a_clear_error(make_project, run, table):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")

    with pytest.raises(TrainingError, match="no CUDA device"):
        run(make_project(training={"devices": "cuda"}), table)


MODEL_FILE = """
import torch

class Net(torch.nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.out = torch.nn.Linear(len(inputs.numeric), inputs.outputs)

    def forward(self, numeric, categorical):
        if self.training and len(numeric) > {most}:
            raise {error}
        return self.out(numeric)

def build_model(inputs, **params):
    return Net(inputs)
"""


OUT_OF_MEMORY = [
    "torch.OutOfMemoryError('CUDA out of memory')",
    'RuntimeError("[enforce fail] DefaultCPUAllocator: can\'t allocate memory")',
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_out_of_memory_halves_the_batch_and_goes_on(custom_project, run, table, error):
    project = custom_project(MODEL_FILE.format(most=40, error=error), batch_size=128)
    result = run(project, table)

    assert result.batch_size == 32
    assert len(result.history) == 3


def test_out_of_memory_fails_where_the_project_says_so(custom_project, run, table):
    source = MODEL_FILE.format(most=40, error=OUT_OF_MEMORY[0])
    project = custom_project(source, batch_size=128, on_out_of_memory="fail")

    with pytest.raises(TrainingError, match="memory ran out"):
        run(project, table)


def test_out_of_memory_with_the_smallest_batch_fails(custom_project, run, table):
    project = custom_project(MODEL_FILE.format(most=1, error=OUT_OF_MEMORY[0]))

    with pytest.raises(TrainingError, match="memory ran out"):
        run(project, table)


def test_other_errors_of_the_model_are_not_taken_for_memory(custom_project, run, table):
    project = custom_project(MODEL_FILE.format(most=1, error="RuntimeError('my bug')"))

    with pytest.raises(RuntimeError, match="my bug"):
        run(project, table)


def test_rows_that_do_not_fit_are_encoded_batch_by_batch(make_project, table):
    from mlops_assets.training.core import NumericEncoder
    from mlops_assets.training.device import Compute
    from mlops_assets.training.preprocessing import fit_preprocessing
    from mlops_assets.training.rows import place_rows

    rows = np.arange(600)
    fitted = fit_preprocessing(table, rows, make_project().spec, 8)
    encoder, cpu = NumericEncoder(fitted), Compute("cpu", "float32")
    wanted = torch.tensor([5, 1, 7])

    roomy = place_rows(table, rows, fitted, encoder, cpu, budget=10**9)
    tight = place_rows(table, rows, fitted, encoder, cpu, budget=1000)

    assert roomy.encoder is None and tight.encoder is encoder
    for left, right in zip(roomy.batch(wanted), tight.batch(wanted), strict=True):
        assert torch.equal(left, right)


def test_threads_take_the_same_step_as_one(make_project, table):
    from mlops_assets.training.core import build_core
    from mlops_assets.training.device import Compute
    from mlops_assets.training.losses import loss_function
    from mlops_assets.training.preprocessing import fit_preprocessing
    from mlops_assets.training.rows import place_rows
    from mlops_assets.training.steps import ThreadedGradientStep, gradient_step

    project = make_project(model={"dropout": 0})
    rows = np.arange(600)
    fitted = fit_preprocessing(table, rows, project.spec, 8)
    core = build_core(project, fitted)
    cpu = Compute("cpu", "float32")
    placed = place_rows(table, rows, fitted, core.encoder, cpu)
    gradients, losses = [], []
    for cores in (1, 2):
        core.network.zero_grad(set_to_none=True)
        with gradient_step(
            core.network, loss_function("binary"), placed, cpu, batch=599, cores=cores
        ) as step:
            assert isinstance(step, ThreadedGradientStep) == (cores == 2)
            losses.append(float(step(torch.arange(599))))
        gradients.append([parameter.grad.clone() for parameter in core.network.parameters()])

    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for left, right in zip(*gradients, strict=True):
        assert torch.allclose(left, right, atol=1e-6)


def test_the_schedule_warms_up_and_falls_to_zero(make_project):
    assert rate_factor(0.01) == pytest.approx(0.5, abs=0.01)
    assert rate_factor(0.02) == pytest.approx(1, abs=0.01)
    assert rate_factor(1.0) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("rows", "size"), [(10, 10), (1000, 32), (20_000, 512), (250_000, 4096)])
def test_automatic_batches_grow_with_the_rows(make_project, rows, size):
    assert batch_size(make_project().spec.training, rows) == size


def test_untrained_buckets_get_the_average_category(make_project, run, table):
    result = run(make_project(), table)
    carrier = result.preprocessing.categorical[0]
    weights = result.module.network.embedding.weight

    assert carrier.untrained == (0, 1)
    assert torch.equal(weights[0], weights[1])
    split = split_rows(table, make_project().spec)
    counts = np.bincount(result.preprocessing.categories(table, split.train)[:, 0], minlength=5)
    share = torch.tensor(counts / counts.sum(), dtype=torch.float32)
    assert torch.allclose(weights[0], share @ weights[:5], atol=1e-6)
