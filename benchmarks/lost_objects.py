"""Objects of the artifact store are deleted at random; then everything is done that a pipeline does.

Each round begins with the same world, three champions that have scored and were watched, and loses a share of all files
of its store. Every later run has to work, or to say in one line what to do; ledger and alias have to agree, nobody may
be put into quarantine by a rollback that was refused, and no champion may be lost.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from airflow_mlops_provider import effects
from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.backtest import Steps
from airflow_mlops_provider.backtest.training import candidates
from airflow_mlops_provider.effects import decisions, watching
from airflow_mlops_provider.effects.by_hand import promote_by_hand
from airflow_mlops_provider.effects.stored_files import champion_of, put_back_model
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_mlops_provider.effects.watching import Scored
    from airflow_mlops_provider.results import StepResult

NAME = "leavers"
START, DAY = datetime(2024, 1, 1, tzinfo=UTC), timedelta(days=1)
ROWS_A_DAY, DAYS = 40, 20
TRAINED, SCORED = (10, 12, 14), (13, 14, 15)
SPEC: dict[str, Any] = {
    "name": NAME,
    "task": "binary",
    "data": {
        "columns": {"target": "left", "timestamp": "at", "keys": ["id"], "numeric": ["age"], "categorical": ["plan"]},
        "window": "14 days",
    },
    "preparation": {"split": {"by": "time", "holdout": 0.5}},
    "training": {
        "candidates": {
            "logistic": {"estimator": "sklearn.linear_model.LogisticRegression"},
            "bayes": {"estimator": "sklearn.naive_bayes.GaussianNB"},
        }
    },
    "evaluation": {"metrics": ["log_loss", "roc_auc"], "bootstrap": {"resamples": 100}, "latency_calls": 10},
    "gates": [{"kind": "champion", "rule": "not_worse", "margin": 10.0}],
    "scoring": {"window": "1 day"},
    "monitoring": {"drift": {"min_rows": 20}, "live": {"min_rows": 20}},
}


@dataclass
class World:
    """A pipeline's store and its MLflow, with everything that is done to them.

    :param folder: holds `store`, `mlflow` and the source; objects may name it, so it stays where it is.
    """

    folder: Path
    windows: dict[int, Scored] = field(default_factory=dict)

    def __post_init__(self) -> None:
        spec = SPEC | {"data": SPEC["data"] | {"source": {"uri": str(self.folder / "leavers.csv")}}}
        self.pipeline = parse_pipeline(spec, where="the benchmark")
        self.opened()

    def opened(self) -> None:
        """Come as another process, which knows nothing of what was read before."""
        self.store = ArtifactStore(str(self.folder / "store"))
        self.registry = Registry.connect(f"sqlite:///{self.folder / 'mlflow' / 'mlflow.db'}")
        self.steps = Steps(self.pipeline, self.store, AllowList())

    def write_source(self) -> None:
        chance = random.Random(7)
        lines = ["id,at,age,plan,left"]
        for number in range(DAYS * ROWS_A_DAY):
            age, plan = chance.gauss(40, 12), chance.choice("abc")
            left = int(age + 5 * (plan == "c") + chance.gauss(0, 10) > 42)
            lines.append(f"{number},{(START + number * DAY / ROWS_A_DAY).isoformat()},{age:.3f},{plan},{left}")
        (self.folder / "leavers.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    # ------------------------------------------------------------ what a pipeline does

    def train(self, day: int) -> str:
        """Train as the training DAG does, and promote what its gates let pass."""
        return self.promoted(*self.published(day), day)

    def published(self, day: int) -> tuple[StepResult, StepResult]:
        """Return a published evaluation, and what the gates say of it."""
        as_of, pipeline, who = START + day * DAY, self.pipeline, {"pipeline": NAME, "model": NAME}
        models = candidates(self.steps, as_of)
        comparable = effects.find_comparable_champions(self.registry, self.store, **who, as_of=as_of, allow_older=False)
        champion = effects.champion_to_compare(self.store, comparable, models)
        section = {
            "evaluation": pipeline.evaluation.model_dump(mode="json", exclude_defaults=True),
            "metrics": pipeline.metrics,
            "candidates": list(pipeline.training.candidates),
        }
        inputs = effects.evaluation_inputs(self.store, models)
        measured = self.steps.run("evaluate", as_of=as_of, section=section, inputs=inputs, champion=champion)
        gates = [gate.model_dump(mode="json", exclude_defaults=True) for gate in pipeline.gates]
        evaluation = effects.compared(measured, champion)
        section = {"gates": gates, "metrics": pipeline.metrics}
        judged = self.steps.run("gate", as_of=as_of, section=section, inputs={"evaluation": [evaluation]})
        return effects.publish(self.registry, self.store, evaluation, model=NAME, tags={}, gate=judged), judged

    def promoted(self, evaluation: StepResult, judged: StepResult, day: int) -> str:
        done = effects.promote(
            self.registry, self.store, evaluation, judged, model=NAME, caller=("train", str(day)), allow_older=False
        )
        return str(done.result.facts.get("status", done.reason))

    def score(self, day: int) -> StepResult:
        """Score a day as the scoring DAG does, and remember the event."""
        as_of, start = START + day * DAY, START + (day - 1) * DAY
        dataset = self.steps.ingest(as_of, "scoring", start)

        def score_with(section: dict[str, Any], champion: Any) -> StepResult:
            return self.steps.run(
                "score", as_of=as_of, section=section, inputs={"dataset": [dataset]}, champion=champion
            )

        scored = cast("StepResult", effects.score(self.registry, self.store, model=NAME, score_with=score_with))
        self.windows[day] = watching.Scored(
            as_of=as_of,
            window_start=start,
            dataset=dataset.artifacts["dataset"],
            predictions=scored.artifacts["predictions"],
            rows=int(str(dataset.facts["rows"])),
        )
        return scored

    def watch(self, day: int) -> str:
        """Measure a scored window as the monitoring DAG does, and decide it."""
        watcher = watching.Watcher(
            pipeline=NAME,
            task=self.pipeline.task,
            data=self.pipeline.data,
            scoring=self.pipeline.scoring,
            monitoring=self.pipeline.monitoring,
            metrics=self.pipeline.metrics,
            compute=self.steps.run,
        )
        history = self.registry.history(NAME)

        def find(entry: Any) -> Any:
            return champion_of(self.registry, self.store, NAME, NAME, entry)

        pair = cast("watching.ChampionPair", watching.champion_pair(history, find))
        scored, as_of = self.windows[day], START + day * DAY
        if not all(self.store.has(ref) for ref in (scored.dataset, scored.predictions)):
            scored = watcher.score(as_of, pair)
        drift, live = watcher.drift(scored, pair), watcher.live(as_of, pair)
        decided = decisions.decide_window(
            self.registry,
            NAME,
            self.pipeline.monitoring,
            scored.window,
            pair=pair,
            drift=drift.facts,
            live=live,
            caller=("watch", str(day)),
            evidence=drift.artifacts,
        )
        return decided.decision.action

    def roll_back(self, to: str) -> str:
        done = effects.roll_back(
            self.registry, self.store, pipeline=NAME, model=NAME, to=to, reason="late", caller=("back", to)
        )
        return f"version {done.result.facts['version']}"

    def promote(self, version: int, *, despite_gates: bool = False) -> str:
        done = promote_by_hand(
            self.registry,
            self.store,
            self.pipeline,
            version,
            reason="by hand",
            approver="anna",
            allow_list=AllowList(),
            despite_gates=despite_gates,
            allow_older=True,
            lift_quarantine=True,
        )
        return done.reason

    # ------------------------------------------------------------ rounds

    def build(self) -> None:
        """Make the world: champions of some days, windows that were scored and watched."""
        self.write_source()
        for day in range(DAYS):
            if day in TRAINED:
                self.train(day)
            if day in SCORED:
                self.score(day)
        self.watch(SCORED[0])

    def files(self) -> list[Path]:
        root = self.folder / "store"
        return sorted(path for path in root.rglob("*") if path.is_file() and ".tmp" not in path.parts)

    def lose(self, share: float, seed: int) -> list[str]:
        """Delete a share of all files of the store, and return which."""
        files = self.files()
        lost = random.Random(seed).sample(files, max(1, round(share * len(files))))
        for file in lost:
            file.unlink()
        return [file.relative_to(self.folder / "store").as_posix() for file in lost]


def later_runs(world: World, seed: int) -> list[tuple[str, Callable[[], Any]]]:
    """Return what is done after objects were lost, in order; of some kinds one by the seed."""
    old, to = (14, "previous") if seed % 2 else (12, "1")
    runs: list[tuple[str, Callable[[], Any]]] = [
        ("watch a window that was scored before", lambda: world.watch(14)),
        ("clear an old training", lambda: world.train(old)),
        ("score", lambda: world.score(16)),
        ("watch", lambda: world.watch(16)),
        ("train", lambda: world.train(16)),
        ("roll back", lambda: world.roll_back(to)),
    ]
    first: list[tuple[str, Callable[[], Any]]] = [
        ("promote by hand", lambda: world.promote(1)),
        ("roll back at once", lambda: world.roll_back("2")),
        ("score an old window again", lambda: world.score(14)),
    ]
    return [first[seed % 3], *runs]


def play(world: World, seed: int) -> dict[str, Any]:
    """Do everything; return what worked, what was said of the rest, and what of either is wrong."""
    worked: dict[str, str] = {}
    refused: dict[str, str] = {}
    wrong: list[str] = []
    for name, run in later_runs(world, seed):
        world.opened()
        before = world.registry.history(NAME)
        try:
            worked[name] = str(run())[:60]
        except MLOpsError as error:
            refused[name] = str(error)
            if not error.hint or "\n" in str(error):
                wrong.append(f"{name}: not one line that says what to do: {error}")
            if world.registry.history(NAME) != before:
                wrong.append(f"{name} was refused, and wrote the ledger")
        found = world.registry.reconcile(NAME, repair=False)
        if not found.agrees:
            wrong.append(f"{name}: {found.reason}")
    return {"worked": worked, "refused": refused, "wrong": wrong + lost_champions(world)}


def lost_champions(world: World) -> list[str]:
    """Return which champions cannot be served any more: the one of now scores, each former one is whole."""
    history, facts = world.registry.history(NAME), world.score(19).facts
    lost = []
    if (facts["version"], facts["fallback"]) != (history[-1].version, None):
        lost.append(f"version {history[-1].version} is champion, and {facts['version']} scores")
    for entry in history:
        if not world.store.holds(entry.artifact):
            why = put_back_model(world.registry, world.store, NAME, entry)
            lost += [] if why is None else [why]
    return lost


def restored(folder: Path) -> World:
    """Return the world as it was made, in the same place each time; it is made once."""
    live, pristine = folder / "live", folder / "pristine"
    if not pristine.exists():
        (live / "mlflow").mkdir(parents=True, exist_ok=True)
        World(live).build()
        shutil.copytree(live, pristine)
    _restore(pristine, live)
    world = World(live)
    for day in SCORED:
        world.score(day)  # found in the store: what the events of these windows tell
    world.opened()
    return world


def rounds(folder: Path, seeds: Iterable[int], *, share: float = 0.05) -> list[dict[str, Any]]:
    """Play a round for each seed, each from the same world."""
    found = []
    for seed in seeds:
        world = restored(folder)
        started, files = time.perf_counter(), len(world.files())
        lost = world.lose(share, seed)
        outcome = play(world, seed)
        took = time.perf_counter() - started
        found.append({"seed": seed, "files": files, "lost": len(lost), "seconds": took, **outcome})
    return found


def _restore(pristine: Path, live: Path) -> None:
    for name in ("store", "mlflow/mlartifacts"):
        shutil.rmtree(live / name)
        shutil.copytree(pristine / name, live / name)
    # In place: MLflow holds the database open.
    with (
        closing(sqlite3.connect(pristine / "mlflow" / "mlflow.db")) as source,
        closing(sqlite3.connect(live / "mlflow" / "mlflow.db")) as target,
    ):
        source.backup(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="each makes a world of its own")
    parser.add_argument("--out", type=Path, help="file for the figures, as JSON")
    args = parser.parse_args()
    shares = [range(first, args.rounds, args.processes) for first in range(args.processes)]
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as processes:
        found = [one for part in processes.map(_quietly, shares) for one in part]
    refused = Counter(f"{name}: {words[:160]}" for one in found for name, words in one["refused"].items())
    figures = {
        "rounds": len(found),
        "share of all objects deleted": 0.05,
        "objects": found[0]["files"],
        "objects deleted": sum(one["lost"] for one in found),
        "runs afterwards": sum(len(one["worked"]) + len(one["refused"]) for one in found),
        "that worked": sum(len(one["worked"]) for one in found),
        "that said what to do": sum(refused.values()),
        "that went wrong": [words for one in found for words in one["wrong"]],
        "what was said": dict(refused.most_common()),
    }
    text = json.dumps(figures, indent=2) + "\n"
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    sys.exit(1 if figures["that went wrong"] else 0)


def _quietly(seeds: range) -> list[dict[str, Any]]:
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as folder:
        found = rounds(Path(folder), seeds)
        # Where a world lay is by chance: the same is said in each.
        return [
            one | {"told": {name: words.replace(folder, "") for name, words in one["refused"].items()}} for one in found
        ]


if __name__ == "__main__":
    main()
