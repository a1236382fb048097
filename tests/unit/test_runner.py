from __future__ import annotations

import importlib
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.exceptions import MLOpsError, NotAllowedError, ResultTooLargeError, SpecError
from airflow_mlops_provider.job import Champion, Job, Outcome, StepRequest
from airflow_mlops_provider.results import ArtifactRef, StepResult, check_xcom
from airflow_mlops_provider.runner import STEPS, request_behind, run_step, step_key
from airflow_mlops_provider.spec import Frozen
from airflow_mlops_provider.storage import local_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_mlops_provider.storage import ArtifactStore

AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
REF = ArtifactRef(uri=f"file:///store/objects/aa/{'a' * 64}.json", sha256="a" * 64, size=1)


class Section(Frozen):
    number: int = 1
    names: tuple[str, ...] = ()


class Counting:
    """A step with a body of three lines, to see when the runner calls it."""

    Section = Section
    FORMAT = 1
    LIBRARIES = ("pyarrow",)

    def __init__(self) -> None:
        self.runs = 0
        self.outcome: Any = lambda job: Outcome(artifacts={"value": job.store.add_json(1)}, facts={"runs": self.runs})

    def run(self, section: Section, job: Job) -> Outcome:
        self.runs += 1
        outcome: Outcome = self.outcome(job)
        return outcome

    def names(self, section: Section) -> list[str]:
        return list(section.names)


class Reading(Counting):
    source: str | None = "version 1"

    def fingerprint(self, section: Section, job: Job) -> str | None:
        return self.source


def request(**changes: Any) -> StepRequest:
    return StepRequest(**{"step": "prepare", "pipeline": "tested", "as_of": AS_OF, "section": {}, **changes})


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Counting:
    made = Counting()
    monkeypatch.setattr("airflow_mlops_provider.runner._step", lambda name: made)
    return made


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    made = Reading()
    monkeypatch.setattr("airflow_mlops_provider.runner._step", lambda name: made)
    return made


def result(name: str = "value", ref: ArtifactRef = REF) -> StepResult:
    return StepResult(step="ingest", pipeline="tested", key="b" * 64, as_of=AS_OF, artifacts={name: ref})


