"""What every store of champions has to hold: tests that pytest runs for whoever writes one.

    class TestMyStore(ChampionStoreContract):
        @pytest.fixture(autouse=True)
        def opened(self, tmp_path):
            make_versions_one_to_nine()
            self.open_store = lambda: MyStore(tmp_path, "churn")

The package's own stores pass it: in memory, and MLflow's on SQLite, on PostgreSQL and behind a server.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry.ledger import champion_to_beat
from airflow_mlops_provider.registry.promotion import PromotionRequest, promote, promotion_entry, reconcile
from airflow_mlops_provider.registry.quarantine import set_quarantine
from airflow_mlops_provider.registry.rollback import roll_back
from airflow_mlops_provider.results import ArtifactRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.registry.champion_store import ChampionStore
    from airflow_mlops_provider.registry.ledger import LedgerEntry
    from airflow_mlops_provider.registry.promotion import PromotionOutcome

_SHA = "a" * 64
_WRITERS = 4


class ChampionStoreContract:
    """Tests of a store, in which the versions 1 to 9 are registered and none is champion yet.

    :ivar open_store: opens the store of one model, as another process would: each call gives an object of its
        own (or one that several threads may use), on the same entries.
    """

    open_store: Callable[[], ChampionStore]

    def test_a_new_model_has_no_champion(self) -> None:
        """Nothing is written by looking."""
        assert (self._history(), self.open_store().shown()) == ([], None)

    def test_the_first_version_becomes_champion_and_is_shown(self) -> None:
        """The entry is the first of the log, and whoever opens the store sees it."""
        outcome = self._promote(1)
        assert (outcome.status, outcome.changed) == ("promoted", True)
        assert [(entry.seq, entry.version) for entry in self._history()] == [(1, 1)]
        assert self.open_store().shown() == 1

    def test_entries_follow_each_other_and_stay(self) -> None:
        """Entries are numbered, in order, and read as they were written."""
        written = [self._promote(version).entry for version in (1, 2, 3)]
        found = self._history()
        assert found == written
        assert [entry.seq for entry in found] == [1, 2, 3]
        assert [entry.at for entry in found] == sorted(entry.at for entry in found)
        assert self.open_store().shown() == 3

    def test_a_place_is_taken_once(self) -> None:
        """Of two entries for one place the first holds, and the second learns of it."""
        chain, store = self.open_store().read(), self.open_store()
        first, second = (chain.link(promotion_entry([], self._request(version))) for version in (1, 2))
        assert store.append(first)
        assert not self.open_store().append(second)
        assert [entry.version for entry in self._history()] == [1]

    def test_a_version_of_another_model_is_refused(self) -> None:
        """Each store is of one model."""
        try:
            promote(self.open_store(), self._request(1, model="another"))
        except RegistryError as error:
            assert "another" in str(error)  # noqa: PT017  # pytest is not imported here
        else:
            raise AssertionError("a version of another model was promoted")
        assert not self._history()

    def test_an_effect_that_is_repeated_adds_nothing(self) -> None:
        """A task that is retried or cleared finds its own entry."""
        self._promote(1)
        again = self._promote(1, compared_with=None)
        assert (again.status, again.changed, len(self._history())) == ("already", False, 1)

    def test_what_was_compared_with_another_champion_is_stale(self) -> None:
        """Nothing is promoted that was not held against the champion of now."""
        self._promote(1)
        assert self._promote(2, compared_with=None).status == "stale"
        assert self._promote(3, compared_with=1).status == "promoted"

    def test_older_data_takes_no_place(self) -> None:
        """A champion has newer data than the one before, unless a person wants it otherwise."""
        self._promote(2)
        assert self._promote(1, compared_with=None).status == "older"
        assert self._promote(1, idem="by hand", compared_with=1, allow_older=True).status == "promoted"

    def test_a_rollback_is_one_more_entry(self) -> None:
        """The former champion serves again, and the one that failed may not be promoted."""
        for version in (1, 2):
            self._promote(version)
        outcome = self._roll_back()
        assert (outcome.status, [entry.action for entry in self._history()]) == (
            "rolled_back",
            ["promote", "promote", "rollback"],
        )
        assert self.open_store().shown() == 1
        assert self._promote(2, idem="again", compared_with=3).status == "quarantined"

    def test_each_further_rollback_goes_further_back(self) -> None:
        """What was rolled back is never gone back to."""
        for version in (1, 2, 3):
            self._promote(version)
        assert [self._roll_back(f"rollback {number}").entry for number in (1, 2)] == self._history()[3:]
        assert [entry.version for entry in self._history()] == [1, 2, 3, 2, 1]

    def test_a_quarantine_is_lifted_by_an_entry(self) -> None:
        """The champion goes on serving, whatever happens to another version."""
        self._promote(1)
        bar: dict[str, Any] = {"reason": "late", "idem": "bar"}
        assert set_quarantine(self.open_store(), 2, **bar).status == "quarantined"
        assert self._promote(2, compared_with=2).status == "quarantined"
        lift: dict[str, Any] = {"reason": "a mistake", "idem": "lift", "lift": True}
        assert set_quarantine(self.open_store(), 2, **lift).status == "lifted"
        assert self._promote(2, compared_with=3).status == "promoted"

    def test_a_version_that_is_not_registered_is_refused(self) -> None:
        """No entry names a version that cannot serve."""
        self._promote(1)
        try:
            set_quarantine(self.open_store(), 99, reason="late", idem="bar")
        except RegistryError as error:
            assert "99" in str(error)  # noqa: PT017  # pytest is not imported here
        else:
            raise AssertionError("version 99 was put into quarantine")
        assert len(self._history()) == 1

    def test_of_many_writers_one_wins_each_place(self) -> None:
        """Threads that promote at once leave a log without a gap, and its last entry is shown."""
        with ThreadPoolExecutor(_WRITERS) as pool:
            outcomes = list(pool.map(self._insisting, range(1, _WRITERS + 1)))
        found = self._history()
        assert [entry.seq for entry in found] == list(range(1, len(found) + 1))
        assert len({entry.idem for entry in found}) == len(found)
        promoted = {outcome.entry.idem for outcome in outcomes if outcome.changed and outcome.entry is not None}
        assert {entry.idem for entry in found} == promoted
        assert max(entry.version for entry in found) == _WRITERS
        assert self.open_store().shown() == found[-1].version

    def test_what_is_shown_follows_after_a_crash(self) -> None:
        """A writer that dies between the entry and what shows it leaves a store that repairs itself."""
        self._promote(1)
        store = self.open_store()
        chain = store.read()
        assert store.append(chain.link(promotion_entry(chain.history, self._request(2, compared_with=1))))
        assert store.shown() == 1
        found = reconcile(self.open_store(), lambda _: [])
        assert (found.agrees, found.repaired, found.champion) == (False, True, 2)
        assert self.open_store().shown() == 2
        assert reconcile(self.open_store(), lambda _: []).agrees

    def _history(self) -> list[LedgerEntry]:
        return self.open_store().read().history

    def _promote(self, version: int, *, compared_with: int | None | str = "now", **changes: Any) -> PromotionOutcome:
        store = self.open_store()
        if compared_with == "now":
            request = self._request(version)
            held = champion_to_beat(store.read().history, as_of=request.order_key, lineage=request.lineage)
            compared_with = None if held is None else held.seq
        return promote(store, self._request(version, compared_with=compared_with, **changes))

    def _insisting(self, version: int) -> PromotionOutcome:
        """Promote a version, compared anew as often as another one was quicker."""
        while (outcome := self._promote(version)).status == "stale":
            pass
        return outcome

    def _roll_back(self, idem: str = "rollback") -> PromotionOutcome:
        return roll_back(self.open_store(), to="previous", reason="late", idem=idem)

    def _request(self, version: int, **changes: Any) -> PromotionRequest:
        fields: dict[str, Any] = {
            "model": self.open_store().model,
            "idem": f"task {version}",
            "version": version,
            "digest": f"digest {version}",
            "sha256": _SHA,
            "artifact": ArtifactRef(uri="file:///store/model.skops", sha256=_SHA, size=3),
            "lineage": f"training {version}",
            "order_key": datetime(2013, 3, version, tzinfo=UTC),
            **changes,
        }
        return PromotionRequest(**fields)
