"""Tasks that are killed with SIGKILL at named points, once at each, and an Airflow that tries them again at once."""

from __future__ import annotations

import re
from pathlib import Path

from airflow_mlops_provider import failpoints
from airflow_mlops_provider.runner import STEPS

_PACKAGE = Path(failpoints.__file__).parent


def _pairs(*names: str) -> set[str]:
    return {f"{name}.{when}" for name in names for when in ("before", "after")}


def _receipts(*steps: str) -> set[str]:
    return _pairs(*(f"{step}.receipt" for step in steps))


_CHAMPION = _pairs("ledger.write", "alias.write", "champion.event")
#: The points that the tasks of each DAG pass through.
POINTS = {
    "training": _receipts("ingest", "validate", "prepare", "search", "train", "evaluate", "latency", "gate", "refit")
    | _pairs("search.trial", "publish.runs", "publish.trials", "publish.upload", "publish.register", "publish.pages")
    | _CHAMPION,
    "mirror": _pairs("mirror"),
    "challenge": _pairs("look.write"),
    "scoring": _receipts("ingest", "score") | _pairs("predictions.publish"),
    "sinks": _pairs("predictions.sink"),
    "monitoring": _receipts("ingest", "drift", "estimate", "live")
    | _pairs("decision.write", "retrain.event")
    | _CHAMPION,
    "rollback": _CHAMPION,
    "approval": _pairs("approval.write"),
    "notification": _pairs("notice.send"),
}


def every_point() -> set[str]:
    """Return the points that the code has: those of the receipts of its steps, the others by name."""
    source = "".join(file.read_text(encoding="utf-8") for file in _PACKAGE.rglob("*.py"))
    return set(re.findall(r'failpoint\("([a-z._]+)"\)', source)) | _receipts(*STEPS)


class Points:
    """Which points kill, and which have: a marker in the folder says that a point has killed already."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.setting = {failpoints.VARIABLE: f"{folder}:{','.join(sorted(every_point()))}"}
        self.arm(set())

    def arm(self, points: set[str]) -> None:
        """Let these points kill once, and no other."""
        for point in every_point():
            (self.folder / point).touch()
        for point in points:
            (self.folder / point).unlink()
        self.armed = points

    @property
    def left(self) -> set[str]:
        """The armed points at which nothing was killed."""
        return self.armed - {file.name for file in self.folder.iterdir()}
