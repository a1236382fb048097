from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, PokeReturnValue

from airflow_mlops_provider.registry import PromotionRequest, Registry
from airflow_mlops_provider.results import MAX_XCOM_BYTES, ArtifactRef
from airflow_mlops_provider.sensors.champion import ChampionSensor
from airflow_mlops_provider.sensors.data import DataArrivalSensor
from airflow_mlops_provider.sensors.drift import DriftSensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Ended, Supervisor, Worker

    from airflow_mlops_provider.sensors.waiting import WaitingSensor

SHA = "a" * 64


def deferral(ended: Ended) -> Any:
    [message] = [message for message in ended.messages if message.type == "DeferTask"]
    return message


def resumed(worker: Worker, sensor: WaitingSensor, event: dict[str, Any]) -> Any:
    """Run what Airflow runs once the trigger has fired."""
    return sensor.resume_execution("execute_complete", {"event": event}, worker.context(sensor))


@pytest.fixture
def registry(mlflow_uri: str, connection: Callable[..., None]) -> Registry:
    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri)
    return Registry.connect(mlflow_uri)


@pytest.fixture
def promote(registry: Registry, mlflow_uri: str, tmp_path: Path) -> Callable[..., None]:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_uri)
    client.create_registered_model("flights")

    def promote(day: int) -> None:
        version = int(client.create_model_version("flights", str(tmp_path), await_creation_for=None).version)
        head = registry.head("flights")
        request = PromotionRequest(
            model="flights",
            idem=f"task-{version}",
            version=version,
            digest=f"digest-{version}",
            sha256=SHA,
            artifact=ArtifactRef(uri="file:///store/model.skops", sha256=SHA, size=3),
            lineage=f"lineage-{version}",
            order_key=datetime(2013, 3, day, tzinfo=UTC),
            compared_with=None if head is None else head.seq,
            reason="better",
        )
        assert registry.promote(request).entry is not None

    return promote


# ---------------------------------------------------------------- data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "day=2013-03-01"
    folder.mkdir()
    return folder


def arrived(folder: Path, params: dict[str, Any] | None = None, **settings: Any) -> DataArrivalSensor:
    with DAG("waiting", params=params):
        given = {"task_id": "arrived", "uri": str(folder), "stable_for": timedelta(hours=1), **settings}
        return DataArrivalSensor(**given)


def test_a_folder_with_its_marker_is_there_at_the_first_look(worker: Worker, folder: Path) -> None:
    (folder / "part-0.csv").write_text("12345")
    (folder / "_SUCCESS").touch()

    ended = worker.run(arrived(folder))

    assert ended.state == "success"
    value = dict(ended.xcom)
    assert len(value.pop("fingerprint")) == 64
    assert value == {"uri": str(folder), "files": 1, "size": 5, "complete_by": "_SUCCESS"}


@pytest.mark.parametrize(
    ("name", "text"),
    [("part-0.csv", "12345"), ("part-0.csv", ""), ("_SUCCESS", "done"), (".part-0.csv.tmp", "12345"), (None, "")],
    ids=["still changing perhaps", "an empty file", "a marker alone", "a temporary file", "nothing"],
)
def test_what_is_not_complete_is_waited_for_without_a_worker(
    worker: Worker, folder: Path, name: str | None, text: str
) -> None:
    if name is not None:
        (folder / name).write_text(text)

    ended = worker.run(arrived(folder, timeout=90))

    assert ended.state == "deferred"
    assert deferral(ended).trigger_timeout == timedelta(seconds=90)


def test_a_place_that_does_not_exist_yet_is_waited_for(worker: Worker, tmp_path: Path) -> None:
    assert worker.run(arrived(tmp_path / "later")).state == "deferred"


def test_as_of_stands_in_the_address(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "2013-03-01.csv").write_text("1")

    ended = worker.run(arrived(tmp_path / "{{ as_of }}.csv", stable_for=timedelta(0)))

    assert ended.xcom["uri"] == str(tmp_path / "2013-03-01.csv")
    assert ended.xcom["complete_by"] == "stability"


def test_the_first_look_and_its_moment_go_with_the_trigger(worker: Worker, folder: Path) -> None:
    (folder / "part-0.csv").write_text("12345")
    before = datetime.now(UTC).timestamp()

    message = deferral(worker.run(arrived(folder)))

    assert message.classpath == "airflow_mlops_provider.triggers.arrival.DataArrivalTrigger"
    memory = message.trigger_kwargs["memory"]
    assert before <= memory["since"] <= datetime.now(UTC).timestamp()
    assert len(memory["fingerprint"]) == 64


