"""Which candidate goes on when the best of them is another recipe than the champion's."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from evaluated_world import LOGISTIC, STUMP, World, champion_of, rows_of

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.evaluation.gates import judge
from airflow_mlops_provider.modeling.recipes import recipe_of
from airflow_mlops_provider.modeling.splits import read_split
from airflow_mlops_provider.spec import Candidate, ChampionGate

if TYPE_CHECKING:
    from airflow_mlops_provider.evaluation.report import EvaluationReport
    from airflow_mlops_provider.job import Champion
    from airflow_mlops_provider.storage import ArtifactStore

GATE = {"kind": "champion"}
#: The same model in another way: no better than the champion's recipe, and no worse.
TWIN = {**LOGISTIC, "params": {"C": 1.01}}


@pytest.fixture
def world(store: ArtifactStore) -> World:
    return World(store).load(rows_of("binary"))


def champion(world: World, **candidate: dict[str, Any]) -> Champion:
    """Return a champion whose recipe its evaluation tells."""
    [model] = world.train(**candidate)
    evaluation = world.evaluate([model], ["roc_auc"])
    return champion_of(model, evaluation=evaluation.artifacts["evaluation"])


def judged(world: World, against: Champion, *gates: dict[str, Any], **candidates: dict[str, Any]) -> EvaluationReport:
    models = world.train(**candidates)
    section = {
        "metrics": ["roc_auc"],
        "candidates": list(candidates),
        "gates": list(gates),
        "evaluation": {"bootstrap": {"resamples": 200}, "importance": None},
    }
    inputs = {"dataset": world.dataset, "split": world.split, "models": models}
    return world.read(world.run("evaluate", section, champion=against, **inputs))


def test_the_champions_recipe_goes_on_where_the_best_is_not_proven_better(world: World) -> None:
    against = champion(world, old=LOGISTIC)
    # As good to the last digit; by name the first of two.
    report = judged(world, against, GATE, a_twin=TWIN, old=LOGISTIC)
    assert (report.winner, report.held_back and report.held_back.candidate) == ("old", "a_twin")
    assert report.held_back is not None
    [refused] = report.held_back.verdicts
    assert (refused.passed, refused.spent) == (False, pytest.approx(0.025))
    [verdict] = judge([ChampionGate(**GATE)], report)
    assert (verdict.passed, verdict.spent) == (True, None)
    assert verdict.expected.startswith("refresh")
    assert report.optimism is None


def test_a_recipe_that_is_proven_better_goes_before_the_champions(world: World) -> None:
    against = champion(world, old=STUMP)
    report = judged(world, against, GATE, new=LOGISTIC, old=STUMP)
    assert (report.winner, report.held_back) == ("new", None)
    assert judge([ChampionGate(**GATE)], report)[0].spent == pytest.approx(0.025)


def test_what_all_data_was_looked_at_for_waits_while_the_champion_is_refreshed(world: World) -> None:
    against = champion(world, old=STUMP).model_copy(update={"unseen": timedelta(0)})
    report = judged(world, against, GATE, new=LOGISTIC, old=STUMP)
    assert report.winner == "old"
    assert report.held_back is not None
    assert "earlier looks have used all data" in report.held_back.verdicts[0].why


@pytest.mark.parametrize("gates", [(), ({**GATE, "refresh": False},)], ids=["no gate", "no refresh"])
def test_the_best_goes_on_where_nothing_asks_for_a_refresh(world: World, gates: tuple[dict[str, Any], ...]) -> None:
    report = judged(world, champion(world, old=LOGISTIC), *gates, a_twin=TWIN, old=LOGISTIC)
    assert (report.winner, report.held_back) == ("a_twin", None)


def test_an_older_champion_has_no_recipe_that_anybody_knows(world: World) -> None:
    against = champion(world, old=LOGISTIC).model_copy(update={"evaluation": None})
    report = judged(world, against, GATE, old=LOGISTIC)
    assert report.champion is not None
    assert report.champion.recipe is None
    assert judge([ChampionGate(**GATE)], report)[0].spent == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"params": {"C": 2}}, False),
        ({"scale": "none"}, False),
        ({"calibrate": "sigmoid"}, False),
        ({"threshold": 0.3}, False),
        ({"scale": "standard"}, True),  # what it is by default
        ({"search": {"method": "grid", "space": {"C": [1, 2]}}}, False),
    ],
    ids=str,
)
def test_a_recipe_is_what_the_pipeline_file_asks_for(world: World, change: dict[str, Any], same: bool) -> None:
    plan = read_split(world.store, *(world.split[0].artifacts[one] for one in ("split", "assignment"))).plan
    recipes = {recipe_of(Candidate(**LOGISTIC, **each), plan, AllowList()) for each in ({}, change)}
    assert (len(recipes) == 1) is same


def test_a_search_over_more_tasks_is_the_same_recipe_and_other_features_are_not(world: World) -> None:
    plan = read_split(world.store, *(world.split[0].artifacts[one] for one in ("split", "assignment"))).plan
    search = {"method": "grid", "space": {"C": [1, 2, 3]}}
    whole, spread = (Candidate(**LOGISTIC, search={**search, **each}) for each in ({}, {"shards": 2}))
    assert recipe_of(whole, plan, AllowList()) == recipe_of(spread, plan, AllowList())
    fewer = plan.model_copy(update={"columns": plan.columns.model_copy(update={"numeric": plan.columns.numeric[:1]})})
    assert recipe_of(whole, plan, AllowList()) != recipe_of(whole, fewer, AllowList())
