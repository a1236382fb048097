from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_mlops_provider.effects.watching import champion_pair
from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.overview import timeline
from airflow_mlops_provider.registry import PromotionOutcome, PromotionRequest, Registry, former_champion, made_champion
from airflow_mlops_provider.registry.ledger import quarantine

Bar = Callable[..., PromotionOutcome]


@pytest.fixture
def bar(registry: Registry, versions: Callable[[str, int], None], request_for: Callable[..., PromotionRequest]) -> Bar:
    """Of five versions, the first two were promoted one after the other."""
    versions("flights", 5)
    for version in (1, 2):
        registry.promote(request_for(version, day=version, compared_with=version - 1 or None, remarks=["odd"]))

    def set_quarantine(version: int, idem: str = "by hand", reason: str = "leaks", **more: Any) -> PromotionOutcome:
        return registry.quarantine("flights", version, reason=reason, idem=idem, **more)

    return set_quarantine


def test_a_version_that_never_served_is_barred_and_the_champion_serves_on(
    registry: Registry, client: Any, bar: Bar, request_for: Callable[..., PromotionRequest]
) -> None:
    before = registry.history("flights")[-1]
    outcome = bar(4, reason=" leaks ", approver="ann")
    assert (outcome.status, outcome.changed) == ("quarantined", True)
    assert outcome.reason == "version 4 is in quarantine (entry 3), and version 2 keeps serving: leaks"
    [*_, entry] = registry.history("flights")
    own = {"seq", "previous", "nonce", "idem", "at", "approver", "reason", "quarantined", "compared_with"}
    assert entry.model_dump(exclude=own) == before.model_dump(exclude=own)
    assert (entry.approver, entry.quarantined) == ("ann", 4)
    found = {int(one.version): one.tags.get("mlops.status") for one in client.search_model_versions("name='flights'")}
    assert found == {1: "archived", 2: "champion", 3: None, 4: "quarantined", 5: None}
    assert registry.alias("flights", "champion") == 2

    refused = registry.promote(request_for(4, day=9, compared_with=3))
    assert (refused.status, refused.reason) == ("quarantined", "version 4 is in quarantine")
    assert registry.promote(request_for(5, day=9, compared_with=3)).status == "promoted"


def test_a_former_champion_is_not_gone_back_to(registry: Registry, bar: Bar) -> None:
    bar(1)
    with pytest.raises(RegistryError, match="no champion is left before version 2"):
        registry.rollback("flights", to="previous", reason="late", idem="rollback")
    assert bar(1, "lift", lift=True).status == "lifted"
    assert registry.rollback("flights", to="previous", reason="late", idem="rollback").status == "rolled_back"
    assert quarantine(registry.history("flights")) == {2}


def test_whoever_looks_at_the_champion_sees_the_same_tenure_as_before(registry: Registry, bar: Bar) -> None:
    history = registry.history("flights")
    watched, former = champion_pair(history), former_champion(history)
    bar(4)
    bar(5, "another")
    bar(4, "lift", lift=True)
    history = registry.history("flights")
    assert len(history) == 5
    assert champion_pair(history) == watched
    assert former_champion(history) == former
    assert made_champion(history) == history[1]
    assert [one.action for one in timeline(history)] == ["promote", "promote", "quarantine", "quarantine", "lift"]


def test_after_a_rollback_as_well(registry: Registry, bar: Bar) -> None:
    registry.rollback("flights", to="previous", reason="late", idem="rollback")
    before = champion_pair(registry.history("flights"))
    bar(4)
    history = registry.history("flights")
    assert (history[-1].action, history[-1].version, quarantine(history)) == ("rollback", 1, {2, 4})
    assert champion_pair(history) == before
    assert former_champion(history) is None


@pytest.mark.parametrize("lift", [False, True])
def test_done_again_it_writes_nothing(lift: bool, registry: Registry, bar: Bar) -> None:
    if lift:
        bar(4, "first")
    written = bar(4, lift=lift).entry
    again, asked_anew = bar(4, lift=lift), bar(4, "another time", lift=lift)
    assert (again.status, again.entry) == ("already", written)
    assert (asked_anew.status, asked_anew.changed) == ("already", False)
    assert f"version 4 is {'not ' if lift else ''}in quarantine" in asked_anew.reason
    assert registry.history("flights")[-1] == written


@pytest.mark.parametrize(
    ("version", "more", "message"),
    [
        (2, {}, "serves as version 2: another has to serve instead. Roll back"),
        (9, {}, "has no version 9 in MLflow"),
        (4, {"reason": "  "}, "needs a reason"),
    ],
)
def test_what_cannot_be_barred(version: int, more: dict[str, Any], message: str, registry: Registry, bar: Bar) -> None:
    with pytest.raises(RegistryError, match=message):
        bar(version, **more)
    assert len(registry.history("flights")) == 2


def test_without_a_champion_there_is_no_ledger_to_write(registry: Registry, versions: Callable[..., None]) -> None:
    versions("flights", 1)
    with pytest.raises(RegistryError, match="the model never had a champion"):
        registry.quarantine("flights", 1, reason="leaks", idem="by hand")
    assert registry.history("flights") == []
