"""Code of a user: a module in the plugins folder, as a guide shows it, and an installed package."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

PROJECT = Path(__file__).parents[2]

_TRANSFORMER = '''
from sklearn.base import BaseEstimator, TransformerMixin


class Squared(TransformerMixin, BaseEstimator):
    """The squares of numbers."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X.to_numpy(dtype=float) ** 2
'''
_METRIC = """
def misses_cost(y_true, y_pred):
    return float((y_true != y_pred).mean())
"""
_TRACKER = """
import json
from pathlib import Path


def to_files(runs, *, folder):
    Path(folder).mkdir(parents=True, exist_ok=True)
    for run in runs:
        (Path(folder) / f"{run['id']}.json").write_text(json.dumps(run))
"""
_PACKAGE = '''
def nothing_lost(evaluation):
    """Require that every row is trained on or held out."""
    rows = evaluation["rows"]
    lost = rows["total"] - rows["training"] - rows["holdout"]
    return {"passed": lost >= 0, "got": f"{lost} rows in neither part", "expected": ">= 0"}
'''


#: The modules that guides show.
_OF_GUIDES = {"custom-gates.md": "business_gates.py", "custom-metrics.md": "profit.py", "trackers.md": "tracking.py"}


def write_plugins(folder: Path) -> dict[str, str]:
    """Write the project's plugins, and the modules of the guides; return the setting that names them."""
    shutil.copytree(PROJECT / "plugins", folder, ignore=shutil.ignore_patterns("__pycache__"))
    for guide, module in _OF_GUIDES.items():
        text = (PROJECT / "docs" / guide).read_text(encoding="utf-8")
        [code] = re.findall(rf"<!-- example: {module} -->\n```python\n(.*?)```", text, re.DOTALL)
        (folder / module).write_text(code, encoding="utf-8")
    (folder / "own_features.py").write_text(_TRANSFORMER, encoding="utf-8")
    return {"AIRFLOW__CORE__PLUGINS_FOLDER": str(folder)}


def write_package(folder: Path) -> dict[str, str]:
    """Write a package as one is installed; return the settings by which it is found and allowed."""
    package = folder / "company_gates"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(_PACKAGE, encoding="utf-8")
    (package / "squares.py").write_text(_TRANSFORMER, encoding="utf-8")
    (package / "metrics.py").write_text(_METRIC, encoding="utf-8")
    (package / "trackers.py").write_text(_TRACKER, encoding="utf-8")
    metadata = folder / "company_gates-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: company-gates\nVersion: 1.0\n", encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "AIRFLOW__MLOPS__ALLOWED_MODULES": "company_gates"}
