"""Triton's model repository: exact configuration text, whole versions or none."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_assets.errors import DeploymentError, LedgerConflictError
from resources.triton import repository as module
from resources.triton.repository import ModelConfig, ModelRepository, Tensor

CONFIG = ModelConfig(
    name="rail__late",
    inputs=(Tensor("x", "TYPE_FP32"), Tensor("carrier", "TYPE_STRING")),
    outputs=(Tensor("probabilities", "TYPE_FP32", 3),),
    versions=(7, 5, 6),
    max_batch_size=256,
    queue_delay_us=200,
    instances=2,
)


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path / "repository")


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"graph one")
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def files(repository: ModelRepository) -> set[str]:
    """Every file but locks, relative to the repository."""
    found = (p.relative_to(repository.root) for p in repository.root.rglob("*") if p.is_file())
    return {str(path) for path in found if path.parts[0] != module.LOCKS}


# --- configuration -------------------------------------------------------------------------------


def test_the_whole_configuration() -> None:
    assert CONFIG.render() == (
        'name: "rail__late"\n'
        'backend: "onnxruntime"\n'
        'default_model_filename: "model.onnx"\n'
        "max_batch_size: 256\n"
        'input [{ name: "x", data_type: TYPE_FP32, dims: [1] }]\n'
        'input [{ name: "carrier", data_type: TYPE_STRING, dims: [1] }]\n'
        'output [{ name: "probabilities", data_type: TYPE_FP32, dims: [3] }]\n'
        "instance_group [{ count: 2, kind: KIND_AUTO }]\n"
        "version_policy { specific { versions: [5, 6, 7] } }\n"
        "dynamic_batching { max_queue_delay_microseconds: 200 }\n"
    )


def test_without_batching_nothing_is_said_about_it() -> None:
    from dataclasses import replace

    assert "dynamic_batching" not in replace(CONFIG, queue_delay_us=None).render()
    assert "max_queue_delay_microseconds: 0 " in replace(CONFIG, queue_delay_us=0).render()


def test_triton_reads_the_configuration_as_it_was_meant() -> None:
    """Parsed by the protocol's own message, odd names included."""
    from dataclasses import replace

    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig as Message

    odd = 'a "quoted" \\ name'
    config = replace(CONFIG, inputs=(Tensor(odd, "TYPE_FP32"), Tensor("数", "TYPE_STRING")))
    message = text_format.Parse(config.render(), Message())
    assert [item.name for item in message.input] == [odd, "数"]
    assert list(message.version_policy.specific.versions) == [5, 6, 7]
    assert message.output[0].dims == [3]
    assert message.dynamic_batching.max_queue_delay_microseconds == 200


def test_a_configuration_is_written_once(repository: ModelRepository) -> None:
    assert repository.write_config(CONFIG)
    assert not repository.write_config(CONFIG)
    assert files(repository) == {"rail__late/config.pbtxt"}


