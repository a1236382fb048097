"""What commands and monitoring say of a ledger that others wrote into, or that names a champion of the future."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from made_up import entry, write_log, write_pipeline

from airflow_mlops_provider.effects.decisions import decide_window
from airflow_mlops_provider.effects.watching import champion_pair
from airflow_mlops_provider.monitoring.governor import Window
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.spec import Monitoring

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AT = datetime(2026, 11, 1, tzinfo=UTC)


def write(mlflow: str, *, more: dict[str, str], future: bool = False) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow)
    client.create_registered_model("churn")
    for _ in range(3):
        client.create_model_version("churn", "/nowhere", await_creation_for=None)
    client.set_registered_model_alias("churn", "champion", "2")
    second = {"order_key": datetime(2126, 4, 1, tzinfo=UTC)} if future else {}
    entries = {"seq-1": entry(1, AT).render(), "seq-2": entry(2, AT, **second).render()}
    write_log(mlflow, "ledger", "churn", entries | more)


@pytest.mark.parametrize(
    ("more", "future", "message"),
    [
        (
            {"seq-02": "{}", "seq-9": "{}"},
            False,
            "values that this package did not write are ignored: 'seq-02', 'seq-9'",
        ),
        ({}, True, "version 2 became champion (entry 2) with as_of 2126-04-01, later than the promotion itself"),
    ],
    ids=["stray values", "a champion of the future"],
)
def test_what_a_person_should_look_at_is_said_by_commands_and_monitoring(
    run: Callable[..., Any],
    mlflow: str,
    pipelines: Path,
    worker: Any,
    more: dict[str, str],
    future: bool,
    message: str,
) -> None:
    write_pipeline(pipelines, "churn")
    write(mlflow, more=more, future=future)

    code, out, _ = run("reconcile", "-o", "json")
    [found] = json.loads(out)
    assert (code, found["agrees"]) == (0, True)
    assert message in found["remarks"][0]
    [shown] = json.loads(run("status", "-o", "json")[1])
    assert message in shown["remarks"][0]
    assert "look at" in run("status")[1]
    findings = json.loads(run("doctor", "-o", "json")[1])
    reported = [(one["outcome"], one["detail"]) for one in findings if one["check"] == "ledger"]
    assert [outcome for outcome, _ in reported] == ["ok", "warning"]
    assert message in reported[1][1]

    registry = Registry.connect(mlflow)
    stored = decide_window(
        registry,
        "churn",
        Monitoring(),
        Window(as_of=AT, rows=500),
        pair=champion_pair(registry.history("churn")),
        drift={"drifted": False, "why": "No drift"},
        live=None,
        caller=("dag", "run", "task"),
    )
    assert stored.decision.action == "keep"
    assert message in stored.decision.sentence()


def test_a_damaged_ledger_fails_the_commands_and_moves_nothing(
    run: Callable[..., Any], mlflow: str, pipelines: Path, worker: Any
) -> None:
    write_pipeline(pipelines, "churn")
    write(mlflow, more={"seq-3": "{}"})
    damage = "is damaged: entry 3 cannot be read"

    code, _, err = run("reconcile")
    assert (code, damage in err) == (1, True)
    assert damage in json.loads(run("status", "-o", "json")[1])[0]["trouble"]
    findings = json.loads(run("doctor", "-o", "json")[1])
    assert [one["outcome"] for one in findings if one["check"] == "ledger"] == ["wrong"]
    for command in (["promote", "churn", "3", "--reason", "r"], ["rollback", "churn", "--direct", "--reason", "r"]):
        code, _, err = run(*command)
        assert (code, damage in err) == (1, True), err
    assert Registry.connect(mlflow).alias("churn", "champion") == 2


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_a_backtest_ends_before_the_future(run: Callable[..., Any], pipelines: Path, option: str) -> None:
    write_pipeline(pipelines, "churn")
    arguments = {"--from": "2026-01-01", "--to": "2026-02-01"} | {option: "2126-01-01"}
    code, _, err = run("backtest", "churn", *(part for pair in arguments.items() for part in pair))
    assert code == 1
    assert f"{option} is in the future" in err
