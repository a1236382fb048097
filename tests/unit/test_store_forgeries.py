"""Whoever can write the artifact store, and nothing else, neither makes a model champion nor runs code."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider import effects
from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.evaluation.verdicts import Verdicts
from airflow_mlops_provider.exceptions import ArtifactError, MLOpsError, NewerDocumentError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.runner import request_behind, run_step
from airflow_mlops_provider.runtime.docker import _vouched
from airflow_mlops_provider.storage import ArtifactStore
from airflow_mlops_provider.wire import Order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
NAME, SECRET = "churn", "a secret that only Airflow knows"
CANDIDATES = {
    "good": {"estimator": "sklearn.linear_model.LogisticRegression"},
    "poor": {"estimator": "sklearn.dummy.DummyClassifier"},
}
#: The poor one does not pass.
GATES = [{"kind": "absolute", "metric": "log_loss", "max": 0.6}, {"kind": "champion"}]


@dataclass
class World:
    """Two candidates that were evaluated, published and gated; and what their tasks ask of the store again."""

    folder: Path
    secret: str | None

    def __post_init__(self) -> None:
        self.store = ArtifactStore((self.folder / "store").as_uri(), secret=self.secret)
        self.registry = Registry.connect(f"sqlite:///{self.folder}/mlflow.db")

    # ------------------------------------------------ what tasks do

    def step(self, name: str, section: dict[str, Any], pipeline: str = NAME, **inputs: list[StepResult]) -> StepResult:
        return run_step(
            StepRequest(step=name, pipeline=pipeline, as_of=AS_OF, section=section, inputs=inputs), self.store
        )

    def trained(self, candidate: str) -> StepResult:
        source = {"uri": str(self.folder.parent / "base" / "customers.csv")}
        data = {"source": source, "columns": {"target": "left", "numeric": ["age"]}}
        dataset = [self.step("ingest", {"task": "binary", "data": data})]
        split = [self.step("prepare", {"split": {"by": "random", "holdout": 0.5}}, dataset=dataset)]
        section = {"name": candidate, "candidate": CANDIDATES[candidate]}
        return self.step("train", section, dataset=dataset, split=split)

    def evaluated(self, candidate: str) -> StepResult:
        inputs = effects.evaluation_inputs(self.store, [self.trained(candidate)])
        section = {"metrics": ["log_loss"], "candidates": [candidate], "evaluation": {}}
        return effects.compared(self.step("evaluate", section, **inputs), None)

    def published(self, candidate: str) -> StepResult:
        return effects.publish(self.registry, self.store, self.evaluated(candidate), model=NAME, tags={})

    def judged(self, evaluation: StepResult) -> StepResult:
        return self.step("gate", {"gates": GATES, "metrics": ["log_loss"]}, evaluation=[evaluation])

    def promoted(self, evaluation: StepResult, gate: StepResult) -> effects.PromotionResult:
        caller = (NAME, str(evaluation.facts["version"]), "promote", "-1")
        return effects.promote(self.registry, self.store, evaluation, gate, model=NAME, caller=caller)

    def run_again(self, candidate: str) -> str | None:
        """Clear everything from evaluate on, and return why it failed, if it did."""
        try:
            evaluation = self.published(candidate)
            self.promoted(evaluation, self.judged(evaluation))
        except MLOpsError as error:
            return str(error)
        return None

    @property
    def champions(self) -> list[str]:
        """The candidates that ever became champion."""
        made = {self.results["good evaluate"].artifacts["model"].sha256: "good"}
        return [made.get(entry.sha256, "poor") for entry in self.registry.history(NAME)]

    # ------------------------------------------------ what an attacker does

    @property
    def results(self) -> dict[str, StepResult]:
        raw = json.loads((self.folder / "results.json").read_text(encoding="utf-8"))
        return {name: StepResult.model_validate(value) for name, value in raw.items()}

    def file(self, name: str, document: str = "receipt") -> Path:
        result = self.results[name]
        return self.folder / "store" / "receipts" / result.pipeline / result.step / result.key / f"{document}.json"

    def change(self, name: str, edit: Callable[[Any], Any], document: str = "receipt") -> None:
        file = self.file(name, document)
        value = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps(edit(value) or value), encoding="utf-8")

    def object(self, name: str, role: str) -> Path:
        ref = self.results[name].artifacts[role]
        return self.folder / "store" / "objects" / ref.sha256[:2] / ref.uri.rsplit("/", 1)[-1]

    def put(self, data: bytes, suffix: str = ".json") -> dict[str, Any]:
        """Store bytes as an object, and return their reference."""
        digest = hashlib.sha256(data).hexdigest()
        file = self.folder / "store" / "objects" / digest[:2] / f"{digest}{suffix}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
        return {"uri": file.as_uri(), "sha256": digest, "size": len(data)}


def built(folder: Path, migrated_mlflow: Path, secret: str | None) -> World:
    chance = random.Random(7)
    with (folder / "customers.csv").open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(["age", "left"])
        for _ in range(300):
            age = chance.randint(18, 80)
            rows.writerow([age, int(age + chance.gauss(0, 15) > 50)])
    shutil.copy(migrated_mlflow, folder / "mlflow.db")
    world, results = World(folder, secret), {}
    for candidate in CANDIDATES:
        evaluation = world.published(candidate)
        results[f"{candidate} evaluate"] = evaluation
        results[f"{candidate} gate"] = world.judged(evaluation)
    results["other gate"] = world.step("gate", {"gates": [], "metrics": ["log_loss"]}, "other", evaluation=[evaluation])
    named = {name: result.xcom() for name, result in results.items()}
    (folder / "results.json").write_text(json.dumps(named), encoding="utf-8")
    return world


@pytest.fixture(scope="module", params=[None, SECRET], ids=["unsigned", "signed"])
def base(request: Any, migrated_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str | None]:
    folder = tmp_path_factory.mktemp("forgeries") / "base"
    folder.mkdir()
    built(folder, migrated_mlflow, request.param)
    return folder, request.param


_copies = count()


@pytest.fixture
def world(base: tuple[Path, str | None]) -> Iterator[World]:
    folder, secret = base
    # A name of its own: MLflow keeps a database's connections by its address.
    copy = folder.parent / f"copy-{next(_copies)}"
    shutil.copytree(folder, copy)
    yield World(copy, secret)
    shutil.rmtree(copy)


# ------------------------------------------------------------------------------------------------ the forgeries


def passing(receipt: Any) -> None:
    receipt["facts"] |= {"passed": True, "decision": "promote", "reason": "all gates passed"}
    receipt["failure"] = None


def gate_that_says_passed(world: World) -> None:
    world.change("poor gate", passing)


def gate_with_verdicts_that_say_passed(world: World) -> None:
    def edit(receipt: Any) -> None:
        passing(receipt)
        ref = world.results["poor gate"].artifacts["verdicts"]
        verdicts = world.store.read_document(ref, Verdicts).verdicts
        lie = Verdicts(verdicts=[one.model_copy(update={"passed": True}) for one in verdicts]).stored()
        receipt["artifacts"]["verdicts"] = world.put(json.dumps(lie, sort_keys=True).encode())

    world.change("poor gate", edit)


def gate_of_the_good_one(world: World) -> None:
    receipt = json.loads(world.file("good gate").read_text(encoding="utf-8"))
    receipt["key"] = world.results["poor gate"].key
    world.file("poor gate").write_text(json.dumps(receipt), encoding="utf-8")


def gate_of_another_pipeline(world: World) -> None:
    for document in ("receipt", "request"):
        shutil.copy(world.file("other gate", document), world.file("poor gate", document))


def gate_of_another_pipeline_renamed(world: World) -> None:
    gate_of_another_pipeline(world)
    key = world.results["poor gate"].key
    world.change("poor gate", lambda receipt: receipt.update(pipeline=NAME, key=key))
    world.change("poor gate", lambda stored: stored["request"].update(pipeline=NAME), "request")


def gate_that_was_asked_nothing(world: World) -> None:
    world.change("poor gate", passing)
    world.change("poor gate", lambda stored: stored["request"]["section"].update(gates=[]), "request")


def gate_whose_key_fits_nothing_that_was_asked(world: World) -> None:
    def edit(stored: Any) -> None:
        stored["request"]["section"]["gates"] = []
        stored["identity"]["section"].pop("gates", None)

    world.change("poor gate", passing)
    world.change("poor gate", edit, "request")


def gate_of_an_earlier_release(world: World) -> None:
    world.change("poor gate", passing)
    world.change("poor gate", lambda stored: {**stored["request"], "allow_list": {"modules": ["os"]}}, "request")


def gate_of_another_step(world: World) -> None:
    world.change("poor gate", passing)
    world.change("poor gate", lambda stored: stored["request"].update(step="score", section={}), "request")


def gate_without_a_request(world: World) -> None:
    world.change("poor gate", passing)
    world.file("poor gate", "request").unlink()


def gate_whose_verdicts_lie_outside(world: World) -> None:
    def edit(receipt: Any) -> None:
        passing(receipt)
        receipt["artifacts"]["verdicts"]["uri"] = "file:///etc/../etc/passwd"

    world.change("poor gate", edit)


def gate_whose_verdicts_are_the_good_ones(world: World) -> None:
    def edit(receipt: Any) -> None:
        passing(receipt)
        receipt["artifacts"]["verdicts"] = world.results["good gate"].artifacts["verdicts"].model_dump()

    world.change("poor gate", edit)


def gate_by_a_symlink(world: World) -> None:
    world.file("poor gate").unlink()
    world.file("poor gate").symlink_to(world.file("good gate"))


def folder_of_the_gate_by_a_symlink(world: World) -> None:
    shutil.rmtree(world.file("poor gate").parent)
    world.file("poor gate").parent.symlink_to(world.file("good gate").parent)


def signature_of_another_receipt(world: World) -> None:
    taken = json.loads(world.file("good gate").read_text(encoding="utf-8"))["signature"]

    def edit(receipt: Any) -> None:
        passing(receipt)
        receipt["signature"] = taken or "0" * 64

    world.change("poor gate", edit)


def evaluation_with_better_facts(world: World) -> None:
    world.change("poor evaluate", lambda receipt: receipt["facts"].update(metrics={"log_loss": 0.01}))
    world.change("poor gate", passing)


def evaluation_of_another_lineage(world: World) -> None:
    world.change("poor evaluate", lambda receipt: receipt["facts"].update(lineage="0" * 64))
    world.change("poor gate", passing)


def evaluation_of_the_good_one(world: World) -> None:
    # The poor model under the good one's evaluation: its gates pass.
    good, poor = world.results["good evaluate"], world.results["poor evaluate"]

    def edit(receipt: Any) -> None:
        receipt["artifacts"]["evaluation"] = good.artifacts["evaluation"].model_dump()
        receipt["facts"] = {
            name: value for name, value in good.facts.items() if name not in ("version", "run_id", "experiment_id")
        }
        assert receipt["artifacts"]["model"]["sha256"] == poor.artifacts["model"].sha256

    world.change("poor evaluate", edit)


def model_of_the_poor_one(world: World) -> None:
    poor = world.results["poor evaluate"]

    def edit(receipt: Any) -> None:
        receipt["artifacts"] |= {role: poor.artifacts[role].model_dump() for role in ("model", "model_info")}

    world.change("good evaluate", edit)


def report_replaced_where_it_lies(world: World) -> None:
    world.change("poor gate", passing)
    good = world.object("good evaluate", "evaluation").read_bytes()
    world.object("poor evaluate", "evaluation").write_bytes(good)


def report_by_a_symlink(world: World) -> None:
    world.change("poor gate", passing)
    world.object("poor evaluate", "evaluation").unlink()
    world.object("poor evaluate", "evaluation").symlink_to(world.object("good evaluate", "evaluation"))


def report_of_the_same_size(world: World) -> None:
    file = world.object("poor evaluate", "evaluation")
    world.change("poor gate", passing)
    file.write_bytes(file.read_bytes().replace(b"0.6", b"0.0"))


def receipt_of_sizes_that_cannot_be(world: World) -> None:
    def edit(receipt: Any) -> None:
        passing(receipt)
        receipt["artifacts"]["verdicts"]["size"] = 10**30

    world.change("poor gate", edit)


def receipt_of_a_gigabyte(world: World) -> None:
    with world.file("poor gate").open("r+b") as file:
        file.truncate(1 << 30)


def receipt_that_never_ends(world: World) -> None:
    world.file("poor gate").write_text('{"facts": ' + "[" * 100_000 + "]" * 100_000 + "}", encoding="utf-8")


def receipt_with_more_than_a_task_returns(world: World) -> None:
    def edit(receipt: Any) -> None:
        passing(receipt)
        receipt["facts"]["more"] = "x" * 100_000

    world.change("poor gate", edit)


FORGERIES = [
    gate_that_says_passed,
    gate_with_verdicts_that_say_passed,
    gate_of_the_good_one,
    gate_of_another_pipeline,
    gate_of_another_pipeline_renamed,
    gate_that_was_asked_nothing,
    gate_whose_key_fits_nothing_that_was_asked,
    gate_of_an_earlier_release,
    gate_of_another_step,
    gate_without_a_request,
    gate_whose_verdicts_lie_outside,
    gate_whose_verdicts_are_the_good_ones,
    gate_by_a_symlink,
    folder_of_the_gate_by_a_symlink,
    signature_of_another_receipt,
    evaluation_with_better_facts,
    evaluation_of_another_lineage,
    evaluation_of_the_good_one,
    report_replaced_where_it_lies,
    report_by_a_symlink,
    report_of_the_same_size,
    receipt_of_sizes_that_cannot_be,
    receipt_of_a_gigabyte,
    receipt_that_never_ends,
    receipt_with_more_than_a_task_returns,
]


@pytest.mark.parametrize("forge", FORGERIES, ids=lambda forge: forge.__name__)
def test_a_model_that_fails_its_gates_does_not_become_champion(world: World, forge: Callable[[World], None]) -> None:
    forge(world)
    why = world.run_again("poor")
    assert world.champions == []
    assert "readonly" not in (why or ""), "it was not MLflow that refused"


def test_without_a_forgery_the_good_one_becomes_champion_and_the_poor_one_does_not(world: World) -> None:
    assert world.run_again("good") is None
    assert world.run_again("poor") is None
    assert world.champions == ["good"]
    [entry] = world.registry.history(NAME)
    gate = world.results["good gate"]
    assert entry.verdicts == gate.artifacts["verdicts"].sha256
    assert entry.evaluation is not None
    assert entry.evaluation.sha256 == world.results["good evaluate"].artifacts["evaluation"].sha256


def test_the_good_ones_evaluation_does_not_make_another_model_champion(world: World) -> None:
    model_of_the_poor_one(world)
    why = world.run_again("good")
    assert "poor" not in world.champions
    if world.secret is None:
        assert why is not None
        assert "names a model that is not one of its candidates" in why
    else:
        assert world.champions == ["good"], "the receipt does not count, and the step ran again"


def test_only_a_secret_tells_a_forged_measurement(world: World) -> None:
    def edit(receipt: Any) -> None:
        report = json.loads(world.object("poor evaluate", "evaluation").read_bytes())
        report["candidates"]["poor"]["metrics"]["log_loss"] = 0.01
        receipt["artifacts"]["evaluation"] = world.put(json.dumps(report, sort_keys=True).encode())
        receipt["facts"]["metrics"] = {"log_loss": 0.01}

    world.change("poor evaluate", edit)
    world.run_again("poor")
    # Without one, whoever may write the store is trusted with what steps have measured: docs say so.
    assert world.champions == (["poor"] if world.secret is None else [])


# ------------------------------------------------------------------------------------------------ no code is run


EVIL = """
import pathlib

