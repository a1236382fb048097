"""`airflow mlops init` on data that it has never seen: what it writes trains to a champion without an edit.

Then the other commands, on what was trained.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from airflow_mlops_provider.dag_templates import training_dag
from airflow_mlops_provider.drafting import draft_pipeline
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_mlops_provider.drafting import Draft

TASKS = ["ingest", "validate", "prepare", "champion", "train", "evaluate", "gate", "publish", "promote"]


def write_data(name: str, folder: Path) -> tuple[Path, str]:
    """Write a data set as a CSV file; return it and its target."""
    file = folder / f"{name}.csv"
    if name == "flights":
        import pyarrow.compute as pc
        from pyarrow import csv

        from flights import read_flights

        rows = read_flights(datetime(2013, 2, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC))
        csv.write_csv(rows.take(pc.sort_indices(rows, [("scheduled_departure", "ascending")])), file)
        return file, "late"
    from sklearn import datasets

    getattr(datasets, f"load_{name}")(as_frame=True).frame.rename(columns={"target": "y"}).to_csv(file, index=False)
    return file, "y"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command as `airflow` does, in this process; return its exit code, and what it printed and complained."""

    def run(*arguments: str) -> tuple[int, str, str]:
        from airflow.cli.cli_parser import get_parser

        capsys.readouterr()
        code = 0
        try:
            args = get_parser().parse_args(["mlops", *arguments])
            args.func(args)
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def mlflow(mlflow_uri: str, connection: Callable[..., None]) -> str:
    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri)
    return mlflow_uri


@pytest.fixture
def train(worker: Any, mlflow: str) -> Callable[..., dict[str, Any]]:
    """Run every task of a pipeline's training DAG; return how each ended."""

    def run(file: Path) -> dict[str, Any]:
        pipeline = load_pipeline(file)
        dag = training_dag(pipeline)
        ended = {}
        for task in TASKS:
            for index in range(len(pipeline.training.candidates)) if task == "train" else (-1,):
                ended[task] = worker.run(dag.task_dict[task], map_index=index)
                assert ended[task].state in ("success", "skipped"), (task, ended[task].message)
        return ended

    return run


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes", "flights"])
def test_a_draft_trains_to_a_champion_without_an_edit(
    name: str, run: Callable[..., Any], train: Callable[..., Any], mlflow: str, pipelines: Path, tmp_path: Path
) -> None:
    data, target = write_data(name, tmp_path)
    code, out, err = run("init", str(data), "--target", target)
    assert (code, err) == (0, ""), err
    assert f"Written: {pipelines / f'{name}.yaml'}" in out
    code, out, _ = run("check", name, "--offline")
    assert code == 0, out
    ended = train(pipelines / f"{name}.yaml")
    assert ended["promote"].state == "success", ended["promote"].message
    head = Registry.connect(mlflow).head(name)
    assert head is not None
    assert head.version == 1
    assert head.gates is not None
    assert [gate[1] for gate in head.gates] == [True] * 5


# ------------------------------------------------------------------------------------------------ what a draft decides


def drafted(folder: Path, rows: dict[str, list[Any]], **asked: Any) -> Draft:
    import pandas as pd

    file = folder / "some data.jsonl"
    pd.DataFrame(rows).to_json(file, orient="records", lines=True)
    return draft_pipeline(file, **{"target": "y", **asked})


def world(rows: int = 300) -> dict[str, list[Any]]:
    """Columns of every kind, by which a row can be told, and what of them may not be used."""
    from random import Random

    chance = Random(1)
    good = [chance.random() < 0.4 for _ in range(rows)]
    return {
        "customer_id": [f"c{number}" for number in range(rows)],
        "seen": [f"2026-01-{1 + number * 28 // rows:02}T{number % 24:02}:00:00Z" for number in range(rows)],
        "size": [chance.gauss(2.0 * one, 1) for one in good],
        "colour": [chance.choice(["red", "green"]) for _ in range(rows)],
        "note": [f"call {number}" for number in range(rows)],
        "constant": [7] * rows,
        "sparse": [chance.random() if number % 3 else None for number in range(rows)],
        "outcome": [1 if one else 0 for one in good],
        "</script><script>\nalert: {{ x }}": [chance.choice("ab") for _ in range(rows)],
        "y": ["good" if one else "bad" for one in good],
    }


def test_each_column_gets_its_role_or_a_reason(tmp_path: Path) -> None:
    rows = world()
    odd = rows.pop("</script><script>\nalert: {{ x }}")
    draft = drafted(tmp_path, {**rows, "odd # name: [1\n2]": odd})
    columns = draft.pipeline.data.columns
    assert draft.pipeline.name == "some_data"
    assert draft.pipeline.task == "binary"
    assert (columns.timestamp, columns.keys) == ("seen", ["customer_id"])
    assert (columns.numeric, columns.categorical) == (["size"], ["colour", "odd # name: [1\n2]"])
    assert {name: why.split(":")[0] for name, why in draft.roles.left_out.items()} == {
        "note": "300 different texts in 300 rows say nothing of the next row",
        "constant": "the same in every row",
        "sparse": "missing in 33% of the rows",
        "outcome": "tells the target alone (1.0000)",
    }
    assert "#   outcome: tells the target alone" in draft.text.replace("    #     ", "    #   ")
    assert draft.pipeline.preparation.split.by == "time"
    [classes] = [one for one in draft.pipeline.validation.expectations if one.kwargs["column"] == "y"]
    assert classes.kwargs["value_set"] == ["bad", "good"]
    assert yaml.safe_load(draft.text)["validation"]["required"] == columns.features


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("31.12.2025", "1.1.2026", "dates such as 31.12.2025, which are read as text"),
        ("12/31/2025 11:59 PM", "1/1/2026 12:00 AM", "dates such as 12/31/2025 11:59 PM, which"),
        ("31-Dec-2025", "1-Mär-2026", "dates such as 31-Dec-2025, which"),
        ("1.204,50", "7", "numbers such as 1.204,50, which are read as text"),
        ("31.12.2025", "soon", None),
        ("red, green", "7", None),
        ("10.0.0.1", "1-2", None),
    ],
)
def test_dates_and_numbers_of_a_local_form_are_no_categories(
    first: str, second: str, why: str | None, tmp_path: Path
) -> None:
    rows = {name: values for name, values in world().items() if name.isalnum()}
    draft = drafted(tmp_path, {**rows, "local": [second if n % 3 else first for n in range(300)]})
    if why is None:
        assert "local" in draft.pipeline.data.columns.categorical
    else:
        assert draft.roles.left_out["local"].startswith(why)


