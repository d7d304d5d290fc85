"""The embedded Triton's own virtual environment, made on first use from pinned versions."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Callable
from ctypes.util import find_library
from importlib import resources as package_files
from pathlib import Path

from mlops_assets.errors import EnvironmentProblemError

STAMP = "complete"
Say = Callable[[str], None]


def ensure_environment(folder: Path, say: Say) -> Path:
    """The environment's folder, installed if it is not there or its requirements changed.

    It is built beside its final place and renamed, so a killed installation is never taken for a
    finished one.

    Args:
        folder: Parent of the environments.
        say: Told what takes long.

    Raises:
        EnvironmentProblemError: This machine cannot run the embedded Triton, or the
            installation failed.
    """
    requirements = package_files.files(__package__).joinpath("requirements.txt").read_text()
    digest = hashlib.sha256(f"{requirements}{sys.version}".encode()).hexdigest()[:12]
    target = folder / f"env-{digest}"
    if (target / STAMP).exists():
        return target
    _check_machine()
    say("installing the embedded Triton (about 60 MB, once)")
    draft = folder / f".env-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _install(draft, requirements)
        (draft / STAMP).touch()
        _take_over(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def site_packages(environment: Path) -> Path:
    """Where the environment's packages are."""
    return environment / "lib" / f"python{_own_version()}" / "site-packages"


def server_folder(environment: Path) -> Path:
    """The ``tritonserver`` folder inside the environment."""
    return site_packages(environment) / "pytriton" / "tritonserver"


def _check_machine() -> None:
    where = "embedded Triton"
    other = "use another Triton: set MLOPS_TRITON_GRPC_URL and MLOPS_TRITON_HTTP_URL"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise EnvironmentProblemError(
            "the embedded Triton does not run on this machine",
            where=where,
            found=f"{platform.system()} {platform.machine()}",
            expected="Linux x86_64",
            fix=other,
        )
    name, version = platform.libc_ver()
    if name == "glibc" and tuple(map(int, version.split(".")[:2])) < (2, 35):
        raise EnvironmentProblemError(
            "the embedded Triton needs a newer C library",
            where=where,
            found=f"glibc {version}",
            expected="glibc 2.35 or newer (Debian 12, Ubuntu 22.04)",
            fix=other,
        )
    if not _own_library().exists() and not find_library(f"python{_own_version()}"):
        raise EnvironmentProblemError(
            "Triton's Python backend needs the shared Python library",
            where=where,
            found=f"no {_own_library().name}",
            expected="the library, from the system or beside this Python",
            fix=f"on Debian and Ubuntu: apt-get install libpython{_own_version()}",
        )


def link_python_library(environment: Path) -> Path | None:
    """A folder with nothing but a link to this Python's shared library, for the backend.

    The library's own folder may hold another C++ or TLS library than the server needs. None when
    the system's library serves, which the loader finds by itself.
    """
    library = _own_library()
    if not library.exists():
        return None
    folder = environment / "libpython"
    folder.mkdir(exist_ok=True)
    draft = folder / f".{uuid.uuid4().hex[:8]}"
    draft.symlink_to(library)
    draft.replace(folder / library.name)
    return folder


def _own_library() -> Path:
    return Path(str(sysconfig.get_config_var("LIBDIR"))) / f"libpython{_own_version()}.so.1.0"


def _own_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _install(target: Path, requirements: str) -> None:
    uv = _find_uv()
    links = _find_links()
    python = str(target / "bin" / "python")
    if uv:
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(target)])
        flags = [part for link in links for part in ("--find-links", link)]
        command = [uv, "pip", "install", "--quiet", "--python", python, "--no-deps", *flags]
    else:
        _run([sys.executable, "-m", "venv", str(target)])
        command = [python, "-m", "pip", "install", "--quiet", "--no-deps"]
    listed = target / "requirements.txt"
    listed.write_text(requirements, encoding="utf-8")
    _run([*command, "--requirement", str(listed)])


def _find_uv() -> str | None:
    beside = Path(sys.executable).parent / "uv"
    return str(beside) if beside.exists() else shutil.which("uv")


def _find_links() -> list[str]:
    """pip's own find-links setting, which uv does not read."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.split() if done.returncode == 0 else []


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EnvironmentProblemError(
            "the embedded Triton could not be installed",
            where=" ".join(command[:4]) + " …",
            found=(done.stderr or done.stdout).strip(),
            fix="check the connection to the package index and try again",
        )


def _take_over(draft: Path, target: Path) -> None:
    """Rename into place; another process that was faster wins."""
    _relocate(draft, target)
    try:
        draft.rename(target)
    except OSError:
        if not (target / STAMP).exists():
            shutil.rmtree(target, ignore_errors=True)
            draft.rename(target)


def _relocate(draft: Path, target: Path) -> None:
    """A virtual environment's interpreter works from any folder; only its scripts do not."""
    for script in (draft / "bin").iterdir():
        if script.is_file() and not script.is_symlink():
            text = script.read_bytes()
            script.write_bytes(text.replace(str(draft).encode(), str(target).encode()))