pathlib.Path({marker!r}).touch()

def rows(as_of, start):
    return None
"""


@pytest.mark.parametrize("name", ["good evaluate", "good gate"])
@pytest.mark.parametrize("legacy", [False, True], ids=["as today", "as an earlier release"])
def test_no_request_in_the_store_runs_code_when_a_promotion_measures_again(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, *, legacy: bool
) -> None:
    evaluation, gate = world.results["good evaluate"], world.results["good gate"]
    poor = world.results["poor evaluate"]
    # Another became champion meanwhile, so that the challenger has to be measured and gated again.
    lax = world.step("gate", {"gates": [], "metrics": ["log_loss"]}, evaluation=[poor])
    assert not world.promoted(poor, lax).skipped
    folder, marker = world.folder / "attacker", world.folder / "ran"
    folder.mkdir()
    (folder / "evil_rows.py").write_text(EVIL.format(marker=str(marker)), encoding="utf-8")
    attack = {
        "step": "ingest",
        "section": {
            "task": "binary",
            "data": {"source": {"reader": "evil_rows.rows"}, "columns": {"target": "left", "numeric": ["age"]}},
        },
        "allow_list": {"modules": ["evil_rows", "os"], "plugins_folder": str(folder)},
    }

    def edit(stored: Any) -> Any:
        request = {**stored["request"], **attack}
        return request if legacy else {**stored, "request": request}

    world.change(name, edit, "request")
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(ArtifactError, match="recompute"):
        world.promoted(evaluation, gate)
    assert not marker.exists()
    assert world.champions == ["poor"]


def test_the_allow_list_of_a_stored_request_is_the_callers(world: World) -> None:
    mine = AllowList(modules=("xgboost",))
    for name in ("good evaluate", "good gate"):
        raw = json.loads(world.file(name, "request").read_text(encoding="utf-8"))
        assert "allow_list" not in raw["request"]
        assert request_behind(world.store, world.results[name], allow_list=mine).allow_list == mine


# ------------------------------------------------------------------------------------------------ signatures


def test_a_receipt_that_is_not_signed_with_the_secret_is_made_anew_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    former = world.results["good gate"]
    other = World(world.folder, "another secret")
    evaluation = world.results["good evaluate"]
    again = other.step("gate", {"gates": GATES, "metrics": ["log_loss"]}, evaluation=[evaluation])
    assert (again.key, again.cached) == (former.key, False)
    why = "it has no signature" if world.secret is None else "it, or the secret, was changed"
    assert (
        f"Receipt {former.key} of gate is not signed with the store's secret and is computed again: {why}."
        in caplog.text
    )
    assert other.step("gate", {"gates": GATES, "metrics": ["log_loss"]}, evaluation=[evaluation]).cached
    assert "another secret" not in other.file("good gate").read_text(encoding="utf-8")


def test_what_is_behind_an_unsigned_receipt_is_not_read(world: World) -> None:
    with pytest.raises(ArtifactError, match=r"has no valid receipt.*Clear the task"):
        request_behind(World(world.folder, "another secret").store, world.results["good gate"])


def test_a_receipt_of_a_later_release_is_named_with_it(world: World) -> None:
    world.change("good gate", lambda receipt: receipt.update(schema=9, release="7.1.0"))
    with pytest.raises(NewerDocumentError, match=r"by a later release .* 7\.1\.0,.*schema 9.*Install that release"):
        world.judged(world.results["good evaluate"])


# ------------------------------------------------------------------------------------------------ containers


@pytest.mark.parametrize(
    "change",
    [
        {"facts": {"passed": True}},
        {"artifacts": {}},
        {"step": "train"},
        {"pipeline": "other"},
        {"key": "f" * 64},
        {"failure": {"what": "nothing"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_answer_of_a_container_that_no_receipt_bears_out_is_refused(world: World, change: dict[str, Any]) -> None:
    gate = world.results["poor gate"]
    request = request_behind(world.store, gate)
    order = Order(request=request, image="sha256:aa", store=world.store.root)
    assert _vouched(gate, order, world.store) == gate
    forged = StepResult.model_validate({**gate.model_dump(), **change})
    with pytest.raises(MLOpsError, match="returned a result that it did not commit"):
        _vouched(forged, order, world.store)


def test_an_answer_to_another_order_is_refused(world: World) -> None:
    gate = world.results["poor gate"]
    request = request_behind(world.store, gate)
    other = request.model_copy(update={"section": {"gates": [], "metrics": ["log_loss"]}})
    order = Order(request=other, image="sha256:aa", store=world.store.root)
    with pytest.raises(MLOpsError, match="returned a result that it did not commit"):
        _vouched(gate, order, world.store)


def test_an_answer_to_the_same_order_in_other_words_counts(world: World) -> None:
    gate = world.results["poor gate"]
    request = request_behind(world.store, gate)
    spelled = [{**GATES[0], "on_fail": "fail"}, {**GATES[1], "margin": 0.0}]
    other = request.model_copy(update={"section": {"gates": spelled, "metrics": ["log_loss"]}})
    order = Order(request=other, image="sha256:aa", store=world.store.root)
    assert _vouched(gate, order, world.store) == gate


def test_no_secret_is_shown_by_an_order(world: World) -> None:
    order = Order(request=request_behind(world.store, world.results["good gate"]), image="i", store="/s", secret=SECRET)
    assert SECRET not in repr(order)
    assert SECRET not in str(order)
