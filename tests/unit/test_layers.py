"""Each promise about imports is held by a check that sees it broken."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGE = "airflow_mlops_provider"
BIN = Path(sys.executable).parent

#: What is planted, where, and how the check names it.
PLANTED = {
    "ui/charts.py": "import mlflow",
    "search/rules.py": "import mlflow",
    "overview/standing.py": "import mlflow",
    "results.py": "import airflow",
    "search/space.py": "import airflow",
    "extras.py": "import airflow",
    "spec/metrics.py": f"import {PACKAGE}.evaluation.metrics",
    "data/tables.py": f"import {PACKAGE}.effects.scoring",
    "steps/train.py": f"import {PACKAGE}.steps.prepare",
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what `lint-imports` prints of the package with all of it planted."""
    folder = tmp_path_factory.mktemp("planted")
    shutil.copytree(PROJECT / PACKAGE, folder / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", folder)
    for module, line in PLANTED.items():
        with (folder / PACKAGE / module).open("a") as file:
            file.write(f"\n{line}\n")
    done = subprocess.run(
        [BIN / "lint-imports", "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    return " ".join(done.stdout.split())  # it wraps lines


@pytest.mark.parametrize("module", PLANTED)
def test_an_import_that_a_layer_may_not_do_is_caught(module: str, broken: str) -> None:
    importer = f"{PACKAGE}.{module.removesuffix('.py').replace('/', '.')}"
    assert f"{importer} -> {PLANTED[module].removeprefix('import ')}" in broken


@pytest.mark.parametrize("library", ["pandas", "mlflow", "lightgbm", "docker", "shap"])
def test_a_heavy_library_at_the_top_of_a_module_is_caught(library: str) -> None:
    code = f'"""A module."""\n\nimport {library}\n\nprint({library})\n'
    name = f"{PACKAGE}/evaluation/new.py"
    done = subprocess.run(
        [BIN / "ruff", "check", "--no-cache", "--stdin-filename", name, "-"],
        cwd=PROJECT, input=code, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "TID253" in done.stdout


def test_the_map_lists_every_layer_in_its_order() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    [layers] = [one["layers"] for one in settings["tool"]["importlinter"]["contracts"] if one["name"] == "Layers"]
    page = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?`) \| ", page.split("## Layers", 1)[1].split("\n## ", 1)[0], re.MULTILINE)
    assert [re.findall(r"`(\w+)`", row) for row in rows] == [layer.split(" | ") for layer in layers]
