"""The demo's chapters: a champion, the days after it, a retraining by itself, and a rollback by hand."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from demo_screen import durations, follow, heading, note, say, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.monitoring.governor import Decision
    from local_airflow import LocalAirflow

NAME = "flight_delays"
TRAINING, SCORING, MONITORING, ROLLBACK = (
    f"{NAME}_{kind}" for kind in ("training", "scoring", "monitoring", "rollback")
)
DAY = timedelta(days=1)
#: Late in the summer of 2013: the flights of autumn are other flights.
FIRST = datetime(2013, 9, 12, tzinfo=UTC)
#: So many days the governor has time to ask.
PATIENCE = 21
#: Days that are watched with the new champion.
AFTERWARDS = 3
REASON = "A rollback for the demo"


class Story:
    """Tells it, chapter by chapter, on an Airflow that runs."""

    def __init__(self, airflow: LocalAirflow) -> None:
        # Before MLflow is imported here: it is to send nothing home.
        os.environ |= {name: airflow.environment[name] for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")}
        from airflow_mlops_provider.registry import Registry

        self.airflow = airflow
        self.registry = Registry.connect(airflow.mlflow_uri)
        self.today = FIRST
        self.gates: list[list[Any]] = []

    def train(self) -> None:
        """A first champion, which scores at once."""
        heading("1. A first champion")
        date = f"{FIRST:%Y-%m-%d}"
        self.airflow.wait_for_dag(TRAINING)
        print(f"$ airflow dags trigger {TRAINING} --logical-date {date}", flush=True)
        self.airflow.cli("dags", "trigger", TRAINING, "--logical-date", date, "--run-id", "demo")
        follow(self.airflow, TRAINING, "demo")
        self.tell_champion("demo")
        self.scored_again(1)
        self.decided(FIRST)

    def watch(self) -> None:
        """Day after day, until the governor lets a request pass."""
        heading("2. Day after day: score, watch, decide")
        say(
            f"Each day {SCORING} scores the week before it, and that starts {MONITORING}: drift from what the champion "
            "was trained on, and roc_auc on the flights whose delays are known by now. The governor lets a request to "
            "retrain pass after three bad windows in a row."
        )
        print()
        for _ in range(PATIENCE):
            decision = self.next_day()
            if decision.requests_retraining:
                return
        raise RuntimeError(f"no retraining was asked for in {PATIENCE} days")

    def retrain(self) -> None:
        """The training that was asked for, and what its champion makes of the newest week."""
        heading("3. It retrains by itself")
        say(f"The request is the asset event {NAME}.retrain, which starts {TRAINING}. Nobody triggers it.")
        run_id = self.triggered(TRAINING, 1)
        follow(self.airflow, TRAINING, run_id)
        self.tell_champion(run_id)
        head = self.registry.history(NAME)[-1]
        note("  Its entry in the ledger: ", head.reason)
        self.scored_again(2)

    def look_again(self) -> None:
        """Some days more, with the new champion."""
        heading("4. Is it any better?")
        say("The new champion is on probation: on the same flights as the former one, it must not be worse.")
        print()
        for _ in range(AFTERWARDS):
            self.next_day()

    def roll_back(self) -> None:
        """A person has doubts."""
        heading("5. A rollback by hand")
        conf = f'{{"to": "previous", "reason": "{REASON}"}}'
        print(f"$ airflow dags trigger {ROLLBACK} --conf '{conf}'", flush=True)
        self.airflow.cli("dags", "trigger", ROLLBACK, "--conf", conf, "--run-id", "demo")
        follow(self.airflow, ROLLBACK, "demo")
        note("  ", str(self.facts(ROLLBACK, "demo", "roll_back")["reason"]))
        self.scored_again(3)

    def sum_up(self) -> None:
        """What there is now, and what it took."""
        heading("The gates of the last training")
        table(
            [
                ("gate", "passed", "got", "expected"),
                *((row[0], "yes" if row[1] else "NO", *row[2:]) for row in self.gates),
            ]
        )
        heading("The ledger: who was champion, and why")
        for entry in self.registry.history(NAME):
            note(f"  {entry.seq}  {entry.action:<8}  version {entry.version}  ", entry.reason)
        heading("How long each task took")
        table(durations(self.airflow, (TRAINING, SCORING, MONITORING, ROLLBACK)))

    # ------------------------------------------------------------ one day

    def next_day(self) -> Decision:
        """Score a day, and print what monitoring decides of it."""
        self.today += DAY
        run_id = f"{self.today:%Y-%m-%d}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": {"as_of": self.today.isoformat()}}
        self.airflow.post(f"/api/v2/dags/{SCORING}/dagRuns", body)
        if self.airflow.wait_for_run(SCORING, run_id) != "success":
            raise RuntimeError(f"{self.today:%Y-%m-%d} was not scored; logs are in {self.airflow.home}/logs")
        decision = self.decided(self.today)
        print_decision(decision)
        return decision

    def decided(self, day: datetime) -> Decision:
        """Wait until a window is decided."""
        from airflow_mlops_provider.effects.decisions import decisions

        def found() -> Decision | None:
            return next((one for one in decisions(self.registry, NAME) if one.as_of == day), None)

        decision: Decision = self.until(found, f"a decision about {day:%Y-%m-%d}")
        return decision

    # ------------------------------------------------------------ runs

    def scored_again(self, number: int) -> None:
        """Follow the scoring that a change of champion starts."""
        print(f"\nA new champion starts {SCORING}:", flush=True)
        run_id = self.triggered(SCORING, number)
        follow(self.airflow, SCORING, run_id)
        scored = self.facts(SCORING, run_id, "score")
        print(f"  {scored['rows']} flights of the last week scored with version {scored['version']}", flush=True)

    def triggered(self, dag_id: str, number: int) -> str:
        """Return the id of the run that so many asset events have started."""
        path = f"/api/v2/dags/{dag_id}/dagRuns?run_type=asset_triggered&order_by=id"

        def found() -> str | None:
            runs = self.airflow.every(path, "dag_runs")
            return str(runs[number - 1]["dag_run_id"]) if len(runs) >= number else None

        run_id: str = self.until(found, f"a run of {dag_id}")
        return run_id

    def until(self, found: Callable[[], Any], what: str, seconds: float = 90) -> Any:
        """Wait until something is there, and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := found():
                return value
            time.sleep(0.3)
        raise RuntimeError(f"there was not {what} within {seconds:.0f} s; logs are in {self.airflow.home}/logs")

    def facts(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """Return what a task found."""
        facts: dict[str, Any] = self.airflow.xcom(dag_id, quote(run_id), task_id)["facts"]
        return facts

    # ------------------------------------------------------------ what came of them

    def tell_champion(self, run_id: str) -> None:
        """Print the champion of a training run."""
        self.gates = self.facts(TRAINING, run_id, "gate")["verdicts"]
        evaluated = self.facts(TRAINING, run_id, "evaluate")
        promoted = self.facts(TRAINING, run_id, "promote")
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in evaluated["metrics"].items())
        print(f"\nChampion: {evaluated['winner']}; {promoted['reason']}")
        print(f"  {len(self.gates)} gates passed; on the holdout {metrics}", flush=True)


def print_decision(decision: Decision) -> None:
    """Print what was decided of a window, and why; of a quiet one the gist."""
    quiet = decision.action == "keep"
    words = [reason.split("; they hold")[0] if quiet else reason for reason in decision.reasons]
    if decision.suppressed:
        words.append(f"Not yet: {decision.why}.")
    lead = f"  {decision.as_of:%Y-%m-%d}  {decision.action:<7}  "
    for line in words:
        note(lead, line)
        lead = " " * len(lead)