def test_a_retry_goes_on_from_what_the_first_try_saw(worker: Worker, folder: Path) -> None:
    (folder / "part-0.csv").write_text("12345")
    first = deferral(worker.run(arrived(folder))).trigger_kwargs["memory"]

    again = deferral(worker.run(arrived(folder))).trigger_kwargs["memory"]
    assert again == first

    (folder / "part-1.csv").write_text("6")
    changed = deferral(worker.run(arrived(folder))).trigger_kwargs["memory"]
    assert changed["fingerprint"] != first["fingerprint"]
    assert changed["since"] > first["since"]


def test_tries_share_one_timeout(worker: Worker, supervisor: Supervisor, folder: Path) -> None:
    def again(**settings: Any) -> Ended:
        return worker.run(arrived(folder, timeout=90, **settings))

    assert deferral(again()).trigger_timeout == timedelta(seconds=90)
    held = supervisor.stored["mlops.sensor.until"]
    until = datetime.fromisoformat(held["until"])

    held["until"] = (until - timedelta(seconds=60)).isoformat()
    assert timedelta(seconds=20) < deferral(again()).trigger_timeout <= timedelta(seconds=30)
    held["until"] = (until - timedelta(seconds=90)).isoformat()
    late = again()
    assert (late.state, type(late.error).__name__) == ("failed", "AirflowSensorTimeout")
    assert again(soft_fail=True).state == "skipped"
    (folder / "_SUCCESS").touch()
    (folder / "part-0.csv").write_text("12345")
    assert again().state == "success", "what came at last is seen"


def test_a_cleared_task_may_wait_anew(worker: Worker, supervisor: Supervisor, folder: Path) -> None:
    worker.run(arrived(folder, timeout=90))
    held = supervisor.stored["mlops.sensor.until"]
    # Airflow adds the tries that were used up to those that a cleared task may have.
    held.update(first_try=held["first_try"] - 1, until="2026-01-01T00:00:00+00:00")

    assert deferral(worker.run(arrived(folder, timeout=90))).trigger_timeout == timedelta(seconds=90)


def test_a_worker_waits_as_well(worker: Worker, folder: Path) -> None:
    (folder / "part-0.csv").write_text("12345")

    ended = worker.run(
        arrived(folder, deferrable=False, stable_for=timedelta(seconds=0.1), poke_interval=0.02, timeout=20)
    )

    assert ended.state == "success"
    assert ended.xcom["complete_by"] == "stability"


def test_each_rescheduled_look_knows_the_one_before(worker: Worker, supervisor: Supervisor, folder: Path) -> None:
    (folder / "part-0.csv").write_text("12345")
    settings = {"deferrable": False, "mode": "reschedule"}

    assert worker.run(arrived(folder, **settings)).state == "up_for_reschedule"
    since = supervisor.stored["mlops.sensor"]["since"]
    assert worker.run(arrived(folder, **settings)).state == "up_for_reschedule"
    assert supervisor.stored["mlops.sensor"]["since"] == since
    supervisor.stored["mlops.sensor"]["since"] -= 3600
    assert worker.run(arrived(folder, **settings)).state == "success"


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({"uri": "data/flights"}, "not absolute: got data/flights"),
        ({"uri": "ftp://host/data"}, "this address cannot be opened: got ftp://host/data"),
        ({"marker": None, "stable_for": None}, "nothing would show that"),
        ({"marker": "../_SUCCESS"}, "this object key is not allowed"),
        ({"stable_for": timedelta(-1)}, "stable_for is negative"),
    ],
    ids=["relative", "unknown scheme", "no rule", "marker elsewhere", "negative"],
)
def test_a_wrong_question_fails_for_good(worker: Worker, folder: Path, settings: dict[str, Any], answer: str) -> None:
    (folder / "part-0.csv").write_text("12345")

    ended = worker.run(arrived(folder, **settings))

    assert ended.state == "failed"
    assert answer in ended.message


def test_soft_fail_skips_instead(worker: Worker, folder: Path) -> None:
    assert worker.run(arrived(folder, marker=None, stable_for=None, soft_fail=True)).state == "skipped"


@pytest.fixture
def forbid(folder: Path) -> Iterator[Callable[[], None]]:
    """Let nobody read the folder from the call on. Root may read everything: it becomes another user meanwhile."""
    root = os.geteuid() == 0

    def forbid() -> None:
        folder.chmod(0)
        if root:
            os.seteuid(65534)

    yield forbid
    if root:
        os.seteuid(0)
    folder.chmod(0o700)


def test_a_folder_that_may_not_be_read_fails_for_good(worker: Worker, folder: Path, forbid: Callable[[], None]) -> None:
    # What is imported on the way may lie where another user may not look.
    worker.run(arrived(folder / "part-0.csv"))
    forbid()
    ended = worker.run(arrived(folder / "part-0.csv"))
    assert ended.state == "failed"
    assert "cannot be read: permission is missing" in ended.message


