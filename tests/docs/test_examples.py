from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

import write_docs
from airflow_mlops_provider.pipelines import load_pipeline, parse_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Block

    Parse = Callable[..., dict[str, list[str]]]

TASKS = ["champion", "evaluate", "gate", "ingest", "prepare", "promote", "publish", "refit", "train", "validate"]


def named(blocks: list[Block], document: str, name: str) -> str:
    [body] = [block.body for block in blocks if (block.document, block.name) == (document, name)]
    return body


def test_the_dag_written_by_hand_is_a_dag(blocks: list[Block], parse_dags: Parse) -> None:
    source = named(blocks, "docs/operators.md", "tumours.py")
    assert parse_dags("tumours.py", source) == {"tumours_by_hand": sorted([*TASKS, "write_csv"])}
    for name, operator in write_docs.operators().items():
        trains = operator.__module__.rsplit(".", 1)[-1] in ("data", "training", "publishing", "promotion")
        assert not trains or name in source, f"{name} is not shown"


def test_the_examples_of_the_operators_make_one_dag(parse_dags: Parse) -> None:
    operators = write_docs.operators()
    imports = [f"from {operator.__module__} import {name}" for name, operator in operators.items()]
    body = "\n".join(write_docs.code_of(operator) for operator in operators.values())
    source = "\n".join(["from airflow.sdk import DAG", *imports, 'with DAG("churn"):', textwrap.indent(body, "    ")])
    scoring = ["new_rows", "score", "score_shard", "score_joined"]
    watching = ["watch", "retrain", "mend", "drift", "estimate", "labelled", "live", "decide", "notify"]
    searching = ["search", "train_boosting"]
    training = [*TASKS, "approve", "mirror", *searching]
    assert parse_dags("churn.py", source) == {"churn": sorted([*training, *scoring, "roll_back", *watching])}


@pytest.mark.parametrize(("document", "file"), [("README.md", "churn.yaml"), ("docs/quickstart.md", "tumours.yaml")])
def test_a_pipeline_and_three_lines_are_its_dags(
    document: str, file: str, blocks: list[Block], parse_dags: Parse, tmp_path: Path
) -> None:
    pipelines = tmp_path / "pipelines"
    pipelines.mkdir()
    (pipelines / file).write_text(named(blocks, document, file), encoding="utf-8")
    dags = parse_dags("pipelines.py", named(blocks, document, "pipelines.py"), pipelines)
    assert dags == {f"{Path(file).stem}_training": TASKS, f"{Path(file).stem}_rollback": ["roll_back"]}


def test_the_rollback_by_an_alarm_is_a_dag(blocks: list[Block], parse_dags: Parse) -> None:
    source = named(blocks, "docs/rollback.md", "churn_alarm.py")
    assert parse_dags("churn_alarm.py", source) == {"churn_alarm": ["roll_back"]}


def test_the_shipped_dag_files_are_those_of_the_documentation(blocks: list[Block]) -> None:
    for name in ("pipelines.py", "check_pipelines.py"):
        shipped = (write_docs.ROOT / "dags" / name).read_text(encoding="utf-8")
        assert shipped.endswith(named(blocks, "docs/quickstart.md", name))


def test_every_pipeline_in_the_documentation_is_valid(blocks: list[Block]) -> None:
    whole: dict[str, dict[str, object]] = {}
    parts = []
    for block in blocks:
        if block.language == "yaml":
            value = yaml.safe_load(block.body)
            where = f"a block of {block.document}"
            if "name" in value:
                whole[where] = value
                parse_pipeline(value, where=where)
            else:
                parts.append((where, value))
    [least] = [value for where, value in whole.items() if "pipeline-file" in where]
    for where, part in parts:
        parse_pipeline({**least, **part}, where=where)
    assert len(whole) >= 3
    assert len(parts) >= 2


def test_every_notification_in_the_documentation_is_one_that_airflow_can_send(blocks: list[Block]) -> None:
    from airflow_mlops_provider.dag_templates.notify import check_event_notifiers, notifiers

    found = [yaml.safe_load(block.body) for block in blocks if block.language == "yaml"]
    [least] = [value for value in found if value.get("name") == "churn" and "gates" not in value]
    shown = [value for value in found if set(value) == {"notifications"}]
    assert len(shown) == 4
    for notifications in shown:
        pipeline = parse_pipeline({**least, **notifications}, where="the reference")
        assert {type(each.notifier).__name__ for each in notifiers(pipeline)} <= {"SmtpNotifier"}
        check_event_notifiers(pipeline)


def test_the_error_of_a_wrong_file_is_what_the_documentation_shows(blocks: list[Block], tmp_path: Path) -> None:
    from airflow_mlops_provider.exceptions import SpecError

    file = tmp_path / "churn.yaml"
    file.write_text(
        textwrap.dedent(
            """\
            name: churn
            task: binary
            data:
              source: {uri: customers.csv}
              columns: {target: left, numeric: [age]}
            preparation: {splitt: {by: random}}
            training:
              candidates:
                logistic: {estimator: sklearn.linear_model.LogisticRegression, parms: {max_iter: 300}}
            gates:
              - {kind: absolute, metric: roc_auc, minimum: 0.7}
            """
        ),
        encoding="utf-8",
    )
    with pytest.raises(SpecError) as caught:
        load_pipeline(file)
    message = str(caught.value).replace(str(tmp_path), "/opt/airflow/config/pipelines")
    assert any(block.body.strip() == message.strip() for block in blocks if block.document == "docs/errors.md"), message


def test_the_reader_in_the_reference_is_read_once_while_its_file_stays(
    blocks: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import UTC, datetime

    import pandas as pd

    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.job import StepRequest
    from airflow_mlops_provider.runner import run_step
    from airflow_mlops_provider.storage import ArtifactStore

    file = tmp_path / "north.parquet"
    pd.DataFrame({"age": [30, 40], "left": [0, 1]}).to_parquet(file)
    source = named(blocks, "docs/pipeline-file.md", "customers.py").replace("/data/", f"{tmp_path}/")
    (tmp_path / "customers.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    [data] = [
        part["data"]
        for part in (yaml.safe_load(block.body) for block in blocks if block.language == "yaml")
        if part.get("data", {}).get("source", {}).get("reader") == "customers.read_customers"
    ]
    request = StepRequest(
        step="ingest",
        pipeline="churn",
        as_of=datetime(2026, 1, 1, tzinfo=UTC),
        section={"task": "binary", "data": data},
        allow_list=AllowList(plugins_folder=str(tmp_path)),
    )
    store = ArtifactStore(str(tmp_path / "artifacts"))
    first = run_step(request, store)
    assert (first.facts["rows"], first.cached) == (2, False)
    assert run_step(request, store).cached
    pd.DataFrame({"age": [30, 40, 50], "left": [0, 1, 0]}).to_parquet(file)
    assert run_step(request, store).facts["rows"] == 3
    del sys.modules["customers"]


def test_every_python_example_compiles(blocks: list[Block]) -> None:
    for block in blocks:
        if block.language == "python":
            compile(block.body, block.document, "exec")