def test_a_step_runs_once_for_a_key(step: Counting, store: ArtifactStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first = run_step(request(), store)
    second = run_step(request(), store)
    assert step.runs == 1
    assert (first.cached, second.cached) == (False, True)
    assert second == first.model_copy(update={"cached": True})
    assert "is already done" in caplog.text


def test_recompute_runs_it_again(step: Counting, store: ArtifactStore) -> None:
    first = run_step(request(), store)
    again = run_step(request(recompute=True), store)
    assert (step.runs, again.cached, again.key) == (2, False, first.key)


@pytest.mark.parametrize(
    "change",
    [
        {"section": {"number": 2}},
        {"seed": 1},
        {"pipeline": "another"},
        {"step": "train"},
        {"inputs": {"dataset": [result()]}},
        {
            "champion": Champion(seq=1, version=1, digest="d", model=REF, order_key=AS_OF),
        },
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_decides_the_result_decides_the_key(step: Counting, store: ArtifactStore, change: dict[str, Any]) -> None:
    base = step_key(step, Section(), Job(request(), store))
    changed = request(**change)
    assert step_key(step, Section.model_validate(changed.section), Job(changed, store)) != base


@pytest.mark.parametrize("change", [{"order_key": AS_OF + timedelta(days=1)}, {"metrics": {"roc_auc": 0.8}}])
def test_a_champion_that_came_back_by_a_rollback_is_another_key(
    step: Counting, store: ArtifactStore, change: dict[str, Any]
) -> None:
    champion = Champion(seq=1, version=1, digest="d", model=REF, order_key=AS_OF)
    first, back = champion.model_copy(update={"seq": 2}), champion.model_copy(update={"seq": 3, **change})
    keys = [step_key(step, Section(), Job(request(champion=each), store)) for each in (champion, first, back)]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("name", "sees"), [("ingest", True), ("evaluate", True), ("validate", False), ("train", False)]
)
def test_another_day_is_another_key_only_where_as_of_decides(
    step: Counting, store: ArtifactStore, name: str, *, sees: bool
) -> None:
    first = run_step(request(step=name), store)
    tomorrow = run_step(request(step=name, as_of=AS_OF + timedelta(days=1)), store)
    assert (tomorrow.key != first.key) == sees
    assert tomorrow.cached == (not sees)
    assert tomorrow.as_of == AS_OF + timedelta(days=1)


@pytest.mark.parametrize(("name", "sees"), [("evaluate", True), ("gate", False)])
def test_an_equal_model_of_another_training_is_another_key_only_to_what_tells_of_trainings(
    step: Counting, store: ArtifactStore, name: str, *, sees: bool
) -> None:
    trained = result()
    first = run_step(request(step=name, inputs={"models": [trained]}), store)
    again = run_step(request(step=name, inputs={"models": [trained.model_copy(update={"key": "e" * 64})]}), store)
    assert (again.key != first.key) == sees


def test_defaults_that_are_written_out_do_not_change_the_key(step: Counting, store: ArtifactStore) -> None:
    assert run_step(request(section={"number": 1}), store).key == run_step(request(), store).key


class Wider(Section):
    """The settings of a later release."""

    added: str | None = "a default"


def test_a_later_release_with_a_new_setting_computes_nothing_anew(
    step: Counting, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for section in ({}, {"number": 2}):
        monkeypatch.setattr(step, "Section", Section)
        run_step(request(section=section), store)
        monkeypatch.setattr(step, "Section", Wider)
        monkeypatch.setattr("airflow_mlops_provider.__version__", "99.0")
        assert run_step(request(section=section), store).cached
    assert not run_step(request(section={"added": "used"}), store).cached


def test_a_raised_format_computes_anew(step: Counting, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run_step(request(), store)
    monkeypatch.setattr(step, "FORMAT", 2)
    assert not run_step(request(), store).cached


def sections() -> Iterator[Any]:
    """Settings of every step, as pipelines and operators give them."""
    columns = {"target": "y", "keys": ["id"], "timestamp": "at", "numeric": ["a"], "categorical": ["b"]}
    data = {"source": {"uri": "/data/x.csv"}, "columns": columns, "window": "P30D"}
    candidate = {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"C": 1.0}}
    found: dict[str, list[dict[str, Any]]] = {
        "ingest": [{"task": "binary", "data": data}, {"task": "binary", "data": data, "purpose": "scoring"}],
        "validate": [{}, {"expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "a"}}]}],
        "prepare": [{"split": {"by": "time", "holdout": 0.2}}, {"split": {"by": "cross_validation", "folds": 3}}],
        "search": [{"name": "one", "candidate": candidate, "shard": 0}],
        "train": [{"name": "one", "candidate": candidate}],
        "evaluate": [{"metrics": ["log_loss"], "candidates": ["one"], "evaluation": {}}],
        "latency": [{"calls": 5, "measured_at": "2026-01-01T00:00:00Z"}],
        "gate": [{"gates": [gate]} for gate in GATES],
        "refit": [{"name": "one", "candidate": candidate, "metric": "log_loss", "max_mb": 5.0}],
        "drift": [{}, {"min_rows": 7}],
        "estimate": [{"metrics": ["log_loss"]}],
        "live": [{"live": {}, "metrics": ["log_loss"], "former": None}],
        "score": [{}, {"baseline": {"values": [1.5]}}, {"shard": {"index": 0, "count": 2}}],
    }
    assert found.keys() == set(STEPS)
    for name, each in found.items():
        for number, section in enumerate(each):
            yield pytest.param(name, section, id=f"{name}-{number}")


GATES: list[dict[str, Any]] = [
    {"kind": "absolute", "metric": "log_loss", "max": 0.5},
    {"kind": "champion"},
    {"kind": "baseline"},
    {"kind": "worst_slice", "max": 0.9},
    {"kind": "latency"},
    {"kind": "predictions", "max_shift": 0.75},
    {"kind": "model_size"},
    {"kind": "champion_age", "min": "P30D"},
    {"kind": "max_gap", "gap": "demographic_parity_difference", "max": 0.1},
    {"kind": "min_group_metric", "metric": "recall", "min": 0.5},
    {"kind": "max_importance", "columns": {"a": 0.9}},
]


@pytest.mark.parametrize(("name", "section"), list(sections()))
def test_settings_without_their_defaults_are_still_those_settings(name: str, section: dict[str, Any]) -> None:
    step = importlib.import_module(f"airflow_mlops_provider.steps.{name}")
    parsed = step.Section.model_validate(section)
    short = parsed.model_dump(mode="json", exclude_defaults=True)
    assert step.Section.model_validate(short) == parsed
    whole = parsed.model_dump(mode="json")
    assert step.Section.model_validate(whole).model_dump(mode="json", exclude_defaults=True) == short
    if name == "gate":
        assert short["gates"][0]["kind"] == section["gates"][0]["kind"], "or a gate of another kind has the same key"


def test_the_same_moment_in_another_zone_is_the_same_key(step: Counting, store: ArtifactStore) -> None:
    keys = {
        run_step(request(step="ingest", as_of=datetime.fromisoformat(text)), store).key
        for text in ("2013-03-01T00:00:00Z", "2013-03-01T01:00:00+01:00", "2013-03-01T00:00:00")
    }
    assert len(keys) == 1


def test_inputs_count_by_their_digests_and_not_by_their_place_order_or_facts(
    step: Counting, store: ArtifactStore
) -> None:
    other = ArtifactRef(uri=f"file:///elsewhere/{'c' * 64}.json", sha256="c" * 64, size=1)
    moved = REF.model_copy(update={"uri": f"file:///moved/{'a' * 64}.json"})
    one = run_step(request(inputs={"models": [result(), result(ref=other)]}), store)
    two = run_step(
        request(inputs={"models": [result(ref=other), result(ref=moved).model_copy(update={"facts": {"n": 1}})]}), store
    )
    three = run_step(request(inputs={"models": [result()]}), store)
    assert one.key == two.key
    assert three.key != one.key


def test_a_library_version_and_plugin_code_are_part_of_the_key(
    step: Counting, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text("A = 1")
    named = request(section={"names": ["own.A"]}, allow_list=AllowList(plugins_folder=str(tmp_path)))
    keys = [run_step(named, store).key]
    (tmp_path / "own.py").write_text("A = 2")
    keys.append(run_step(named, store).key)
    monkeypatch.setattr("airflow_mlops_provider.runner.version_of", lambda library: "99.0")
    keys.append(run_step(named, store).key)
    assert len(set(keys)) == 3


def test_a_name_outside_the_allow_list_stops_before_the_step_runs(step: Counting, store: ArtifactStore) -> None:
    with pytest.raises(NotAllowedError, match="'os.system' is outside the allow-list"):
        run_step(request(section={"names": ["os.system"]}), store)
    assert step.runs == 0


def test_a_source_that_did_not_change_is_not_read_again(reading: Reading, store: ArtifactStore) -> None:
    run_step(request(), store)
    assert run_step(request(), store).cached
    reading.source = "version 2"
    assert not run_step(request(), store).cached
    assert reading.runs == 2


def test_a_source_without_an_identity_is_read_each_time_and_keyed_by_what_was_read(
    reading: Reading, store: ArtifactStore
) -> None:
    reading.source = None
    first = run_step(request(), store)
    second = run_step(request(), store)
    reading.outcome = lambda job: Outcome(artifacts={"value": job.store.add_json(2)})
    third = run_step(request(), store)
    assert reading.runs == 3
    assert first.key == second.key != third.key
    assert store.read_receipt("tested", "prepare", first.key) is not None


@pytest.mark.parametrize(
    "facts", [{"text": "x" * 5000}, {"number": float("nan")}, {"numbers": [1.0, float("inf")]}], ids=str
)
def test_a_result_that_xcom_cannot_hold_is_refused_before_it_is_committed(
    step: Counting, store: ArtifactStore, facts: dict[str, Any]
) -> None:
    step.outcome = lambda job: Outcome(facts=facts)
    with pytest.raises(ResultTooLargeError, match="result of step 'prepare' of 'tested'"):
        run_step(request(), store)
    assert list(local_path(store.root).rglob("receipt.json")) == []


def test_a_step_that_fails_commits_nothing(step: Counting, store: ArtifactStore) -> None:
    def fail(job: Job) -> Outcome:
        job.store.add_json(1)
        raise MLOpsError("no")

    step.outcome = fail
    with pytest.raises(MLOpsError, match="no"):
        run_step(request(), store)
    root = local_path(store.root)
    assert list(root.rglob("re*.json")) == []
    assert list((root / ".tmp").iterdir()) == []


def test_wrong_settings_are_named(step: Counting, store: ArtifactStore) -> None:
    with pytest.raises(SpecError) as caught:
        run_step(request(section={"number": "many", "nmaes": []}), store)
    for part in ("'prepare' of 'tested'", "number: ", "nmaes: "):
        assert part in str(caught.value)
    assert step.runs == 0


def test_an_unknown_step_names_the_known_ones(store: ArtifactStore) -> None:
    with pytest.raises(SpecError, match="unknown step: got os, expected ingest, validate"):
        run_step(request(step="os"), store)


def test_a_result_survives_json(step: Counting, store: ArtifactStore) -> None:
    made = run_step(request(), store)
    assert StepResult.model_validate(json.loads(json.dumps(made.xcom()))) == made
    again = request_behind(store, made)
    assert again == request()


def test_xcom_takes_what_is_small_and_finite() -> None:
    check_xcom({"a": ["x" * 4000]}, "it")
    with pytest.raises(ResultTooLargeError, match=r"it is too large for XCom: got 40\d\d bytes|4[12]\d\d bytes"):
        check_xcom({"a": ["x" * 4090]}, "it")
    with pytest.raises(ResultTooLargeError, match="not finite"):
        check_xcom(float("nan"), "it")
