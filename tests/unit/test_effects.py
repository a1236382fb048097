from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from churn_world import BETTER, CHURN, World, churn_world

from airflow_mlops_provider import effects
from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.registry.write_once import MAX_VALUE

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.storage import ArtifactStore


@pytest.fixture
def world(store: ArtifactStore, mlflow_uri: str, tmp_path: Path) -> World:
    return churn_world(store, mlflow_uri, tmp_path)


def test_a_challenger_is_held_against_the_champion_that_came_meanwhile(world: World) -> None:
    good = world.published(world.trained("good"))
    gate = world.gate(good, BETTER)
    world.make_champion("poor")

    promotion = world.promote(good, gate)

    assert (promotion.skipped, promotion.result.facts["status"]) == (False, "promoted")
    head = world.registry.history(CHURN)[-1]
    assert (head.version, head.compared_with) == (good.facts["version"], 1)
    assert "vs v2" in str(head.gates)


def test_a_challenger_not_better_than_the_champion_that_came_meanwhile_is_skipped(world: World) -> None:
    poor = world.published(world.trained("poor"))
    gate = world.gate(poor, BETTER)
    world.make_champion("good")

    promotion = world.promote(poor, gate)

    assert promotion.skipped
    assert promotion.reason.startswith("Not promoted: not better than champion v2")
    assert promotion.refused == promotion.result
    assert [entry.version for entry in world.registry.history(CHURN)] == [2]


def test_a_gate_that_fails_against_the_champion_that_came_meanwhile_is_red(world: World) -> None:
    poor = world.published(world.trained("poor"))
    gate = world.gate(poor, {**BETTER, "on_fail": "fail"})
    world.make_champion("good")

    refused = world.promote(poor, gate).refused
    assert refused is not None
    assert refused.failure is not None
    assert refused.failure.what == "the challenger fails champion"
    assert [entry.version for entry in world.registry.history(CHURN)] == [2]


