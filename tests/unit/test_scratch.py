from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_mlops_provider.storage.scratch import Scratch

LEFT = (
    "from airflow_mlops_provider.storage.scratch import Scratch; import os; s = Scratch(); print(s.folder, flush=True)"
)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def another(code: str) -> Path:
    project = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=project, stdout=subprocess.PIPE, text=True, check=False)
    return Path(done.stdout.strip())


def test_scratch_space_goes_with_its_object() -> None:
    scratch = Scratch()
    folder = scratch.folder
    (folder / "file").write_text("x")
    del scratch
    gc.collect()
    assert not folder.exists()


def test_scratch_space_goes_with_its_process(tmp_path: Path) -> None:
    folder = another(LEFT)
    assert folder.parent == tmp_path
    assert not folder.exists()


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    mine = Scratch()
    other = tmp_path / "mlops-scratch-of-nobody"
    other.mkdir()
    folder = another(f"{LEFT}; os.kill(os.getpid(), 9)")
    assert folder.is_dir()

    Scratch()

    assert not folder.exists()
    assert mine.folder.is_dir()
    assert other.is_dir()


def test_a_forked_child_leaves_its_parents_files(tmp_path: Path) -> None:
    scratch = Scratch()
    code = "import os, sys; " + LEFT + "; pid = os.fork(); sys.exit(0) if pid == 0 else os.waitpid(pid, 0)"
    # The child ends in order, as a task that was forked may; its parent looks whether the folder is still there.
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(s.folder.is_dir())"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "True"
    assert scratch.folder.is_dir()
    assert os.stat(scratch.folder).st_mode & 0o077 == 0
