"""What a look at a replacement of the champion spends, from a training to the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from churn_world import write_customers

from airflow_mlops_provider import effects
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.runner import run_step

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.effects import PromotionResult
    from airflow_mlops_provider.registry.looks import Look
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

CHURN = "churn"
GATES = [{"kind": "champion"}]
START = datetime(2013, 3, 1, tzinfo=UTC)
LOGISTIC = "sklearn.linear_model.LogisticRegression"
CANDIDATES = {
    "good": {"estimator": LOGISTIC},
    "poor": {"estimator": "sklearn.dummy.DummyClassifier"},
    # As good as `good`, by other recipes.
    "twin": {"estimator": LOGISTIC, "params": {"C": 0.9}},
    "triplet": {"estimator": LOGISTIC, "params": {"C": 0.8}},
}


@dataclass
class Training:
    """One run of the training DAG: which candidates, and when."""

    world: World
    names: tuple[str, ...]
    day: int

    def found(self) -> StepResult:
        """Return what the task `champion` finds now."""
        return effects.find_comparable_champions(
            self.world.registry,
            self.world.store,
            pipeline=CHURN,
            model=CHURN,
            as_of=START + timedelta(days=self.day),
            allow_older=False,
        )

    def judged(self, comparable: StepResult | None = None) -> tuple[StepResult, StepResult]:
        """Return the published evaluation and what the gates said of it."""
        world, as_of = self.world, START + timedelta(days=self.day)
        comparable = self.found() if comparable is None else comparable
        models = [world.trained(name, as_of) for name in self.names]
        champion = effects.champion_to_compare(world.store, comparable, models)
        section = {"metrics": ["log_loss"], "candidates": list(self.names), "gates": GATES}
        inputs = effects.evaluation_inputs(world.store, models)
        evaluated = effects.compared(world.step("evaluate", section, as_of, champion, **inputs), champion)
        gate = world.step("gate", {"gates": GATES, "metrics": ["log_loss"]}, as_of, evaluation=[evaluated])
        return effects.publish(world.registry, world.store, evaluated, model=CHURN, tags={}, gate=gate), gate

    def promote(self, judged: tuple[StepResult, StepResult]) -> PromotionResult:
        caller = ("churn_training", f"{self.day} {self.names}", "promote", "-1")
        return effects.promote(self.world.registry, self.world.store, *judged, model=CHURN, caller=caller)

    def run(self) -> PromotionResult:
        return self.promote(self.judged())


@dataclass
class World:
    """Real steps on a real store, and a real MLflow database."""

    store: ArtifactStore
    registry: Registry
    customers: Path

    def step(self, name: str, section: dict[str, Any], as_of: datetime, champion: Any = None, **inputs: Any) -> Any:
        request = StepRequest(step=name, pipeline=CHURN, as_of=as_of, section=section, inputs=inputs, champion=champion)
        return run_step(request, self.store)

    def trained(self, name: str, as_of: datetime) -> StepResult:
        columns = {"target": "left", "numeric": ["age"], "keys": ["customer"]}
        data = {"source": {"uri": str(self.customers)}, "columns": columns}
        dataset = [self.step("ingest", {"task": "binary", "data": data}, as_of)]
        split = [self.step("prepare", {"split": {"by": "random", "holdout": 0.5}}, as_of, dataset=dataset)]
        section = {"name": name, "candidate": CANDIDATES[name]}
        trained: StepResult = self.step("train", section, as_of, dataset=dataset, split=split)
        return trained

    def training(self, *names: str, day: int) -> Training:
        return Training(self, names, day)

    def looks(self) -> list[Look]:
        return self.registry.looks(CHURN).history()


@pytest.fixture
def world(store: ArtifactStore, mlflow_uri: str, tmp_path: Path) -> World:
    return World(store, Registry.connect(mlflow_uri), write_customers(tmp_path))


def test_a_refused_replacement_is_a_look_and_costs_the_next_one(world: World) -> None:
    world.training("good", day=0).run()
    assert world.looks() == []

    assert world.training("twin", day=1).run().skipped
    [first] = world.looks()
    assert (first.spent, first.candidate) == (pytest.approx(0.025), "twin")

    # The same again is the same look, though it is cleared or comes another day.
    world.training("twin", day=1).run()
    world.training("twin", day=2).run()
    assert world.looks() == [first]

    world.training("triplet", day=3).run()
    assert [look.spent for look in world.looks()] == pytest.approx([0.025, 2 * 0.025 / 90])


def test_the_champion_goes_on_and_spends_nothing_of_its_own(world: World) -> None:
    first = world.training("poor", day=0).run()
    refreshed = world.training("good", "poor", day=1)
    evaluation, gate = refreshed.judged()
    assert (evaluation.facts["winner"], gate.facts["passed"]) == ("good", True)
    # Another training looked at all data meanwhile, and promoted nothing.
    promoted = refreshed.promote((evaluation, gate))
    assert not promoted.skipped
    assert promoted.result.facts["champion"] != first.result.facts["champion"]


def test_of_two_looks_at_the_same_data_one_may_replace_the_champion(world: World) -> None:
    world.training("poor", day=0).run()
    one, other = world.training("good", day=1), world.training("twin", day=1)
    found = other.found()
    judged, also = one.judged(), other.judged(found)
    assert [gate.facts["passed"] for _, gate in (judged, also)] == [True, True]
    # What the slower one was judged by is spent.
    refused = other.promote(also)
    assert refused.skipped
    assert "no error rate left" in refused.reason
    assert refused.refused is not None
    assert not one.promote(judged).skipped
    assert [look.candidate for look in world.looks()] == ["good", "twin"]


def test_a_look_that_nobody_wrote_down_is_written_before_it_is_acted_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.training("poor", day=0).run()
    training = world.training("good", day=1)
    with monkeypatch.context() as forgetful:
        forgetful.setattr("airflow_mlops_provider.effects.publishing.keep_look", lambda *_, **__: None)
        judged = training.judged()
    assert world.looks() == []
    assert not training.promote(judged).skipped
    assert len(world.looks()) == 1
