"""Where the engine keeps its state and finds its servers, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.errors import EnvironmentProblemError
from resources.processes import HOST, ProcessRecord

MARKER = "workspace.yaml"
"""The file that marks a project root."""
TRITON_RECORD = Path("triton", "server.json")
"""Below ``home``: the embedded Triton that runs now."""
DEFAULT_PORTS = {"http": 8000, "grpc": 8001}


@dataclass(frozen=True)
class Settings:
    """Places and addresses.

    Attributes:
        root: Project root, the folder with ``workspace.yaml`` (``MLOPS_ROOT``, or the nearest
            folder above the working directory).
        home: Local state: store, checkpoints, Triton, Dagster (``MLOPS_HOME``).
        store_uri: Store of data sets, bundles and the ledger (``MLOPS_STORE_URI``).
        triton_grpc_url: ``host:port`` of Triton's gRPC service (``MLOPS_TRITON_GRPC_URL``).
        triton_http_url: Triton's HTTP service (``MLOPS_TRITON_HTTP_URL``).
        triton_repository: Triton's model repository (``MLOPS_TRITON_REPOSITORY``).
        triton_environments: Where the embedded Triton is installed; checkouts may share it
            (``MLOPS_TRITON_ENVIRONMENTS``).
        dagster_home: Folder of the ``dagster.yaml`` of an instance that somebody else runs
            (``MLOPS_DAGSTER_HOME``); without one, commands have an instance below ``home``.
    """

    root: Path
    home: Path
    store_uri: str
    triton_grpc_url: str
    triton_http_url: str
    triton_repository: Path
    triton_environments: Path
    dagster_home: Path | None = None

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] | None = None, root: Path | None = None
    ) -> Settings:
        """Read the settings; relative paths in the environment start at the root.

        Args:
            environ: Instead of the process's environment.
            root: Instead of ``MLOPS_ROOT`` and of the working directory.

        Raises:
            EnvironmentProblemError: There is no project here.
        """
        env = os.environ if environ is None else environ
        place = (root or _find_root(env)).resolve()
        home = place / env.get("MLOPS_HOME", ".mlops")
        ports = _triton_ports(home)
        return cls(
            root=place,
            home=home,
            store_uri=_store_uri(env, place, home),
            triton_grpc_url=env.get("MLOPS_TRITON_GRPC_URL", f"{HOST}:{ports['grpc']}"),
            triton_http_url=env.get("MLOPS_TRITON_HTTP_URL", f"http://{HOST}:{ports['http']}"),
            triton_repository=place / env.get("MLOPS_TRITON_REPOSITORY", "triton_repo"),
            triton_environments=place / env.get("MLOPS_TRITON_ENVIRONMENTS", home / "triton"),
            dagster_home=place / named if (named := env.get("MLOPS_DAGSTER_HOME")) else None,
        )


def _find_root(env: Mapping[str, str]) -> Path:
    named = env.get("MLOPS_ROOT")
    if named:
        path = Path(named).expanduser()
        if (path / MARKER).is_file():
            return path
        raise EnvironmentProblemError(
            "MLOPS_ROOT is not a project root",
            found=path,
            expected=f"a folder with a {MARKER}",
            fix="set MLOPS_ROOT to the project's folder, or unset it",
        )
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / MARKER).is_file():
            return folder
    raise EnvironmentProblemError(
        "there is no project here",
        where=here,
        expected=f"a {MARKER} in this folder or one above it",
        fix="change into the project's folder, or set MLOPS_ROOT",
    )


def _store_uri(env: Mapping[str, str], root: Path, home: Path) -> str:
    uri = env.get("MLOPS_STORE_URI", "")
    if not uri:
        return str(home / "store")
    return uri if "://" in uri else str(root / uri)


def _triton_ports(home: Path) -> dict[str, int]:
    record = ProcessRecord.load(home / TRITON_RECORD)
    return DEFAULT_PORTS | (record.ports if record else {})
