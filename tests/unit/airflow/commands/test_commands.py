"""The commands besides `airflow mlops init`, on what was trained from its drafts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from data_files import write_data

from airflow_mlops_provider.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_two_versions_are_told_compared_promoted_and_rolled_back(
    run: Callable[..., Any], train: Callable[..., Any], mlflow: str, pipelines: Path, tmp_path: Path
) -> None:
    data, target = write_data("iris", tmp_path)
    assert run("init", str(data), "--target", target)[0] == 0
    file = pipelines / "iris.yaml"
    train(file)
    file.write_text(
        file.read_text().replace("max_iter: 1000", "max_iter: 30\n        C: 0.01").replace(": 100\n", ": 60\n")
    )
    assert train(file)["promote"].state == "skipped", "not better than the champion"

    code, out, _ = run("diff", "iris", "1", "2", "-o", "json")
    found = json.loads(out)
    assert (code, found["same_dataset"], found["same_model"]) == (0, True, False)
    assert (found["first"]["status"], found["second"]["status"]) == ("champion", "published")
    assert found["params"], "what differs is told"
    assert all(one["first"]["low"] <= one["first"]["value"] <= one["first"]["high"] for one in found["metrics"][:1])
    assert {gate["name"]: gate["passed"] for gate in found["second"]["gates"]}["champion"] is False
    assert "log_loss" in run("diff", "iris", "1", "2", "-o", "plain")[1]

    code, out, _ = run("promote", "iris", "2", "--reason", "to see")
    assert (code, "not better than champion v1" in " ".join(out.split())) == (1, True), out
    code, out, _ = run("promote", "iris", "2", "--reason", "to see", "--despite-gates", "-o", "json")
    [done] = json.loads(out)
    assert (code, done["outcome"]) == (0, "promoted")
    assert "was not sent" in done["why"], "there is no Airflow database here"
    registry = Registry.connect(mlflow)
    head = registry.head("iris")
    assert head is not None
    assert (head.version, head.approver is not None) == (2, True)
    assert head.reason.startswith("to see (despite not better than champion v1")

    code, out, err = run("rollback", "iris", "--reason", "seen")
    assert (code, out, err.count("\n")) == (3, "", 1), "there is no Airflow database to start its DAG in"
    code, out, _ = run("rollback", "iris", "--direct", "--reason", "seen", "-o", "json")
    [done] = json.loads(out)
    assert (code, done["outcome"], done["to version"]) == (0, "rolled back", 1)
    found = {(one["subject"], one["check"]): one for one in json.loads(run("doctor", "-o", "json")[1])}
    assert found["iris", "champions"]["detail"] == "version 1 can be loaded"
    code, out, err = run("rollback", "iris", "--reason", "again")
    assert (code, err.count("\n")) == (1, 1)
    assert "no champion is left before version 1" in err
    assert "is in quarantine" in run("promote", "iris", "2", "--reason", "again", "--despite-gates")[1]

    code, out, _ = run("history", "iris", "-o", "json")
    entries = json.loads(out)
    assert [(one["version"], one["action"], one["in_quarantine"]) for one in entries] == [
        (1, "promote", False), (2, "promote", True), (1, "rollback", False),
    ]  # fmt: skip
    moment = entries[1]["promoted_at"]
    assert [one["version"] for one in json.loads(run("history", "iris", "--served-at", moment, "-o", "json")[1])] == [2]
    assert json.loads(run("history", "iris", "--served-at", "2020-01-01", "-o", "json")[1]) == []

    assert run("quarantine", "iris", "2", "--reason", "again")[0] == 0
    [done] = json.loads(run("quarantine", "iris", "2", "--lift", "--reason", "seen to be good", "-o", "json")[1])
    assert done["outcome"] == "lifted"
    [done] = json.loads(run("quarantine", "iris", "2", "--reason", "leaks", "-o", "json")[1])
    assert done["outcome"] == "quarantined"
    code, _, err = run("quarantine", "iris", "1", "--reason", "leaks")
    assert (code, "no champion is left before version 1" in err) == (1, True), "the champion is rolled back instead"

    assert "version 1" in run("status")[1]
    from mlflow import MlflowClient

    MlflowClient(mlflow).set_registered_model_alias("iris", "champion", "2")
    [shown] = yaml.safe_load(run("status", "iris", "-o", "yaml")[1])
    assert (shown["alias"], shown["alias_agrees"]) == (2, False)
    assert run("reconcile", "--dry-run")[0] == 1
    assert run("reconcile")[0] == 0
    assert registry.alias("iris", "champion") == 1
    assert run("reconcile", "--dry-run", "-o", "plain")[0] == 0


def test_check_says_everything_that_would_fail_a_run(
    run: Callable[..., Any], mlflow: str, pipelines: Path, tmp_path: Path, worker: Any
) -> None:
    data, target = write_data("iris", tmp_path)
    assert run("init", str(data), "--target", target, "--name", "good")[0] == 0
    text = (pipelines / "good.yaml").read_text()
    code, out, _ = run("check")
    assert code == 0, out
    for name, old, new in (
        ("settings", "seed: 42", "sead: 42"),
        ("estimator", "sklearn.linear_model.LogisticRegression", "os.system.LogisticRegression"),
        ("params", "max_iter", "max_itr"),
        ("expectation", "expect_column_values_to_be_in_set", "expect_column_values_to_be_nice"),
        ("source", str(data), str(tmp_path / "gone.csv")),
        ("column", "petal width (cm)", "petal depth (cm)"),
    ):
        (pipelines / f"{name}.yaml").write_text(text.replace(old, new).replace("name: good", f"name: {name}"))
    few = tmp_path / "few.csv"
    few.write_text("".join(data.read_text().splitlines(keepends=True)[:3]))
    (pipelines / "few.yaml").write_text(text.replace(str(data), str(few)).replace("name: good", "name: few"))
    code, out, _ = run("check", "--offline", "-o", "json")
    [warned] = [one for one in json.loads(out) if one["outcome"] == "warning" and one["check"] == "rows"]
    assert (warned["subject"], warned["detail"][:46]) == ("few", "a training would fail now: 2 rows are known, b")
    wrong = {one["subject"]: one for one in json.loads(out) if one["outcome"] == "wrong"}
    assert code == 1
    assert {name: one["check"] for name, one in wrong.items()} == {
        "settings": "settings",
        "estimator": "candidate logistic",
        "params": "candidate logistic",
        "expectation": "expectations",
        "source": "data",
        "column": "data",
    }
    assert "did you mean 'seed'" in wrong["settings"]["detail"]
    code, out, err = run("status", "-o", "json")
    assert code == 0
    assert "good" in {one["pipeline"] for one in json.loads(out)}, "a wrong file does not take the others down"
    [line] = err.splitlines()
    assert line.startswith("Left out: ")
    assert "settings.yaml" in line
    assert run("check", "good", "nope")[0] == 1
    assert run("check", "--folder", str(tmp_path / "empty"))[0] == 1


def test_a_service_that_is_away_has_an_exit_code_of_its_own(
    run: Callable[..., Any], connection: Callable[..., None], pipelines: Path, tmp_path: Path, worker: Any
) -> None:
    connection("mlflow_default", conn_type="mlflow", host="http://127.0.0.1:9", extra={"timeout": 2})
    data, target = write_data("iris", tmp_path)
    assert run("init", str(data), "--target", target)[0] == 0
    code, out, _ = run("check", "-o", "json")
    [away] = [one for one in json.loads(out) if one["outcome"] != "ok"]
    assert (code, away["subject"], away["outcome"]) == (3, "mlflow_default", "unreachable")
    code, out, err = run("status")
    assert (code, out, len(err.splitlines())) == (3, "", 1)


def test_doctor_writes_and_reads_back_and_advises(
    run: Callable[..., Any], mlflow: str, pipelines: Path, worker: Any
) -> None:
    code, out, _ = run("doctor", "-o", "json")
    found = {(one["subject"], one["check"]): one for one in json.loads(out)}
    assert found["artifact store", "round trip"]["outcome"] == "ok"
    assert found["mlflow_default", "MLflow round trip"]["outcome"] == "ok"
    assert found["mlflow", "version"]["outcome"] == "ok"
    assert "airflow mlops init" in found["pipeline files", "settings"]["detail"]
    assert "There is no pipeline file in" in run("status")[2]
    assert code in (0, 3), "the clock is Airflow's database's, which is not there"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["history", "nope"], 1, "there is no pipeline 'nope'"),
        (["status", "nope"], 1, "there is no pipeline 'nope'"),
        (["reconcile", "nope"], 1, "there is no pipeline 'nope'"),
        (["doctor", "nope"], 1, "there is no pipeline 'nope'"),
        (["history", "nope", "--served-at", "yesterday"], 1, "--served-at is not a date and time"),
        (["diff", "nope", "1", "x"], 1, "V2 is not a version"),
        (["promote", "nope", "x", "--reason", "r"], 1, "VERSION is not a version"),
        (["quarantine", "nope", "x", "--reason", "r"], 1, "VERSION is not a version"),
        (["quarantine", "nope", "1"], 2, "required: --reason"),
        (["rollback", "nope", "--to", "x", "--reason", "r"], 1, "the rollback target is invalid"),
        (["rollback", "nope"], 2, "required: --reason"),
        (["init", "nothing.csv"], 2, "required: --target"),
        (["diff", "nope", "1"], 2, "required: V2"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], code: int, message: str, run: Callable[..., Any], pipelines: Path
) -> None:
    left, out, err = run(*arguments)
    assert left == code
    # What argparse refuses comes with the usage, on standard output.
    [line] = err.strip().splitlines()
    assert message in line
    assert code == 2 or not out
