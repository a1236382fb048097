"""Write a small store and MLflow database as a release leaves them, for the tests that later code reads them whole.

Run it with the code of the release, once for each that changes what is stored:

    git worktree add /tmp/release <tag or commit>
    PYTHONPATH=/tmp/release .venv/bin/python tools/write_stored.py tests/unit/stored/<release>.tar.xz

The archive holds `store/`, the artifact store; `mlflow.sql`, a dump of the database, and `mlartifacts/`, its files,
in which `{folder}` stands for the folder they are unpacked into; `rows.csv`, the data; and `results.json`, what each
task returned, by name.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import tarfile
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider import effects
from airflow_mlops_provider.effects import decisions, watching
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.spec import Data, Monitoring, Scoring
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from airflow_mlops_provider.results import StepResult

MODEL = "warm"
START, DAY = datetime(2024, 1, 1, tzinfo=UTC), timedelta(days=1)
ROWS_A_DAY = 30
METRICS = ["log_loss", "roc_auc"]
COLUMNS = {"target": "good", "timestamp": "at", "keys": ["id"], "numeric": ["warmth"], "categorical": ["colour"]}
CANDIDATES: dict[str, dict[str, Any]] = {
    "logistic": {"estimator": "sklearn.linear_model.LogisticRegression"},
    "tree": {
        "estimator": "sklearn.tree.DecisionTreeClassifier",
        "search": {"method": "random", "space": {"max_depth": {"low": 1, "high": 4, "int": True}}, "trials": 3},
    },
}
CONSTANT = {"constant": {"estimator": "sklearn.dummy.DummyClassifier"}}
EXPECTATIONS = [{"type": "expect_column_values_to_be_between", "kwargs": {"column": "warmth", "min_value": -9}}]
GATES = [
    {"kind": "absolute", "metric": "log_loss", "max": 0.9},
    {"kind": "predictions", "max_shift": 0.75},
    {"kind": "champion"},
]
MONITORING = {
    "drift": {"min_rows": 20, "numeric_threshold": 0.5, "categorical_threshold": 0.3},
    "live": {"min_rows": 20, "margin": 0.3},
    "estimated": {"min_rows": 20, "margin": 0.5},
    "retraining": {"after": 1, "min_rows": 0},
}


def date(day: int) -> datetime:
    """Return a day's beginning."""
    return START + day * DAY


