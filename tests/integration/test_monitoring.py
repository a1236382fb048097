from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from runs import Run, asset_id, events, mlflow_state, registry, runs, settled, until
from watched import BROKEN, DAY, ROWS_A_DAY, START, TURN, day, decided, scored, start

from airflow_mlops_provider.effects.events import Teller, events_of

if TYPE_CHECKING:
    from airflow_mlops_provider.monitoring.governor import Decision
    from local_airflow import LocalAirflow


def train(airflow: LocalAirflow, name: str, number: int, **conf: Any) -> Run:
    return start(airflow, name, "training", number, **conf).ended()


def score(airflow: LocalAirflow, name: str, *numbers: int) -> None:
    """Score days, as their data comes in."""
    for run in [start(airflow, name, "scoring", number) for number in numbers]:
        assert run.ended().state == "success"


@pytest.fixture(scope="module")
def turning(airflow: LocalAirflow) -> dict[int, Decision]:
    """A champion of the old world, and the days on which the world turns; nothing else is done by hand."""
    assert train(airflow, "turning", TURN - 3, candidates=["good"]).state == "success"
    score(airflow, "turning", *range(TURN - 1, TURN + 3))
    stored = decided(airflow, "turning", *range(TURN - 1, TURN + 3))
    until(airflow, lambda: len(registry(airflow).history("turning")) == 2, "turning: a second champion")
    settled(airflow, "turning")
    return stored


def test_a_world_that_turns_leads_to_a_retraining_by_itself(
    airflow: LocalAirflow, turning: dict[int, Decision]
) -> None:
    quiet, first, second, third = (turning[number] for number in range(TURN - 1, TURN + 3))
    assert (quiet.action, quiet.rule) == ("keep", "healthy")
    # The window that ends on a day holds the day before.
    assert (first.action, first.rule) == ("keep", "healthy")
    assert (second.action, second.suppressed, second.why) == ("retrain", True, "1 bad window in a row, 2 are needed")
    assert (third.action, third.rule, third.suppressed) == ("retrain", "decay", False)
    assert third.columns == ["warmth"]
    [requested] = events(airflow, "turning.retrain")
    assert requested["as_of"][:10] == day(TURN + 2)
    [run] = runs(airflow, "turning_training", run_type="asset_triggered")
    assert run["state"] == "success"
    entry = registry(airflow).history("turning")[-1]
    assert (entry.action, entry.version, entry.order_key) == ("promote", 2, START + (TURN + 2) * DAY)
    assert "Retrained for decay: log_loss is" in entry.reason


def test_the_reason_ends_in_mlflow(airflow: LocalAirflow, turning: dict[int, Decision]) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(airflow.mlflow_uri)
    experiment = client.get_experiment_by_name("turning").experiment_id
    parents = client.search_runs([experiment], "tags.`mlops.role` = 'training'", order_by=["attributes.start_time"])
    assert ["mlops.retrain_reason" in run.data.tags for run in parents] == [False, True]
    assert parents[1].data.tags["mlops.retrain_columns"] == "warmth"


def test_a_new_champion_is_scored_with_at_once(airflow: LocalAirflow, turning: dict[int, Decision]) -> None:
    scored = events(airflow, "turning.predictions")
    assert (scored[-1]["as_of"][:10], scored[-1]["version"]) == (day(TURN + 2), 2)
    assert len(runs(airflow, "turning_scoring", run_type="asset_triggered")) == 2, "one for each champion"
    assert mlflow_state(airflow, "turning")["aliases"]["champion"] == 2


def test_clearing_old_monitoring_runs_changes_nothing(airflow: LocalAirflow, turning: dict[int, Decision]) -> None:
    def state() -> Any:
        return (
            registry(airflow).decisions("turning"),
            mlflow_state(airflow, "turning"),
            len(events(airflow, "turning.retrain")),
        )

    before = state()
    for run in runs(airflow, "turning_monitoring"):
        cleared = Run(airflow, "turning", run["dag_run_id"], kind="monitoring").cleared()
        assert cleared.state == "success"
    settled(airflow, "turning")
    assert state() == before