def test_a_model_trained_anew_by_changed_code_is_held_against_its_former_self(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.make_champion("good")
    former = world.trained("good")
    monkeypatch.setattr("airflow_mlops_provider.steps.train.FORMAT", 99)  # another key, the same bytes
    anew = world.trained("good")
    assert (anew.key != former.key, anew.artifacts["model"]) == (True, former.artifacts["model"])
    challenger = world.published(anew)

    held_to_the_rule = world.gate(challenger, {**BETTER, "refresh": False})
    promotion = world.promote(challenger, held_to_the_rule)
    assert promotion.skipped
    assert promotion.reason.startswith("Not promoted: not better than champion v1")

    promotion = world.promote(challenger, world.gate(challenger, BETTER))
    assert not promotion.skipped, "it is a refresh"


def test_a_candidates_run_takes_as_long_as_its_training(world: World, mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    model = world.trained("good")
    slow = model.model_copy(update={"facts": {**model.facts, "fit_seconds": 90.0}})

    run = MlflowClient(mlflow_uri).get_run(str(world.published(slow).facts["run_id"]))

    assert run.info.end_time - run.info.start_time == 90_000
    assert run.info.end_time <= datetime.now(UTC).timestamp() * 1000


def test_groups_and_what_the_winner_relies_on_are_in_mlflow(world: World, mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    client, model = MlflowClient(mlflow_uri), world.trained("good")
    plain = client.get_run(str(world.published(model).facts["run_id"])).data.tags["mlflow.parentRunId"]
    assert client.list_artifacts(plain) == []

    requested = {"fairness": {"groups": ["age"], "min_rows": 5}, "explanation": {"method": "permutation"}}
    for _ in range(2):
        world.published(model, **requested)

    metrics = client.get_run(plain).data.metrics
    assert metrics["importance.age"] == 1
    assert 0 < metrics["fairness.age.demographic_parity_difference"] <= 1
    assert [file.path for file in client.list_artifacts(plain)] == ["evaluation.html"]


def test_a_parameter_does_not_hide_the_candidates_own_setting(world: World, mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    calibrated = world.published(world.trained("calibrated"))

    params = MlflowClient(mlflow_uri).get_run(str(calibrated.facts["run_id"])).data.params
    assert params["estimator"] == "sklearn.calibration.CalibratedClassifierCV"
    assert params["params.estimator"] == '{"estimator": "sklearn.linear_model.LogisticRegression"}'
    assert (params["cv"], params["seed"]) == ("2", "0")


def test_gates_that_judged_another_evaluation_are_refused(world: World) -> None:
    good, poor = (world.published(world.trained(name)) for name in ("good", "poor"))

    with pytest.raises(MLOpsError, match=r"did not judge this evaluation.*Clear the gate task"):
        world.promote(poor, world.gate(good, BETTER))
    assert world.registry.history(CHURN) == []


def test_the_ledger_names_what_the_champion_is_watched_by(world: World) -> None:
    evaluation = world.published(world.trained("good"))
    world.promote(evaluation, world.gate(evaluation))

    [entry] = world.registry.history(CHURN)
    champion = effects.as_champion(entry)

    assert entry.reference == champion.reference == evaluation.artifacts["reference"]
    assert entry.evaluation == champion.evaluation == evaluation.artifacts["evaluation"]
    assert len(entry.render()) < MAX_VALUE / 2, "there is room for more gates and longer reasons"


def test_a_champion_that_is_too_good_to_be_true_says_so_wherever_it_stands(world: World) -> None:
    world.customers.write_text("customer,age,left\n" + "".join(f"c{n},{n},{int(n > 199)}\n" for n in range(400)))
    evaluation = world.published(world.trained("good", max_target_association=1), metrics=("roc_auc",))
    gate = world.gate(evaluation, {"kind": "baseline", "metric": "roc_auc"})
    remark = "roc_auc 1 is too good to be true for most data"
    assert remark in world.question(evaluation, gate).body.replace("\\", "")

    assert not world.promote(evaluation, gate).skipped

    [entry] = world.registry.history(CHURN)
    assert entry.reason.startswith(f"all 1 gates passed; {remark}")
    assert [one.startswith(remark) for one in entry.remarks] == [True]
    world.make_champion("poor", max_target_association=1)
    back: Any = {"to": "previous", "reason": "poor", "caller": ("churn_rollback",)}
    again = effects.roll_back(world.registry, world.store, pipeline=CHURN, model=CHURN, **back)
    assert world.registry.history(CHURN)[int(str(again.result.facts["seq"])) - 1].remarks == entry.remarks


def test_what_is_rolled_back_to_is_named_with_all_that_it_was_promoted_with(world: World) -> None:
    world.make_champion("good")
    world.make_champion("poor")
    first, second = world.registry.history(CHURN)

    rollback = effects.roll_back(
        world.registry,
        world.store,
        pipeline=CHURN,
        model=CHURN,
        to="previous",
        reason="poor",
        caller=("churn_rollback",),
    )

    assert (rollback.skipped, rollback.mine) == (False, True)
    assert rollback.result.as_of == second.order_key
    facts = rollback.result.facts
    assert (facts["version"], facts["quarantined"], facts["seq"]) == (first.version, second.version, 3)
    head = world.registry.head(CHURN)
    assert head is not None
    assert effects.as_champion(head).model == first.artifact
    assert (head.reference, head.evaluation) == (first.reference, first.evaluation)


def test_a_question_shows_the_scorecard_and_is_asked_until_it_has_an_answer(world: World) -> None:
    good = world.published(world.trained("good"))
    gate = world.gate(good, BETTER)
    requested = world.question(good, gate)
    assert requested.subject == "Promote version 1 of churn to champion?"
    assert "Champion: no champion yet." in requested.body
    assert "| log\\_loss | **" in requested.body
    assert "| champion | pass |" in requested.body

    message = world.answer(good, "approved", by="anna", rationale="fits the spring")
    assert world.question(good, gate) == message
    assert world.answer(good, "rejected", by="ben") == message, "the first answer holds"
    promotion = world.promote(good, gate, message)
    assert not promotion.skipped
    [entry] = world.registry.history(CHURN)
    assert entry.approver == "anna"
    assert entry.reason.endswith("version 1 was approved by anna: fits the spring")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("rejected", "version 1 was rejected by anna: too soon"),
        ("timed_out", "the request to approve version 1 as champion timed out"),
    ],
)
def test_without_a_yes_nothing_is_promoted_and_the_ledger_says_why(world: World, message: str, words: str) -> None:
    good = world.published(world.trained("good"))
    who = {"by": "anna", "rationale": "too soon"} if message == "rejected" else {}
    promotion = world.promote(good, world.gate(good), world.answer(good, message, **who))
    assert promotion.skipped
    assert words in promotion.reason
    assert world.registry.history(CHURN) == []
    [stored] = world.registry.approvals(CHURN)
    assert words in stored.sentence()


def test_an_approval_does_not_hold_against_a_champion_that_came_after_it(world: World) -> None:
    good = world.published(world.trained("good"))
    gate = world.gate(good, BETTER)
    message = world.answer(good, "approved", by="anna")
    world.make_champion("poor")
    promotion = world.promote(good, gate, message)
    assert promotion.skipped
    assert "the champion changed after it was approved" in promotion.reason
    assert world.registry.head(CHURN).version == 2


def test_nobody_is_asked_about_what_cannot_be_promoted(world: World) -> None:
    good = world.published(world.trained("good"))
    strict = {"kind": "absolute", "metric": "log_loss", "max": 0.001, "on_fail": "skip"}
    assert "the gates refuse the challenger" in world.question(good, world.gate(good, strict)).reason
    gate = world.gate(good)
    assert not world.promote(good, gate).skipped
    assert "version 1 is the champion" in world.question(good, gate).reason


@pytest.mark.parametrize("change", [{"answer": "approved"}, {"answer": "approved", "version": 1}])
def test_an_approval_that_the_ledger_does_not_hold_promotes_nothing(world: World, change: dict[str, Any]) -> None:
    good = world.published(world.trained("good"))
    message = world.answer(good, "rejected", by="anna")
    for forged in (message, message.model_copy(update={"key": "0" * 64})):
        forged = forged.model_copy(update={"facts": {**message.facts, **change}})
        with pytest.raises(MLOpsError, match="the ledger does not contain this approval"):
            world.promote(good, world.gate(good, BETTER), forged)
    assert world.registry.history(CHURN) == []


def test_a_question_that_was_marked_as_answered_promotes_nothing() -> None:
    from airflow_mlops_provider.operators.promotion import PromoteModelOperator

    promote = PromoteModelOperator(task_id="promote", pipeline=CHURN, evaluation={}, gate={}, approval="{{ answer }}")
    promote.approval = None  # what the template comes to
    with pytest.raises(MLOpsError, match="input 'approval' is not the result"):
        promote.run({})


def test_an_approval_of_another_version_is_refused(world: World) -> None:
    good, poor = world.published(world.trained("good")), world.published(world.trained("poor"))
    with pytest.raises(MLOpsError, match="the approval is about another version: got 2, expected 1"):
        world.promote(good, world.gate(good), world.answer(poor, "approved", by="anna"))


# ---------------------------------------------------------------- gates of the user


def test_a_verdict_of_other_code_promotes_nothing_and_says_what_to_clear(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "plugins" / "own_gates.py"
    file.parent.mkdir()
    file.write_text("def fine(evaluation):\n    return {'passed': True, 'got': 'a', 'expected': 'a'}\n")
    monkeypatch.syspath_prepend(str(file.parent))
    world.allow_list = AllowList(plugins_folder=str(file.parent))
    evaluation = world.published(world.trained("good"))
    gate = world.gate(evaluation, {"kind": "custom", "function": "own_gates.fine"})
    file.write_text(file.read_text().replace("'a', 'expected'", "'b', 'expected'"))
    with pytest.raises(MLOpsError, match=r"gate own_gates\.fine has changed since it judged.*Clear the gate"):
        world.promote(evaluation, gate)
    assert world.registry.history("churn") == []
    again = world.gate(evaluation, {"kind": "custom", "function": "own_gates.fine"})
    assert not world.promote(evaluation, again).skipped
