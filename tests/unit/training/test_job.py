"""The folder that the processes of a training share, on one machine or several."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from mlops_assets.training.job import job_folders, make_job_folder, write_json


def test_writers_with_one_process_id_do_not_share_a_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes of two containers may have the same id, and write the same file."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    drafts = []
    replace = Path.replace

    def replaced(draft: Path, target: Path) -> Path:
        drafts.append(draft.name)
        if len(drafts) == 1:  # the other one comes in between
            write_json(tmp_path / "codes.json", {"0": 1})
        return replace(draft, target)

    monkeypatch.setattr(Path, "replace", replaced)
    write_json(tmp_path / "codes.json", {"1": 9})
    assert len(set(drafts)) == 2
    assert json.loads((tmp_path / "codes.json").read_text()) == {"1": 9}
    assert [path.name for path in tmp_path.iterdir()] == ["codes.json"]


def test_jobs_that_go_meanwhile_are_passed_over(tmp_path: Path) -> None:
    kept, is_over = make_job_folder(tmp_path / "a" / "b"), threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            folder = make_job_folder(tmp_path / "a" / "other")
            shutil.rmtree(folder)
            folder.parent.rmdir()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        assert all(kept in job_folders(tmp_path) for _ in range(3000))
    finally:
        is_over.set()
        thread.join()
