"""Whatever a person or a program writes into a run's conf: one clear error, and no further try."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import ParamValidationError

from airflow_mlops_provider.backtest.replay import _check_dates
from airflow_mlops_provider.commands.terminal import version_number
from airflow_mlops_provider.dag_templates.kinds import KINDS
from airflow_mlops_provider.effects.rollback import parse_target
from airflow_mlops_provider.exceptions import RegistryError, SpecError
from airflow_mlops_provider.operators.data import IngestDataOperator, duration
from airflow_mlops_provider.operators.step import flag
from airflow_mlops_provider.operators.training import requested_candidates
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.run_context import parse_as_of, resolve_as_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import DAG

NEVER: Any = []
for _ in range(100_000):
    NEVER = [NEVER]

#: Texts that are no moment, or one that no table can hold.
TEXTS = [
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00Z",
    "1582-10-10T00:00:00Z",
    "1677-09-21T00:12:43Z",
    "1899-12-31T23:59:59Z",
    "2150-01-01T00:00:00Z",
    "2262-04-11T23:47:17Z",
    "9999-12-31T23:59:59Z",
    "10000-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "-0001-01-01T00:00:00Z",
    "2013-02-30T00:00:00Z",
    "2013-13-01T00:00:00Z",
    "2013-01-01T24:00:01Z",
    "2013-01-01T00:60:00Z",
    "2016-12-31T23:59:60Z",
    "2013-01-01T00:00:00+25:00",
    "2013-03-31T02:30:00 Europe/Berlin",
    "2013-366",
    "1356998400",
    "1356998400000",
    "99999999999999999999",
    "1e400",
    "NaN",
    "Infinity",
    "yesterday",
    "now()",
    "01/02/2013",
    "2013-1-1",
    " ",
    "\0",
    "\ud800",
    "２０１３年",
    "{{ as_of }}",
    "x" * 1_000_000,
]
#: What is no text at all.
VALUES = [
    99999999999999999999,
    10**5000,
    20130101,
    0,
    -1,
    1.5,
    float("inf"),
    float("nan"),
    True,
    False,
    [],
    {},
    ["2013-01-01"],
    {"as_of": "2013-01-01"},
    NEVER,
    b"2013-01-01",
]


def short(value: Any) -> str:
    return ascii(value)[:40] if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize("value", [*TEXTS, *VALUES], ids=short)
def test_what_is_no_moment_is_one_error_that_names_where_it_stands(value: Any) -> None:
    with pytest.raises(SpecError) as raised:
        parse_as_of(value, "Param as_of")

    message = str(raised.value)
    assert message.startswith(("Param as_of is not a date and time: got ", "Param as_of is out of range: got "))
    assert len(message) < 600
    assert "\n" not in message
    message.encode()


@pytest.mark.parametrize("value", [text for text in TEXTS if text[:4] not in ("2150", "2262", "1582", "1677", "1899")])
def test_no_moment_is_a_rollbacks_target_either(value: str) -> None:
    if value in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        assert isinstance(parse_target(value), datetime)  # the ledger's own words say that nothing served then
        return
    with pytest.raises(RegistryError, match="the rollback target is invalid: got"):
        parse_target(value)


@pytest.mark.parametrize(
    "to", [0, -1, 10**9, 10**20, 10**5000, "9" * 30, "٣", "²", "1_0", "+1", "1.0", "", [3], None], ids=short
)
def test_no_odd_number_is_a_version(to: Any) -> None:
    with pytest.raises(RegistryError, match="the rollback target is invalid"):
        parse_target(to)


@pytest.mark.parametrize(
    "text", ["0", "-1", "9" * 10, "9" * 30, "1" * 5000, "٣", "²", "1_0", "1.0", "", "1e3", "x"], ids=short
)
def test_no_odd_number_is_a_version_on_the_command_line(text: str) -> None:
    with pytest.raises(SpecError, match="VERSION is not a version: got .*expected a number such as 3"):
        version_number(text, "VERSION")


@pytest.mark.parametrize(
    "step", ["PT0.000001S", "PT1S", "P0D", "-P1D", "P99999999D", "1e400", "x" * 10_000, ".", ""], ids=short
)
def test_no_odd_step_replays_for_ever(step: str) -> None:
    with pytest.raises(SpecError, match="the step is too short|the step is not a duration|--step is not a duration"):
        _check_dates(parse_as_of("1900-01-01", "--from"), parse_as_of("2149-12-31", "--to"), duration(step, "--step"))


@pytest.mark.parametrize("moment", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
@pytest.mark.parametrize(
    ("name", "source"), [("logical_date", "logical date"), ("data_interval_end", "end of the data interval")]
)
def test_a_run_of_another_age_is_refused(moment: datetime, name: str, source: str, worker: Any) -> None:
    dag = dags(lambda kind: kind == "training")["training"]
    usual = dict.fromkeys(
        ("logical_date", "data_interval_start", "data_interval_end"), datetime(2013, 3, 1, tzinfo=UTC)
    )
    run = {"run_type": "manual" if name == "logical_date" else "scheduled", **usual, name: moment}

    with pytest.raises(SpecError, match=f"{source} is out of range: got"):
        resolve_as_of(worker.context(dag.task_dict["ingest"], **run))


@pytest.mark.parametrize("year", [1900, 2149])
@pytest.mark.parametrize("purpose", ["training", "scoring"])
def test_the_longest_window_before_the_first_and_last_moment_is_one(year: int, purpose: str) -> None:
    ingest = IngestDataOperator(
        task_id="ingest",
        pipeline="churn",
        task="binary",
        data={"label_delay": "P36525D"},
        window="P36525D",
        purpose=purpose,
    )

    moment = parse_as_of(f"{year}-12-31T23:59:59Z", "as_of")
    assert ingest._start(moment).year >= year - 201
    # What Parquet and pandas hold.
    assert abs((moment + timedelta(days=36_525) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) < 2**63 / 1e9


def dags(wanted: Callable[[str], bool] = lambda _: True) -> dict[str, DAG]:
    """A pipeline's DAGs, by kind."""
    pipeline = parse_pipeline(
        {
            "name": "churn",
            "task": "binary",
            "data": {
                "source": {"uri": "/nowhere/churn.csv"},
                "columns": {"target": "left", "numeric": ["age"], "timestamp": "at"},
            },
            "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
            "scoring": {},
            "monitoring": {},
        },
        where="churn.yaml",
    )
    return {kind: KINDS[kind].build(pipeline) for kind in KINDS if wanted(kind)}


