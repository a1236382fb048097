from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from airflow_mlops_provider.allow_list import AllowList, requirement_of, version_of
from airflow_mlops_provider.exceptions import NotAllowedError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    (tmp_path / "readers.py").write_text("def read(): ...\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    return tmp_path


@pytest.mark.parametrize("name", ["sklearn.svm.SVC", "xgboost.XGBClassifier", "readers.read", "package.models.Model"])
def test_what_is_listed_may_be_named(name: str, plugins: Path) -> None:
    AllowList(modules=("xgboost",), plugins_folder=str(plugins)).check(name)


@pytest.mark.parametrize(
    "name",
    ["os.system", "builtins.eval", "subprocess.Popen", "sklearn_evil.Model", "lightgbm.LGBMClassifier", "absent.read"],
)
def test_what_is_not_listed_is_refused_by_name(name: str, plugins: Path) -> None:
    with pytest.raises(NotAllowedError, match=f"(?s){name}.*outside the allow-list.*sklearn, xgboost, a module in"):
        AllowList(modules=("xgboost",), plugins_folder=str(plugins)).check(name)


@pytest.mark.parametrize("name", ["../readers.read", "/etc.passwd", "..readers.read", "readers", ""])
def test_what_is_no_dotted_name_is_refused(name: str, plugins: Path) -> None:
    with pytest.raises(NotAllowedError, match="is not a dotted name"):
        AllowList(plugins_folder=str(plugins / "package")).check(name)


def test_a_refused_name_is_not_imported() -> None:
    code = (
        "import sys; from airflow_mlops_provider.allow_list import AllowList\n"
        "from airflow_mlops_provider.exceptions import NotAllowedError\n"
        "try: AllowList().load('antigravity.fly')\n"
        "except NotAllowedError: print('antigravity' in sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert loaded.stdout.strip() == "False"


def test_checking_and_identifying_import_nothing() -> None:
    code = (
        "import sys; from airflow_mlops_provider.allow_list import AllowList\n"
        "AllowList().check('sklearn.svm.SVC'); AllowList().fingerprint('sklearn.svm.SVC')\n"
        "print('sklearn' in sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert loaded.stdout.strip() == "False"


def test_a_class_is_loaded_by_name() -> None:
    from sklearn.svm import SVC

    assert AllowList().load("sklearn.svm.SVC") is SVC


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sklearn.svm.SVD", "module 'sklearn.svm' has no 'SVD'"),
        ("sklearn.svn.SVC", "'sklearn.svn.SVC' cannot be imported"),
        ("sklearn.impute.IterativeImputer", "cannot be imported.*experimental"),
    ],
)
def test_a_wrong_name_is_named(name: str, message: str) -> None:
    with pytest.raises(NotAllowedError, match=f"(?s){message}"):
        AllowList().load(name)


def test_the_fingerprint_of_a_plugin_is_that_of_its_file(plugins: Path) -> None:
    allow_list = AllowList(plugins_folder=str(plugins))
    before = allow_list.fingerprint("readers.read")

    (plugins / "readers.py").write_text("def read(): return 1\n")

    assert allow_list.fingerprint("readers.read") != before


@pytest.mark.parametrize("changed", ["__init__.py", "flights.py", "weather/stations.py"])
def test_the_fingerprint_of_a_plugin_package_is_that_of_all_its_modules(tmp_path: Path, changed: str) -> None:
    package = tmp_path / "features"
    (package / "weather").mkdir(parents=True)
    for module in ("__init__.py", "flights.py", "weather/__init__.py", "weather/stations.py"):
        (package / module).write_text("")
    allow_list = AllowList(plugins_folder=str(tmp_path))
    before = allow_list.fingerprint("features.flights.read")

    (package / changed).write_text("def read(): return 1\n")

    assert allow_list.fingerprint("features.flights.read") != before


@pytest.mark.parametrize("code", ["def read(:", "undefined_name", "raise AttributeError('x')"])
def test_a_plugin_that_cannot_be_imported_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    (tmp_path / "broken_plugin.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(NotAllowedError, match="module 'broken_plugin' fails on import: got .*Error"):
        AllowList(plugins_folder=str(tmp_path)).load("broken_plugin.read")


def test_the_fingerprint_of_a_library_is_its_version() -> None:
    assert AllowList().fingerprint("sklearn.svm.SVC") == version_of("sklearn") != "absent"


def test_a_requirement_is_pinned() -> None:
    assert requirement_of("sklearn") == f"scikit-learn=={version_of('sklearn')}"
    with pytest.raises(NotAllowedError, match="'no_such_module' is not installed"):
        requirement_of("no_such_module")
