from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry import Registry

DAYS = [datetime(2013, 3, day, tzinfo=UTC) for day in (1, 2, 3)]


def test_a_window_s_first_decision_holds(registry: Registry) -> None:
    assert registry.decisions("flights") == []
    entry, changed = registry.write_decision("flights", DAYS[0], {"action": "keep", "reasons": ["fine"]}, idem="a")
    assert (changed, entry.window, entry.value, entry.idem) == (
        True,
        DAYS[0],
        {"action": "keep", "reasons": ["fine"]},
        "a",
    )

    again = registry.write_decision("flights", DAYS[0], {"action": "retrain"}, idem="b")

    assert again == (entry, False)
    assert registry.decisions("flights") == [entry]


def test_equal_decisions_of_two_writers_at_one_moment_are_one_writer_s(
    mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Noon(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2026, 11, 1, 12, tzinfo=tz)

    monkeypatch.setattr("airflow_mlops_provider.registry.decisions.datetime", Noon)
    one, other = Registry.connect(mlflow_uri), Registry.connect(mlflow_uri)
    written = [each.write_decision("flights", DAYS[0], {"action": "keep"}) for each in (one, other)]
    assert [changed for _, changed in written] == [True, False]
    assert written[0][0] == written[1][0]


def test_decisions_come_by_window_in_whatever_order_they_were_made(registry: Registry) -> None:
    for day in (DAYS[2], DAYS[0], DAYS[1] + timedelta(hours=6)):
        registry.write_decision("flights", day, {"day": day.day})
    assert [entry.value for entry in registry.decisions("flights")] == [{"day": 1}, {"day": 2}, {"day": 3}]


def test_one_moment_in_two_time_zones_is_one_window(registry: Registry) -> None:
    registry.write_decision("flights", DAYS[0], {"n": 1})
    east = DAYS[0].astimezone(timezone(timedelta(hours=2)))
    assert not registry.write_decision("flights", east, {"n": 2})[1]
    assert not registry.write_decision("flights", DAYS[0].replace(tzinfo=None), {"n": 3})[1]


def test_decisions_lie_in_one_run_of_their_own(registry: Registry, client: Any) -> None:
    registry.write_decision("flights", DAYS[0], {"n": 1})
    registry.write_decision("flights", DAYS[1], {"n": 2})
    ensure_run = client.get_experiment_by_name("decisions/flights")
    run = client.get_run(ensure_run.tags["run"])
    assert sorted(run.data.params) == ["window-2013-03-01", "window-2013-03-02"]
    assert run.info.status == "FINISHED"
    shared = client.get_experiment_by_name("mlops-decisions").experiment_id
    assert [found.info.run_id for found in client.search_runs([shared])] == [ensure_run.tags["run"]]
    assert registry.history("flights") == []
    assert registry.decisions("other") == []


def test_a_decision_that_is_too_long_is_refused(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="decision of window 2013-03-01 is too long: got .* most in reasons"):
        registry.write_decision("flights", DAYS[0], {"reasons": ["x" * 6000]})
    assert registry.decisions("flights") == []


def test_damaged_decisions_are_an_error(registry: Registry, client: Any) -> None:
    registry.write_decision("flights", DAYS[0], {"n": 1})
    run = client.get_experiment_by_name("decisions/flights").tags["run"]
    client.log_param(run, "window-2013-03-02", "no json")
    with pytest.raises(RegistryError, match="the decisions of model 'flights' .* window-2013-03-02 cannot be read"):
        registry.decisions("flights")
    client.delete_run(run)
    with pytest.raises(RegistryError, match="was deleted. Restore it: mlflow runs restore"):
        registry.decisions("flights")