def test_a_storm_asks_for_no_more_than_the_budget_and_decides_every_window(airflow: LocalAirflow) -> None:
    assert train(airflow, "stormy", TURN - 1, candidates=["good"]).state == "success"
    settled(airflow, "stormy")
    days = range(TURN + 1, TURN + 31)
    extras = [scored(airflow, "stormy", number) for number in days]
    asset = asset_id(airflow, "stormy.predictions")
    for extra in extras:
        airflow.post("/api/v2/assets/events", {"asset_id": asset, "extra": extra})
    stored = decided(airflow, "stormy", *days)
    settled(airflow, "stormy")
    assert len(runs(airflow, "stormy_monitoring")) < 30, "events coalesce"
    storm = [stored[number] for number in days]
    passed = [one.as_of for one in storm if one.requests_retraining]
    assert 1 <= len(passed) <= 2, "the budget of 30 days"
    assert all(second - first >= timedelta(days=7) for first, second in zip(passed, passed[1:], strict=False))
    assert all(one.why for one in storm if one.suppressed)
    assert sum(len(requested["windows"]) for requested in events(airflow, "stormy.retrain")) == len(passed)
    assert 1 <= len(runs(airflow, "stormy_training", run_type="asset_triggered")) <= len(passed)


def test_a_bad_model_is_rolled_back_by_itself_once_and_stays_away(airflow: LocalAirflow) -> None:
    assert train(airflow, "probed", 12, candidates=["good"]).state == "success"
    bad = train(airflow, "probed", 14, candidates=["poor"])
    assert (bad.state, bad.states["promote"]) == ("success", "success")
    settled(airflow, "probed")
    assert mlflow_state(airflow, "probed")["ledger"] == [("promote", 1), ("promote", 2)]
    score(airflow, "probed", 15)
    stored = decided(airflow, "probed", 15)
    assert (stored[15].action, stored[15].rule) == ("roll_back", "probation")
    until(airflow, lambda: len(registry(airflow).history("probed")) == 3, "probed: a rollback")
    settled(airflow, "probed")
    entry = registry(airflow).history("probed")[-1]
    assert (entry.action, entry.version, entry.quarantined) == ("rollback", 1, 2)
    assert entry.reason == stored[15].sentence()
    assert mlflow_state(airflow, "probed")["aliases"]["champion"] == 1
    assert events(airflow, "probed.predictions")[-1]["version"] == 1, "scored again with the former champion"

    score(airflow, "probed", 16)
    assert decided(airflow, "probed", 16)[16].action == "keep"
    settled(airflow, "probed")
    lifted = train(airflow, "probed", 14, candidates=["poor"], allow_older=True, lift_quarantine=True)
    assert (lifted.state, lifted.states["promote"]) == ("success", "success")
    assert registry(airflow).history("probed")[-1].version == 2
    settled(airflow, "probed")


def test_a_week_of_broken_data_is_one_incident_that_nothing_is_learned_from(airflow: LocalAirflow) -> None:
    """The window that ends on a day holds the day before."""
    first, last = BROKEN[0] + 1, BROKEN[-1] + 1
    assert train(airflow, "broken", BROKEN[0], candidates=["good"]).state == "success"
    settled(airflow, "broken")
    score(airflow, "broken", first)
    decided(airflow, "broken", first)
    for number in range(first + 1, last + 1):
        extra = scored(airflow, "broken", number)
        airflow.post("/api/v2/assets/events", {"asset_id": asset_id(airflow, "broken.predictions"), "extra": extra})
    decided(airflow, "broken", *range(first, last + 1))
    score(airflow, "broken", last + 1)
    stored = decided(airflow, "broken", *range(first, last + 2))
    settled(airflow, "broken")
    ended = [stored[number].incident for number in range(first, last + 2)]
    assert ended == ["begins", *["lasts"] * 6, "over"]
    for quiet in (first - 1, last + 1):
        assert (stored[quiet].action, stored[quiet].rule) == ("keep", "healthy")
    assert stored[first].reasons == ["warmth: 60.0% of the values are missing (at most 30% allowed, usually 0.0%)"]
    reported = [one for one in events_of(registry(airflow), "broken", "broken", [], Teller()) if "incident" in one.kind]
    assert [one.kind for one in reported] == ["incident", "incident_over"]
    assert events(airflow, "broken.retrain") == []
    assert runs(airflow, "broken_training", run_type="asset_triggered") == []

    partition = airflow.artifacts / "predictions" / "broken" / f"as_of={day(first)}" / "predictions.parquet"
    assert pd.read_parquet(partition)["imputed"].mean() == 0.6
    again = train(airflow, "broken", last + 3, candidates=["good"])
    assert again.state == "success", again.states
    assert again.value("ingest")["facts"]["excluded"]["incident"] == len(BROKEN) * ROWS_A_DAY