#: Of every Param of every DAG, what its form does not take; Airflow says so to whoever starts the run.
WRONG_KINDS: dict[str, list[Any]] = {
    "as_of": [3, 1e400, True, [], {}],
    "reason": [3, True, [], {}, "x" * 501],
    "candidates": ["logistic", 3, True, {}, [], ["forest"], [["logistic"]], [None], None],
    "recompute": ["yes", "false", 0, 1, None, []],
    "allow_older": ["yes", "false", 0, 1, None, []],
    "lift_quarantine": ["yes", "false", 0, 1, None, []],
    "to": [0, -1, 10**9, 10**20, 1.5, 1e400, True, None, [], {}, "", "x" * 65],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_form_of_every_dag_refuses_what_is_of_another_kind(kind: str) -> None:
    params = dags(lambda each: each == kind)[kind].params
    taken = [(name, short(value)) for name in params for value in WRONG_KINDS[name] if takes(params, name, value)]

    assert taken == []


def takes(params: Any, name: str, value: Any) -> bool:
    try:
        params[name] = value
    except ParamValidationError:
        return False
    return True


@pytest.mark.parametrize("kind", ["training", "scoring", "monitoring"])
@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1e400", "9" * 30])
def test_a_moment_that_the_form_takes_and_no_table_can_hold_fails_for_good(
    kind: str, text: str, worker: Any, mlflow: str
) -> None:
    dag = dags(lambda each: each == kind)[kind]
    dag.params["as_of"] = text
    first = dag.task_dict["watch" if kind == "monitoring" else "ingest"]

    ended = worker.run(first, conf={"as_of": text})

    assert (ended.state, type(ended.error).__name__) == ("failed", "AirflowFailException")
    assert ended.message.startswith(("Param as_of is out of range: got ", "Param as_of is not a date and time: got "))


@pytest.mark.parametrize("to", ["9" * 30, "1e400", "0001-01-01T00:00:00+23:59", "NaN", "next", "-1"])
def test_a_target_that_the_form_takes_and_nothing_ever_was_fails_for_good(to: str, worker: Any, mlflow: str) -> None:
    dag = dags(lambda kind: kind == "rollback")["rollback"]
    conf = {"to": to, "reason": "It is wrong."}
    for name, value in conf.items():
        dag.params[name] = value

    ended = worker.run(dag.task_dict["roll_back"], conf=conf)

    assert (ended.state, type(ended.error).__name__) == ("failed", "AirflowFailException")
    assert "the rollback target is invalid" in ended.message


@pytest.mark.parametrize(
    ("read", "conf", "words"),
    [
        ("recompute", {"recompute": "false"}, "Param recompute is neither true nor false: got false"),
        ("recompute", {"recompute": 0}, "Param recompute is neither true nor false: got 0"),
        ("recompute", {"recompute": [[True]]}, "Param recompute is neither true nor false"),
        ("candidates", {"candidates": "logistic"}, "Param candidates is not a list of names: got logistic"),
        ("candidates", {"candidates": 5}, "Param candidates is not a list of names: got 5"),
        ("candidates", {"candidates": {"logistic": True}}, "Param candidates is not a list of names"),
    ],
)
def test_a_dag_written_by_hand_says_what_its_params_must_be(read: str, conf: dict[str, Any], words: str) -> None:
    run: Any = {"params": conf}
    with pytest.raises(SpecError, match=words):
        flag(run, read) if read == "recompute" else requested_candidates(run, ["logistic"])
