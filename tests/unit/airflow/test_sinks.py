"""Predictions into database tables and functions, as docs/sinks.md has it."""

from __future__ import annotations

import re
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pandas as pd
import pyarrow as pa
import pytest
from training_tasks import run_training

from airflow_mlops_provider.dag_templates import scoring_dag, training_dag
from airflow_mlops_provider.exceptions import DataError, SpecError, TransientServiceError
from airflow_mlops_provider.hooks.sql import ping, replace_rows
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.storage import local_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GUIDE = Path(__file__).parents[3] / "docs" / "sinks.md"
TABLE = {"kind": "sql", "conn_id": "warehouse", "table": "churn"}
DAY = ("as_of", "2013-03-01")


@pytest.fixture
def warehouse(tmp_path: Path, connection: Callable[..., None]) -> Callable[[str], list[tuple[Any, ...]]]:
    """A real SQLite database behind an Airflow connection; call it with a query."""
    file = tmp_path / "warehouse.db"
    connection("warehouse", conn_type="sqlite", host=str(file))

    def query(text: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(file) as database:
            found = database.execute(text).fetchall()
        database.close()
        return found

    return query


def rows(day: str = DAY[1], count: int = 3, **columns: list[Any]) -> pa.Table:
    return pa.table({"id": [f"c{number}" for number in range(count)], "as_of": [day] * count, **columns})


def test_a_partition_is_replaced_and_others_stay(warehouse: Callable[..., Any]) -> None:
    assert replace_rows("warehouse", "churn", ("as_of", "2013-02-28"), [rows("2013-02-28", 2)]) == 2
    for count in (5, 3):
        assert replace_rows("warehouse", "churn", DAY, [rows(count=count)]) == count
    assert warehouse("select as_of, count(*) from churn group by as_of") == [("2013-02-28", 2), ("2013-03-01", 3)]


def test_a_new_table_has_a_type_for_each_kind_of_value(warehouse: Callable[..., Any]) -> None:
    kinds: dict[str, Any] = {
        "n": [1, 2, None], "x": [0.5, None, 2.0], "yes": [True, False, None],
        "at": pa.array([0, 1, None], pa.timestamp("us", tz="UTC")),
        "text": pa.array(["a", "b", None]).dictionary_encode(),
    }  # fmt: skip
    replace_rows("warehouse", "churn", DAY, [rows(**kinds)])
    declared = {name: kind for _, name, kind, *_ in warehouse("pragma table_info(churn)")}
    assert declared == {
        "id": "TEXT", "as_of": "VARCHAR(64)", "n": "BIGINT", "x": "DOUBLE", "yes": "BOOLEAN", "at": "DATETIME",
        "text": "TEXT",
    }  # fmt: skip
    assert warehouse("select n, x, yes, text from churn") == [
        (1, 0.5, 1, "a"),
        (2, None, 0, "b"),
        (None, 2.0, None, None),
    ]


def test_what_fails_in_the_middle_leaves_the_former_rows(warehouse: Callable[..., Any]) -> None:
    replace_rows("warehouse", "churn", DAY, [rows(count=4)])

    def broken() -> Any:
        yield rows(count=2)
        raise ConnectionResetError("the store is gone")

    with pytest.raises(ConnectionResetError):
        replace_rows("warehouse", "churn", DAY, broken())
    assert warehouse("select count(*) from churn") == [(4,)]


def test_a_table_that_lacks_a_column_is_named_and_keeps_what_it_has(warehouse: Callable[..., Any]) -> None:
    replace_rows("warehouse", "churn", DAY, [rows()])
    with pytest.raises(SpecError, match=r"table churn of 'warehouse' lacks a column .*expected also score\. Add them"):
        replace_rows("warehouse", "churn", DAY, [rows(count=1, score=[0.5])])
    assert warehouse("select count(*) from churn") == [(3,)]


def test_a_name_with_odd_signs_is_no_way_into_the_database(warehouse: Callable[..., Any]) -> None:
    odd = 'a"; drop table churn; --'
    replace_rows("warehouse", "churn", DAY, [pa.table({"as_of": [DAY[1]], odd: [1]})])
    assert warehouse("select count(*) from churn") == [(1,)]
    with pytest.raises(SpecError, match="scoring.sinks.0.table: expected what matches"):
        churn_of(Path("/d.csv"), [{**TABLE, "table": "churn; drop table x"}])


def test_a_database_that_refuses_the_rows_is_one_error(warehouse: Callable[..., Any]) -> None:
    warehouse("create table churn (id text, as_of text, check (id <> 'c1'))")
    with pytest.raises(
        DataError, match="writing to table churn on 'warehouse' failed: got .*CHECK constraint"
    ) as caught:
        replace_rows("warehouse", "churn", DAY, [rows()])
    assert "c2" not in f"{caught.value} {caught.value.__cause__}", "no row is shown"
    assert warehouse("select count(*) from churn") == [(0,)]


def test_another_writer_is_waited_for_by_another_try(
    warehouse: Callable[..., Any], tmp_path: Path, connection: Callable[..., None]
) -> None:
    replace_rows("warehouse", "churn", DAY, [rows()])
    connection("busy", conn_type="sqlite", host=str(tmp_path / "warehouse.db"), extra={"timeout": "0.1"})
    other = sqlite3.connect(tmp_path / "warehouse.db", isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(TransientServiceError, match="the database of 'busy' did not answer"):
        replace_rows("busy", "churn", DAY, [rows()])
    other.close()


@pytest.mark.parametrize("kind", ["date", "timestamp", "real"])
def test_a_table_whose_as_of_is_no_text_is_named(warehouse: Callable[..., Any], kind: str) -> None:
    warehouse(f"create table churn (id text, as_of {kind})")
    with pytest.raises(SpecError, match=r"column 'as_of' of table churn of 'warehouse' is not text"):
        replace_rows("warehouse", "churn", DAY, [rows()])


# ---------------------------------------------------------------- in a scoring run


def churn_of(customers: Path, sinks: list[dict[str, Any]]) -> Any:
    columns = {"target": "left", "timestamp": "seen_at", "numeric": ["age", "balance"], "keys": ["customer"]}
    raw = {
        "name": "churn",
        "task": "binary",
        "data": {"source": {"uri": str(customers)}, "columns": columns, "label_delay": "1 day"},
        "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
        "scoring": {"sinks": sinks},
    }
    return parse_pipeline(raw, where="churn.yaml")


def score(worker: Any, pipeline: Any) -> Any:
    dag = scoring_dag(pipeline)
    assert worker.run(dag.task_dict["ingest"]).state == "success"
    return worker.run(dag.task_dict["score"])


@pytest.fixture
def letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], dict[str, Any]]:
    """Write the guide's function, or another, into a plugins folder; return the sink that names it."""
    plugins, folder = tmp_path / "plugins", tmp_path / "letters"
    plugins.mkdir()
    folder.mkdir()
    monkeypatch.syspath_prepend(str(plugins))
    monkeypatch.setenv("AIRFLOW__CORE__PLUGINS_FOLDER", str(plugins))

    def write(code: str | None = None) -> dict[str, Any]:
        [example] = re.findall(r"<!-- example: letters.py -->\n```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        (plugins / "letters.py").write_text(example if code is None else code)
        monkeypatch.delitem(sys.modules, "letters", raising=False)
        return {"kind": "function", "function": "letters.write", "params": {"folder": str(folder)}}

    return write


def test_each_sink_gets_what_was_published_once_however_often_it_runs(
    worker: Any,
    mlflow: str,
    customers: Path,
    warehouse: Callable[..., Any],
    letters: Callable[..., Any],
    tmp_path: Path,
) -> None:
    pipeline = churn_of(customers, [TABLE, letters()])
    run_training(worker, training_dag(pipeline))
    first, again = score(worker, pipeline), score(worker, pipeline)
    assert (first.state, again.state) == ("success", "success"), first.message
    table = pd.read_parquet(local_path(first.xcom["facts"]["partition"]))
    assert warehouse("select count(*), min(model_version), count(distinct customer) from churn") == [(24, 1, 24)]
    scores = dict(warehouse("select customer, p_1 from churn"))
    assert table.set_index("customer")["p_1"].astype(float).to_dict() == pytest.approx(scores)
    written = pd.read_csv(tmp_path / "letters" / "churn-2013-03-01T0000.csv")
    assert list(written) == list(table)
    assert len(written) == 24


def test_params_may_name_the_window(
    worker: Any, mlflow: str, customers: Path, letters: Callable[..., Any], tmp_path: Path
) -> None:
    pipeline = churn_of(customers, [])
    run_training(worker, training_dag(pipeline))
    sink = letters("from pathlib import Path\n\n\ndef write(tables, folder, **more):\n    Path(folder).mkdir()\n")
    ended = score(worker, churn_of(customers, [{**sink, "params": {"folder": f"{tmp_path}/of-{{{{ as_of }}}}"}}]))
    assert ended.state == "success", ended.message
    assert (tmp_path / "of-2013-03-01").is_dir()


@pytest.mark.parametrize(
    ("code", "state", "words"),
    [
        (
            "def write(tables, **more):\n    raise ValueError('full')\n",
            "failed",
            "sink letters.write failed: got Value",
        ),
        (
            "def write(tables, **more):\n    raise ConnectionError('away')\n",
            "up_for_retry",
            "could not reach",
        ),
        ("nothing = 1\n", "failed", "module 'letters' has no 'write'"),
    ],
    ids=["raises", "is away", "is not there"],
)
def test_a_sink_that_fails_fails_the_task_and_no_event_is_sent(
    worker: Any, mlflow: str, customers: Path, letters: Callable[..., Any], code: str, state: str, words: str
) -> None:
    pipeline = churn_of(customers, [])
    run_training(worker, training_dag(pipeline))
    ended = score(worker, churn_of(customers, [letters(code)]))
    assert (ended.state, words in ended.message) == (state, True), ended.message
    assert not [message for message in ended.messages if getattr(message, "outlet_events", None)]


# ---------------------------------------------------------------- PostgreSQL


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    from services.postgres import postgres

    with postgres() as running:
        yield running


def test_two_that_make_the_table_at_once_leave_one(server: Any, connection: Callable[..., None]) -> None:
    address = urlsplit(server.database("fresh"))
    connection(
        "warehouse", conn_type="postgres", host=address.hostname, port=address.port,
        login=address.username, password=address.password, schema="fresh",
    )  # fmt: skip

    def write(number: int) -> bool:
        try:
            return replace_rows("warehouse", "churn", DAY, [rows(writer=[number] * 3)]) == 3
        except TransientServiceError:
            return False

    with ThreadPoolExecutor(4) as threads:
        assert any(threads.map(write, range(4)))
    assert write(5), "a later try finds the table"


def test_a_table_is_written_by_the_connections_own_settings(server: Any, connection: Callable[..., None]) -> None:
    address = urlsplit(server.database("strict"))
    connection(
        "warehouse", conn_type="postgres", host=address.hostname, port=address.port, login=address.username,
        password=address.password, schema="strict", extra={"sslmode": "require"},
    )  # fmt: skip
    for write in (lambda: replace_rows("warehouse", "churn", DAY, [rows()]), lambda: ping("warehouse")):
        with pytest.raises((DataError, TransientServiceError), match="server does not support SSL"):
            write()


def test_of_two_that_replace_one_window_at_once_one_holds(server: Any, connection: Callable[..., None]) -> None:
    from airflow_mlops_provider.hooks.sql import database

    address = urlsplit(server.database("sinks"))
    connection(
        "warehouse", conn_type="postgres", host=address.hostname, port=address.port,
        login=address.username, password=address.password, schema="sinks",
    )  # fmt: skip
    replace_rows("warehouse", "churn", DAY, [rows(writer=[-1] * 3)])

    def replace(number: int) -> str:
        try:
            replace_rows("warehouse", "churn", DAY, [rows(count=50, writer=[number] * 50)])
        except TransientServiceError:
            return "tried again"
        return "wrote"

    for _ in range(5):
        with ThreadPoolExecutor(4) as threads:
            ended = list(threads.map(replace, range(4)))
        assert "wrote" in ended
        [(count, writers)] = database("warehouse").get_records("select count(*), count(distinct writer) from churn")
        assert (count, writers) == (50, 1), ended


def test_wrong_sinks_are_found_before_anything_is_scored(worker: Any, mlflow: str, customers: Path) -> None:
    pipeline = churn_of(customers, [])
    run_training(worker, training_dag(pipeline))
    dag = scoring_dag(pipeline)
    assert worker.run(dag.task_dict["ingest"]).state == "success"
    score: Any = dag.task_dict["score"]
    score.sinks = [{"kind": "sql", "conn_id": "warehouse", "table": "s3cret; drop"}]
    ended = worker.run(score)
    assert ended.state == "failed"
    assert "the prediction sinks are wrong" in ended.message
    assert "s3cret" not in ended.message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"function": "xgboost.Booster"}, "is not allowed here"),
        ({"params": {"as_of": "2013"}}, "params.as_of is passed to every sink"),
    ],
)
def test_a_sink_that_cannot_work_is_a_mistake_of_the_file(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        churn_of(Path("/d.csv"), [{"kind": "function", "function": "letters.write", **changes}])