class Life:
    """A model's life, by the steps and effects that operators run."""

    def __init__(self, folder: Path) -> None:
        self.store = ArtifactStore((folder / "store").as_uri())
        self.address = f"sqlite:///{folder / 'mlflow.db'}"
        self.registry = Registry.connect(self.address)
        self.rows = folder / "rows.csv"
        self.results: dict[str, StepResult] = {}

    def write_rows(self, days: int) -> None:
        """Write the data: whether it is warm enough."""
        chance = random.Random(3)
        lines = ["id,at,warmth,colour,good"]
        for number in range(days * ROWS_A_DAY):
            warmth, colour = chance.gauss(0, 1), chance.choice(["red", "green"])
            at = START + number * DAY / ROWS_A_DAY
            lines.append(f"{number},{at.isoformat()},{warmth:.3f},{colour},{int(warmth + chance.gauss(0, 0.5) > 0)}")
        self.rows.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @property
    def data(self) -> dict[str, Any]:
        """The section `data`."""
        return {"source": {"uri": str(self.rows)}, "columns": COLUMNS}

    def step(
        self, name: str, section: dict[str, Any], day: int, *, champion: Any = None, call: str = "", **inputs: Any
    ) -> StepResult:
        """Run a step as an operator does."""
        request = StepRequest(
            step=name, pipeline=MODEL, as_of=date(day), section=section, inputs=inputs, champion=champion
        )
        return self._known(f"{day} {call or name}", run_step(request, self.store))

    def train(self, day: int, candidates: dict[str, dict[str, Any]]) -> StepResult:
        """Train, evaluate and publish."""
        dataset = [self.step("ingest", {"task": "binary", "data": self.data}, day)]
        self.step("validate", {"expectations": EXPECTATIONS}, day, dataset=dataset)
        split = [self.step("prepare", {"split": {"by": "time", "holdout": 0.3}}, day, dataset=dataset)]
        made = {"dataset": dataset, "split": split}
        models = [
            self.step("train", {"name": name, "candidate": candidate}, day, call=f"train {name}", **made)
            for name, candidate in candidates.items()
        ]
        inputs = effects.evaluation_inputs(self.store, models)
        common: Any = {"pipeline": MODEL, "model": MODEL, "as_of": date(day), "allow_older": False}
        comparable = self._known(
            f"{day} champion", effects.find_comparable_champions(self.registry, self.store, **common)
        )
        champion = effects.champion_to_compare(self.store, comparable, models)
        section = {"metrics": METRICS, "candidates": list(candidates)}
        evaluation = effects.compared(self.step("evaluate", section, day, champion=champion, **inputs), champion)
        published = effects.publish(self.registry, self.store, evaluation, model=MODEL, tags={})
        return self._known(f"{day} publish", published)

    def promote(self, day: int, evaluation: StepResult, *gates: dict[str, Any], score_with: bool = False) -> None:
        """Gate, let a person approve, and promote."""
        gate = self.step("gate", {"gates": list(gates), "metrics": METRICS}, day, evaluation=[evaluation])
        approval = None
        if score_with:
            settings: Any = {"model": MODEL, "caller": (f"{MODEL}_training", str(day), "approve", "-1")}
            effects.question(self.registry, self.store, evaluation, gate, **settings)
            approval = effects.answer(
                self.registry, evaluation, reply="approved", by="anna", rationale="fits the spring", **settings
            )
            self._known(f"{day} approve", approval)
        caller = (f"{MODEL}_training", str(day), "promote", "-1")
        done = effects.promote(
            self.registry, self.store, evaluation, gate, model=MODEL, caller=caller, approval=approval
        )
        if done.result.facts["status"] != "promoted":
            raise RuntimeError(f"day {day} was not promoted: {done.reason}")
        self._known(f"{day} promote", done.result)

    def roll_back(self) -> None:
        """Make the former champion serve again."""
        settings: Any = {"to": "previous", "reason": "it knows nothing", "caller": (f"{MODEL}_rollback", "by hand")}
        done = effects.roll_back(self.registry, self.store, pipeline=MODEL, model=MODEL, **settings)
        self._known("rollback", done.result)

    def score(self, day: int) -> None:
        """Score the day's window with the champion, and publish the partition."""
        start = date(day - 1).isoformat()
        section = {"task": "binary", "data": self.data, "purpose": "scoring", "start": start}
        dataset = [self.step("ingest", section, day, call="ingest for scoring")]

        def score_with(section: dict[str, Any], champion: Any) -> StepResult:
            return self.step("score", section, day, champion=champion, dataset=dataset)

        scored = effects.score(self.registry, self.store, model=MODEL, score_with=score_with)
        if scored is None:
            raise RuntimeError("there is no champion to score with")
        self._known(f"{day} scored", scored)

    def watch(self, day: int) -> None:
        """Measure drift, the estimate and the live metric of the day's window, and decide it."""
        pair = watching.champion_pair(self.registry.history(MODEL))
        if pair is None:
            raise RuntimeError("there is no champion to watch")

        def compute(step: str, *, as_of: datetime, section: Any, inputs: Any, champion: Any) -> StepResult:
            return self.step(step, section, day, champion=champion, call=f"{step} watched", **inputs)

        watcher = watching.Watcher(
            pipeline=MODEL,
            task="binary",
            data=Data.model_validate(self.data),
            scoring=Scoring.model_validate({"window": "P1D"}),
            monitoring=Monitoring.model_validate(MONITORING),
            metrics=METRICS,
            compute=compute,
        )
        scored = watcher.score(date(day), pair)
        drift, live, estimate = watcher.drift(scored, pair), watcher.live(date(day), pair), None
        if (estimate := watcher.estimate(scored, pair)) is None:
            raise RuntimeError("nothing was estimated")
        decisions.decide_window(
            self.registry,
            MODEL,
            watcher.monitoring,
            scored.window,
            pair=pair,
            drift=drift.facts,
            live=live,
            estimate=estimate.facts,
            caller=(f"{MODEL}_monitoring", str(day), "watch"),
            evidence={**drift.artifacts, "estimate": estimate.artifacts["estimate"]},
        )

    def notify(self) -> None:
        """Send a message, and fail to send another."""
        notices, by = self.registry.notices(MODEL), f"{MODEL}_training/1/notify"
        notices.since(notices.read(), f"{MODEL}.mail", ["promoted"], date(0))
        for event in ("promoted-1", "promoted-2"):
            notices.take(f"{MODEL}.mail", event, by=by)
        notices.mark(f"{MODEL}.mail", "promoted-1", by=by)
        notices.give_back(f"{MODEL}.mail", "promoted-2", by=by)

    def _known(self, name: str, result: StepResult) -> StepResult:
        self.results[name] = result
        return result


def live(folder: Path) -> Life:
    """Live a small life in a folder."""
    life = Life(folder)
    life.write_rows(22)
    life.promote(12, life.train(12, CANDIDATES), *GATES, score_with=True)
    life.notify()
    life.promote(14, life.train(14, CONSTANT))
    life.score(15)
    life.watch(15)
    life.roll_back()
    life.promote(16, life.train(16, {"logistic": CANDIDATES["logistic"]}), *GATES[:2])
    for day in (18, 19):
        life.score(day)
        life.watch(day)
    return life


def dump(life: Life, folder: Path, archive: Path) -> None:
    """Pack what a life left behind."""
    results = {name: result.xcom() for name, result in life.results.items()}
    (folder / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    with sqlite3.connect(folder / "mlflow.db") as database:
        # Where the artifacts lie. The addresses in the artifact store stay as they are: only their names count.
        text = "\n".join(database.iterdump()).replace(f"{folder}/mlartifacts", "{folder}/mlartifacts")
    (folder / "mlflow.sql").write_text(text + "\n", encoding="utf-8")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:xz") as tar:
        for name in ("mlartifacts", "mlflow.sql", "results.json", "rows.csv", "store"):
            tar.add(folder / name, name, filter=_anonymous)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def main() -> None:
    """Write the archive that the command line names."""
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        folder = Path(name)
        dump(live(folder), folder, Path(sys.argv[1]))
    print(f"Wrote {sys.argv[1]}.")


if __name__ == "__main__":
    main()