def test_a_split_that_the_data_does_not_allow_gives_way_to_another(tmp_path: Path) -> None:
    rows = {
        "seen": [f"2026-01-01T{n // 60:02}:{n % 60:02}:00" for n in range(300)],
        "size": [n % 17 for n in range(300)],
    }
    draft = drafted(tmp_path, {**rows, "y": [int(n < 150 and n % 2) for n in range(300)]})
    assert draft.pipeline.data.timezone == "UTC", "the timestamps name no zone"
    assert draft.pipeline.preparation.split.by == "cross_validation", "the last fifth holds one class alone"


@pytest.mark.parametrize(
    ("changes", "asked", "message"),
    [
        ({}, {"target": "why"}, "--target names no column of the file.*Did you mean 'y'|--target names no column"),
        ({}, {"timestamp": "size"}, "not a moment in every row"),
        ({}, {"keys": ["costumer_id"]}, "Did you mean 'customer_id'"),
        ({}, {"name": "My Pipeline"}, "--name is no pipeline's name"),
        ({"seen2": ["2026-01-01T00:00:00Z"] * 300}, {}, "several columns are moments: got seen, seen2"),
        ({"y": [None, *["a", "b"] * 149, "a"]}, {}, "target 'y' is missing in 1 of 300 rows"),
        ({"y": ["a"] * 300}, {}, "the same in every row"),
        ({"y": ["b"] * 5 + ["a"] * 295}, {}, "class 'b' of target 'y' has 5 rows"),
        ({"y": [f"t{n}" for n in range(300)]}, {}, "has 300 different texts"),
        ({"seen": ["31.12.2025"] * 300}, {"timestamp": "seen"}, "got seen, of type string, such as 31.12.2025"),
    ],
)
def test_what_cannot_be_drafted_is_one_line(
    changes: dict[str, list[Any]], asked: dict[str, Any], message: str, tmp_path: Path
) -> None:
    rows = {name: values for name, values in world().items() if name.isalnum() or "_" in name}
    with pytest.raises(MLOpsError, match=message) as raised:
        drafted(tmp_path, {**rows, **changes}, **asked)
    assert len(str(raised.value).splitlines()) == 1


def test_a_pipeline_file_that_is_there_stays(run: Callable[..., Any], pipelines: Path, tmp_path: Path) -> None:
    data, _ = write_data("iris", tmp_path)
    (pipelines / "iris.yaml").write_text("mine\n")
    code, _, err = run("init", str(data), "--target", "y")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "is there already" in err
    assert (pipelines / "iris.yaml").read_text() == "mine\n"
    assert run("init", str(data), "--target", "y", "--force")[0] == 0
    assert run("init", str(tmp_path / "nothing.csv"), "--target", "y")[0] == 1
    data.write_text(data.read_text().replace(".", ",").replace(",", ";"))
    code, _, err = run("init", str(data), "--target", "y", "--force")
    assert (code, "separates its fields by a semicolon" in err) == (1, True)


# ------------------------------------------------------------------------------------------------ the other commands


def test_two_versions_are_told_compared_promoted_and_rolled_back(
    run: Callable[..., Any], train: Callable[..., Any], mlflow: str, pipelines: Path, tmp_path: Path
) -> None:
    data, target = write_data("iris", tmp_path)
    assert run("init", str(data), "--target", target)[0] == 0
    file = pipelines / "iris.yaml"
    train(file)
    file.write_text(
        file.read_text().replace("max_iter: 1000", "max_iter: 30\n        C: 0.01").replace(": 100\n", ": 5\n")
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
    assert "is not sent" in done["why"], "there is no Airflow database here"
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
    code, out, err = run("rollback", "iris", "--reason", "again")
    assert (code, err.count("\n")) == (1, 1)
    assert "no champion is left before version 1" in err
    assert "is in quarantine" in run("promote", "iris", "2", "--reason", "again", "--despite-gates")[1]

    code, out, _ = run("history", "iris", "-o", "json")
    entries = json.loads(out)
    assert [(one["version"], one["action"], one["in_quarantine"]) for one in entries] == [
        (1, "promote", False), (2, "promote", True), (1, "rollback", False),
    ]  # fmt: skip
    moment = entries[1]["since"]
    assert [one["version"] for one in json.loads(run("history", "iris", "--served-at", moment, "-o", "json")[1])] == [2]
    assert json.loads(run("history", "iris", "--served-at", "2020-01-01", "-o", "json")[1]) == []

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
    assert (warned["subject"], warned["detail"][:46]) == ("few", "a training would stop now: 2 rows are known, v")
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
        (["diff", "nope", "1", "x"], 1, "V2 is no version"),
        (["promote", "nope", "x", "--reason", "r"], 1, "VERSION is no version"),
        (["rollback", "nope", "--to", "x", "--reason", "r"], 1, "what to roll back to is not understood"),
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
