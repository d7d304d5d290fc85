"""A process that deploys and, if told so, is killed at a given point. Run by the tests."""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import MlopsError
from mlops_assets.keys import ProjectId
from mlops_assets.serving.apply import stored_bundle
from mlops_assets.serving.deploy import deploy
from resources.local_store import LocalStore
from resources.settings import Settings


def kill_at(point: str) -> None:
    """Die at the n-th call of a function: ``module:Class.method:2:before``, ``after``, or ``half``.

    ``half`` is for ``shutil.copyfileobj``: half of the bytes are written.
    """
    module, path, number, when = point.split(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == int(number) and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if calls == int(number) and when == "half":
            body = args[0].read()
            args[1].write(body[: len(body) // 2])
            args[1].flush()
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if calls == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, dying)


def main() -> None:
    order = json.loads(sys.argv[1])
    spec = ProjectSpec.model_validate(order["written"])
    directory = Path(order["directory"])
    project = Project(ProjectId.parse(order["project"]), spec, directory, order["written"])
    paths = {field.name for field in fields(Settings) if field.type == "Path"}
    settings = Settings(**{k: Path(v) if k in paths else v for k, v in order["settings"].items()})
    store = LocalStore(Path(settings.store_uri))
    bundle = stored_bundle(project, store, order["bundle"])
    if order.get("kill"):
        kill_at(order["kill"])
    if order.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"],) * 2)
    if order.get("wait_for"):
        while not Path(order["wait_for"]).exists():
            pass
    try:
        result = deploy(
            project,
            bundle,
            store=store,
            settings=settings,
            run_id=order["run_id"],
            reason="a test wants it",
        )
    except MlopsError as error:
        answer = {"error": type(error).__name__, "text": str(error)}
    else:
        answer = {"version": result.version}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