def test_a_configuration_that_cannot_be_written_leaves_the_old_one(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    repository.write_config(CONFIG)
    path = repository.root / "rail__late" / "config.pbtxt"
    before = path.read_text()
    monkeypatch.setattr(module, "write_file", full_disk)
    with pytest.raises(DeploymentError, match="No space left"):
        repository.write_config(replace(CONFIG, versions=(8,)))
    assert path.read_text() == before
    assert files(repository) == {"rail__late/config.pbtxt"}


def full_disk(path: Path, body: object) -> None:
    path.write_bytes(b"half")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- versions ------------------------------------------------------------------------------------


def test_a_version_appears_with_its_content(repository: ModelRepository, onnx: Path) -> None:
    assert repository.publish("m", 1, onnx, sha256(onnx))
    assert not repository.publish("m", 1, onnx, sha256(onnx))
    assert files(repository) == {"m/1/model.onnx"}
    assert repository.digest("m", 1) == sha256(onnx)
    assert repository.digest("m", 2) is None
    assert repository.versions("m") == [1]
    assert repository.versions("nobody") == []


def test_a_damaged_version_is_replaced(repository: ModelRepository, onnx: Path) -> None:
    repository.publish("m", 1, onnx, sha256(onnx))
    (repository.root / "m" / "1" / "model.onnx").write_bytes(b"damaged")
    assert repository.publish("m", 1, onnx, sha256(onnx))
    assert repository.digest("m", 1) == sha256(onnx)
    assert files(repository) == {"m/1/model.onnx"}


def test_a_full_disk_shows_nothing(
    repository: ModelRepository, onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_source: Path, target: Path) -> None:
        full_disk(target, b"")

    monkeypatch.setattr(module, "_copy", half)
    with pytest.raises(DeploymentError, match="make room"):
        repository.publish("m", 1, onnx, sha256(onnx))
    assert files(repository) == set()
    assert repository.versions("m") == []


def test_a_graph_that_was_changed_is_not_published(repository: ModelRepository, onnx: Path) -> None:
    right = sha256(onnx)
    onnx.write_bytes(b"graph two")
    with pytest.raises(DeploymentError, match="not the one that was trained"):
        repository.publish("m", 1, onnx, right)
    assert files(repository) == set()


WATCHED = """
import sys
from pathlib import Path
from resources.triton.repository import ModelRepository
repository, onnx = ModelRepository(Path(sys.argv[1])), Path(sys.argv[2])
import hashlib
digest = hashlib.sha256(onnx.read_bytes()).hexdigest()
for version in range(1, 31):
    repository.publish("m", version, onnx, digest)
"""


def test_whoever_looks_sees_a_whole_version_or_none(
    repository: ModelRepository, onnx: Path
) -> None:
    onnx.write_bytes(os.urandom(2_000_000))
    child = subprocess.Popen(
        [sys.executable, "-c", WATCHED, str(repository.root), str(onnx)],
        cwd=Path(__file__).parents[3],
    )
    seen = 0
    while child.poll() is None:
        for version in repository.versions("m"):
            graph = repository.root / "m" / str(version) / "model.onnx"
            assert graph.stat().st_size == 2_000_000
            seen += 1
    assert child.returncode == 0
    assert seen
    assert repository.versions("m") == list(range(1, 31))


def test_a_graph_is_on_the_disk_before_its_version_appears(
    repository: ModelRepository, onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor: int) -> None:
        events.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")  # noqa: PTH115
        fsync(descriptor)

    def noted_rename(self: Path, target: Path) -> Path:
        events.append(f"rename to {Path(target).name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    repository.publish("m", 4, onnx, sha256(onnx))
    place = events.index("rename to 4")
    assert "fsync model.onnx" in events[:place]
    assert any(event.startswith("fsync m~") for event in events[:place])
    assert "fsync m" in events[place:]


def test_only_what_is_not_kept_is_pruned(repository: ModelRepository, onnx: Path) -> None:
    for version in (1, 2, 3, 10):
        repository.publish("m", version, onnx, sha256(onnx))
    repository.publish("other", 1, onnx, sha256(onnx))
    (repository.root / "m" / "notes").mkdir()
    assert repository.prune("m", (10, 3)) == [1, 2]
    assert repository.versions("m") == [3, 10]
    assert (repository.root / "m" / "notes").is_dir()
    assert repository.versions("other") == [1]
    assert repository.prune("nobody", ()) == []


def test_removing_takes_one_model_only(repository: ModelRepository, onnx: Path) -> None:
    for name in ("m", "m__candidate"):
        repository.publish(name, 1, onnx, sha256(onnx))
    repository.remove("m__candidate")
    repository.remove("nobody")
    assert files(repository) == {"m/1/model.onnx"}


def test_leftovers_of_other_models_are_not_touched(repository: ModelRepository) -> None:
    staging = repository.root / module.STAGING
    for name in ("m~1", "m~2", "m__candidate~3", "other~4"):
        (staging / name).mkdir(parents=True)
    repository.clear_staging("m")
    assert {entry.name for entry in staging.iterdir()} == {"m__candidate~3", "other~4"}


# --- one at a time -------------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from resources.triton.repository import ModelRepository
with ModelRepository(Path(sys.argv[1])).lock("m"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(repository: ModelRepository):  # type: ignore[no-untyped-def]
    """A process that holds the lock of model ``m``."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(repository.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.communicate()


def test_a_lock_keeps_another_process_out(
    repository: ModelRepository, holder: subprocess.Popen[str]
) -> None:
    with (
        pytest.raises(LedgerConflictError, match="another process"),
        repository.lock("m", wait_seconds=0),
    ):
        pass
    with repository.lock("another model", wait_seconds=0):
        pass
    holder.communicate("go\n", timeout=30)
    with repository.lock("m", wait_seconds=0):
        pass


def test_a_lock_ends_with_a_killed_process(
    repository: ModelRepository, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait()
    with repository.lock("m", wait_seconds=1):
        pass


def test_a_lock_excludes_threads_too(repository: ModelRepository) -> None:
    with (
        repository.lock("m"),
        pytest.raises(LedgerConflictError),
        repository.lock("m", wait_seconds=0),
    ):
        pass


def test_a_repository_that_is_a_file_is_explained(tmp_path: Path, onnx: Path) -> None:
    (tmp_path / "file").write_text("")
    shutil.rmtree(tmp_path / "repository", ignore_errors=True)
    with pytest.raises(DeploymentError, match="could not be written"):
        ModelRepository(tmp_path / "file").publish("m", 1, onnx, sha256(onnx))
