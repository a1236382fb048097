"""Pipelines for the tests, over a small CSV file that the tests may damage and repair."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml
from shown import write_shown
from small_pipeline import small_pipeline
from watched import AT_ONCE, write_watched

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2024, 1, 1, tzinfo=UTC)


def write_csv(file: Path, *, rows: int = 1200, seed: int = 1, amount: bool = False) -> None:
    """Write hourly rows from 2024 on, whose target follows their features with some noise.

    :param amount: with a column of money that no model sees.
    """
    source = random.Random(seed)
    lines = ["id,at,warmth,colour,good" + ",amount" * amount]
    for number in range(rows):
        warmth, colour = source.gauss(0, 1), source.choice(["red", "green", "blue"])
        good = int(warmth + (colour == "red") + source.gauss(0, 0.7) > 0.4)
        at = START + timedelta(hours=number)
        lines.append(f"{number},{at.isoformat()},{warmth:.4f},{colour},{good}" + f",{100 + number % 7}" * amount)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def pipeline(name: str, csv: Path, **changes: Any) -> dict[str, Any]:
    """Return a small, fast pipeline over a CSV file."""
    sections = {
        "training": {
            "candidates": {
                "logistic": {"estimator": "sklearn.linear_model.LogisticRegression"},
                "tree": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3}},
            }
        },
        "evaluation": {
            "metrics": ["log_loss", "roc_auc"],
            "min_slice_rows": 20,
            "slices": ["colour"],
            "latency_calls": 10,
        },
        "gates": [{"kind": "absolute", "metric": "roc_auc", "min": 0.6}, {"kind": "latency", "max_p95_ms": 1000}],
    }
    return small_pipeline(name, csv, **sections | changes)


def write_pipelines(folder: Path) -> None:
    """Write every pipeline of the tests, each over a CSV file of its own."""
    lost = pipeline("lost_candidate", folder / "lost_candidate.csv")
    lost["training"]["candidates"]["broken"] = {
        "estimator": "sklearn.linear_model.LogisticRegression",
        "params": {"C": -1.0},
    }
    killed = pipeline(
        "killed",
        folder / "killed.csv",
        scoring={"sinks": [{"kind": "sql", "conn_id": "warehouse", "table": "killed"}]},
        trackers=[
            {"function": "company_gates.trackers.to_files", "params": {"folder": str(folder / "killed_tracked")}}
        ],
        tasks=dict.fromkeys((*TASKS, "search", "mirror", "score"), AT_ONCE),
    )
    killed["training"]["candidates"]["tree"]["search"] = {
        "method": "random",
        "space": {"max_depth": [1, 2, 3, 4, 5], "criterion": ["gini", "entropy"]},
        "trials": 4,
        "shards": 2,
    }
    never = {"kind": "champion", "rule": "better", "margin": 0.5, "refresh": False}
    strict = {"kind": "absolute", "metric": "roc_auc", "min": 0.999}
    own: list[dict[str, Any]] = [
        {"kind": "absolute", "metric": "roc_auc", "min": 0.6},
        {"kind": "latency", "max_p95_ms": 1000},
        {"kind": "custom", "function": "business_gates.worth_it", "params": {"value_per_point": 1200, "least": 5000}},
        {"kind": "custom", "function": "company_gates.nothing_lost"},
        {"kind": "absolute", "name": "few_misses", "metric": "misses_cost", "max": 0.4},
    ]
    pipelines = [
        with_own_code(pipeline("three_days", folder / "three_days.csv", gates=own), folder),
        pipeline("repaired", folder / "repaired.csv"),
        pipeline("never_better", folder / "never_better.csv", gates=[never], tasks={"publish": AT_ONCE}),
        pipeline("too_weak", folder / "too_weak.csv", gates=[strict]),
        pipeline("rolled_back", folder / "rolled_back.csv"),
        pipeline("bad_data", folder / "bad_data.csv"),
        killed,
        pipeline("scored", folder / "scored.csv", scoring={"shadow": True, "shards": 2}),
        pipeline(
            "asked",
            folder / "asked.csv",
            promotion={"approval": "human"},
            tasks={"approve": AT_ONCE},
            notifications={"on_event": [{**_MAIL, "params": {"to": "a@b.c", "smtp_conn_id": "asked_mail"}}]},
        ),
        pipeline(
            "unanswered",
            folder / "unanswered.csv",
            promotion={"approval": "human", "approvers": ["anna"], "response_timeout": "00:00:03"},
            notifications={"on_event": [_MAIL]},
        ),
        pipeline("impatient", folder / "impatient.csv", scoring={}),
        pipeline("scored_early", folder / "scored_early.csv", scoring={"shards": 2}),
        reported(folder / "told.csv"),
        lost,
    ]
    for spec in pipelines:
        write_csv(folder / f"{spec['name']}.csv", amount="amounts" in spec["data"]["columns"])
        (folder / f"{spec['name']}.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    write_watched(folder)
    write_shown(folder)


def with_own_code(spec: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Let code of the user make features, measure and mirror: of the plugins folder, and of a package."""
    for candidate, where in (("logistic", "own_features"), ("tree", "company_gates.squares")):
        made = {"transformer": f"{where}.Squared", "columns": ["warmth"]}
        spec["training"]["candidates"][candidate]["features"] = [made]
    spec["data"]["columns"]["amounts"] = ["amount"]
    profit = {"function": "profit.expected_profit", "params": {"margin": 0.2}, "columns": ["amount"]}
    spec["evaluation"]["metrics"] += [profit, "company_gates.metrics.misses_cost"]
    spec["trackers"] = [
        {"function": "tracking.to_tensorboard", "params": {"folder": str(folder / "tensorboard")}},
        {"function": "company_gates.trackers.to_files", "params": {"folder": str(folder / "tracked")}},
    ]
    return spec


_MAIL: dict[str, Any] = {
    "notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
    "params": {"to": "ml@example.org", "smtp_conn_id": "told_mail"},
}


def reported(csv: Path) -> dict[str, Any]:
    """Return a pipeline that sends mails by the connection `told_mail`, and has a candidate that fails its gate."""
    red = {**_MAIL, "params": {**_MAIL["params"], "subject": "{{ dag_id }} failed", "html_content": "{{ run_id }}"}}
    notify = {"retries": 2, "retry_delay": "00:00:00.1"}
    reported = {"on_event": [_MAIL], "on_failure": [red]}
    spec = pipeline("told", csv, notifications=reported, tasks={"notify": notify})
    spec["training"]["candidates"]["dull"] = {"estimator": "sklearn.dummy.DummyClassifier"}
    return spec


TASKS = ("champion", "ingest", "validate", "prepare", "train", "evaluate", "gate", "refit", "publish", "promote")
