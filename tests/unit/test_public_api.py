"""What users import: every name is there, imported when it is used, and listed in the docs."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGES = ("operators", "sensors", "hooks", "dag_templates")
HEAVY = ("pandas", "sklearn", "mlflow", "great_expectations", "evidently", "boto3", "pyarrow", "numpy", "scipy")


def exported(package: str) -> set[str]:
    return set(import_module(f"airflow_mlops_provider.{package}").__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_is_there_and_a_wrong_one_is_not(package: str) -> None:
    module = import_module(f"airflow_mlops_provider.{package}")
    assert all(getattr(module, name).__name__ == name for name in exported(package))
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = module.Nothing


def test_the_page_lists_what_is_exported() -> None:
    page = (PROJECT / "docs" / "public-api.md").read_text(encoding="utf-8")
    stable = page.split("## Stable", 1)[1].split("\n## ", 1)[0]
    for package in PACKAGES:
        row = next(line for line in stable.splitlines() if f"`airflow_mlops_provider.{package}`" in line)
        assert set(re.findall(r"`(\w+)`", row.split("|")[2])) == exported(package)


def test_all_operators_and_sensors_are_imported_without_a_heavy_library() -> None:
    code = (
        "import sys; from airflow_mlops_provider import hooks, operators, sensors\n"
        "for module in (hooks, operators, sensors):\n"
        "    [getattr(module, name) for name in module.__all__]\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert (PROJECT / "airflow_mlops_provider" / "py.typed").is_file()