# ---------------------------------------------------------------- champions


def champion(**settings: Any) -> ChampionSensor:
    with DAG("waiting"):
        return ChampionSensor(**{"task_id": "champion", "model": "flights", **settings})


def test_a_champion_that_was_there_before_is_not_a_change(worker: Worker, promote: Callable[..., None]) -> None:
    promote(1)

    message = deferral(worker.run(champion(timeout=90)))

    assert message.classpath == "airflow_mlops_provider.triggers.champion.ChampionTrigger"
    assert message.trigger_kwargs["memory"] == {"seq": 1}
    assert message.trigger_timeout == timedelta(seconds=90)


def test_the_first_champion_is_waited_for(worker: Worker, registry: Registry) -> None:
    assert deferral(worker.run(champion())).trigger_kwargs["memory"] == {"seq": 0}


def test_a_retry_sees_what_changed_since_the_first_try(worker: Worker, promote: Callable[..., None]) -> None:
    promote(1)
    assert worker.run(champion()).state == "deferred"
    promote(2)

    ended = worker.run(champion())

    assert ended.state == "success"
    assert (ended.xcom["seq"], ended.xcom["version"], ended.xcom["action"]) == (2, 2, "promote")
    assert ended.xcom["as_of"] == "2013-03-02T00:00:00+00:00"


@pytest.mark.parametrize(
    ("condition", "state"),
    [
        ({"changed_since": 1}, "success"),
        ({"changed_since": "{{ 1 + 1 }}"}, "deferred"),
        ({"min_version": "2"}, "success"),
        ({"min_version": 3}, "deferred"),
        ({"newer_than": "2013-03-01"}, "success"),
        ({"newer_than": datetime(2013, 3, 1, 23, tzinfo=UTC)}, "success"),
        ({"newer_than": datetime(2013, 3, 2)}, "deferred"),
        ({"newer_than": "{{ as_of }}"}, "success"),
    ],
    ids=str,
)
def test_a_champion_of_a_condition_is_waited_for(
    worker: Worker, promote: Callable[..., None], condition: dict[str, Any], state: str
) -> None:
    promote(1)
    promote(2)

    assert worker.run(champion(**condition)).state == state


def test_a_worker_sees_the_change_as_well(worker: Worker, promote: Callable[..., None]) -> None:
    promote(1)
    sensor = champion(deferrable=False)
    context = worker.context(sensor)

    assert not sensor.poke(context)
    assert not sensor.poke(context)
    promote(2)
    found = sensor.poke(context)
    assert isinstance(found, PokeReturnValue)
    assert found.xcom_value["version"] == 2


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({"min_version": 2, "changed_since": 1}, "takes one condition: got changed_since, min_version"),
        ({"min_version": "two"}, "min_version is not a whole number: got two"),
        ({"newer_than": "yesterday"}, "newer_than is not a date and time: got yesterday"),
        ({"model": "a/b"}, "cannot have this name"),
        ({"mlflow_conn_id": "nowhere"}, "connection 'nowhere' is not defined"),
    ],
    ids=str,
)
def test_a_wrong_condition_fails_for_good(
    worker: Worker, registry: Registry, settings: dict[str, Any], answer: str
) -> None:
    ended = worker.run(champion(**settings))

    assert ended.state == "failed"
    assert answer in ended.message


def test_an_mlflow_that_is_away_is_waited_for_and_what_changes_meanwhile_is_seen(
    worker: Worker, registry: Registry, promote: Callable[..., None], connection: Callable[..., None], mlflow_uri: str
) -> None:
    promote(1)
    connection("mlflow_default", conn_type="mlflow", host="http://127.0.0.1:9")
    memory = deferral(worker.run(champion())).trigger_kwargs["memory"]
    assert set(memory) == {"started"}
    promote(2)
    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri)

    assert (champion().look(memory).found or {})["version"] == 2
    assert champion().look({"started": datetime.now(UTC).isoformat()}).memory == {"seq": 2}


# ---------------------------------------------------------------- decisions

HEALTHY = {"action": "keep", "rule": "healthy", "bad": False, "suppressed": False, "reasons": ["no drift"]}
DRIFTED = {"action": "retrain", "rule": "drift", "bad": True, "suppressed": False, "reasons": ["60% drifted"]}
UNKNOWN = {"action": "keep", "rule": "nothing_new", "bad": False, "suppressed": False, "reasons": ["too few rows"]}
COOLING = {**DRIFTED, "suppressed": True, "why": "cooldown of 7 days"}


