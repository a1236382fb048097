"""Print what the compute steps need, which is what an image for them holds: the dependencies without Airflow's.

`make constraints` pins them in `constraints-step.txt`, to the versions that `constraints.txt` has.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_PROJECT = Path(__file__).resolve().parent.parent
#: Orchestration and effects: neither runs in a container.
_NOT_IN_STEPS = re.compile(r"apache-airflow|mlflow\b")
#: Extras that a pipeline file may ask steps for: an image without them would fail at night.
_EXTRAS = ("search",)


def step_requirements() -> list[str]:
    """Return the requirements of the package that its steps import, as `pyproject.toml` writes them."""
    project = tomllib.loads((_PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [line for line in project["dependencies"] if not _NOT_IN_STEPS.match(line)]
    return wanted + [line for extra in _EXTRAS for line in project["optional-dependencies"][extra]]


if __name__ == "__main__":
    print("\n".join(step_requirements()))
