"""The examples that the package carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.pipelines import load_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_the_examples_are_written_and_how_airflow_finds_them_is_printed(
    run: Callable[..., Any], worker: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "examples"
    code, out, _ = run("examples", str(folder))
    assert code == 0
    written = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.*"))
    assert {"dags/pipelines.py", "pipelines/wine_cultivar.yaml", "plugins/bundled.py"} < set(written)
    for name in ("DAGS", "PLUGINS"):
        assert f"export AIRFLOW__CORE__{name}_FOLDER={folder / name.lower()}" in out
    assert load_pipeline(folder / "pipelines" / "wine_cultivar.yaml").task == "multiclass"
    assert run("examples", str(folder))[0] == 0, "again is no mistake"


@pytest.mark.parametrize("there", ["pipelines/wine_cultivar.yaml", "plugins/bundled.py"])
def test_nothing_is_written_over_and_nothing_half_written(
    run: Callable[..., Any], worker: Any, tmp_path: Path, there: str
) -> None:
    mine = tmp_path / there
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    code, _, err = run("examples", str(tmp_path))
    assert code == 1
    assert str(mine) in err
    assert [file for file in tmp_path.rglob("*.*") if file.is_file()] == [mine]
    assert mine.read_text() == "mine"


def test_a_file_is_no_folder(run: Callable[..., Any], worker: Any, tmp_path: Path) -> None:
    file = tmp_path / "examples"
    file.write_text("")
    code, _, err = run("examples", str(file))
    assert (code, "the examples need a folder" in err) == (1, True)