def drifted(**settings: Any) -> DriftSensor:
    with DAG("waiting"):
        return DriftSensor(**{"task_id": "drifted", "pipeline": "flights", "window": "{{ as_of }}", **settings})


def test_a_window_without_a_decision_is_waited_for(worker: Worker, registry: Registry) -> None:
    registry.write_decision("flights", datetime(2013, 2, 28, tzinfo=UTC), DRIFTED)

    message = deferral(worker.run(drifted(timeout=90)))

    assert message.classpath == "airflow_mlops_provider.triggers.decision.DecisionTrigger"
    assert (message.trigger_kwargs["model"], message.trigger_kwargs["window"]) == (
        "flights",
        "2013-03-01T00:00:00+00:00",
    )


@pytest.mark.parametrize(
    ("decision", "verdict", "state"),
    [
        (HEALTHY, "any", "success"),
        (HEALTHY, "good", "success"),
        (HEALTHY, "keep", "success"),
        (HEALTHY, "bad", "skipped"),
        (UNKNOWN, "good", "skipped"),
        (UNKNOWN, "bad", "skipped"),
        (DRIFTED, "bad", "success"),
        (DRIFTED, "retrain", "success"),
        (DRIFTED, "good", "skipped"),
        (DRIFTED, "roll_back", "skipped"),
        (COOLING, "bad", "success"),
        (COOLING, "retrain", "skipped"),
    ],
)
def test_another_verdict_than_the_one_asked_for_skips(
    worker: Worker, registry: Registry, decision: dict[str, Any], verdict: str, state: str
) -> None:
    registry.write_decision("flights", datetime(2013, 3, 1, tzinfo=UTC), decision)

    ended = worker.run(drifted(verdict=verdict))

    assert ended.state == state
    if state == "success":
        assert (ended.xcom["action"], ended.xcom["rule"]) == (decision["action"], decision["rule"])
        assert ended.xcom["as_of"] == "2013-03-01T00:00:00+00:00"


def test_a_skip_says_what_was_decided_and_why(worker: Worker, registry: Registry) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    registry.write_decision("flights", datetime(2013, 3, 1, tzinfo=UTC), COOLING)
    sensor = drifted(window="2013-03-01", verdict="retrain")
    found = sensor.look({}).found
    assert found is not None

    with pytest.raises(AirflowSkipException, match=r"is not retrain: retrain \(suppressed: cooldown of 7 days\)"):
        resumed(worker, sensor, {"found": found})


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({"verdict": "perhaps"}, "verdict is unknown: got perhaps"),
        ({"window": "yesterday"}, "window is not a date and time: got yesterday"),
    ],
)
def test_a_wrong_window_or_verdict_fails_for_good(
    worker: Worker, registry: Registry, settings: dict[str, Any], answer: str
) -> None:
    ended = worker.run(drifted(**settings))

    assert ended.state == "failed"
    assert answer in ended.message


def test_a_decision_with_long_words_stays_within_an_xcom(worker: Worker, registry: Registry) -> None:
    import json

    words = {"reasons": ["é" * 400], "why": "é" * 20, "columns": ["ü" * 60] * 8, "suppressed": True}
    registry.write_decision("flights", datetime(2013, 3, 1, tzinfo=UTC), {**DRIFTED, **words})

    assert 2000 < len(json.dumps(worker.run(drifted()).xcom)) <= MAX_XCOM_BYTES


# ---------------------------------------------------------------- what all share


def test_the_event_becomes_the_result(worker: Worker, folder: Path) -> None:
    assert resumed(worker, arrived(folder), {"found": {"uri": "x"}}) == {"uri": "x"}


def test_a_failure_in_the_triggerer_fails_the_task_for_good(worker: Worker, folder: Path) -> None:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

    with pytest.raises(AirflowFailException, match="the ledger is damaged"):
        resumed(worker, arrived(folder), {"failure": "the ledger is damaged"})
    with pytest.raises(AirflowSkipException):
        resumed(worker, arrived(folder, soft_fail=True), {"failure": "the ledger is damaged"})


def test_a_wrong_as_of_of_the_run_fails_for_good(worker: Worker, folder: Path) -> None:
    ended = worker.run(arrived(folder, params={"as_of": "someday"}))

    assert ended.state == "failed"
    assert "Param as_of is not a date and time" in ended.message


def test_a_long_reason_stays_within_an_xcom(promote: Callable[..., None], registry: Registry, worker: Worker) -> None:
    import json

    from airflow_mlops_provider.triggers.champion import _as_value

    promote(1)
    head = registry.head("flights")
    assert head is not None
    value = _as_value("m" * 200, head.model_copy(update={"reason": "é" * 5000, "digest": "d" * 200}))
    assert len(json.dumps(value)) <= MAX_XCOM_BYTES
