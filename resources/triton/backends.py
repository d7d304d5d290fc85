"""The embedded Triton's backend folder: its own Python backend, and ours from the checkout."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from resources.triton.environment import server_folder

STUB = "triton_python_backend_stub"


def assemble_backends(environment: Path, ours: Path, folder: Path) -> Path:
    """Put the folder together anew, for one server; environments may be shared.

    Triton refuses a linked library ("escapes backend directory"), and a copied stub does not find
    the libraries beside the original.

    Args:
        environment: The embedded Triton's environment.
        ours: Folder with the engine's own backends.
        folder: Where to; replaced. No server may be using it.

    Returns:
        ``folder``.
    """
    server = server_folder(environment)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ours, folder, ignore=shutil.ignore_patterns("__pycache__"))
    python = folder / "python"
    python.mkdir()
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        shutil.copy2(server / "backends" / "python" / name, python / name)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (python / STUB).symlink_to(server / "python_backend_stubs" / version / STUB)
    return folder
