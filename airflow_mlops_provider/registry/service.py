"""The registry as operators see it."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import TYPE_CHECKING

from airflow_mlops_provider.as_of import in_utc
from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry import promotion, publishing, quarantine, rollback
from airflow_mlops_provider.registry.approvals import Approvals
from airflow_mlops_provider.registry.client import Connection
from airflow_mlops_provider.registry.decisions import Decisions
from airflow_mlops_provider.registry.errors import DamagedError
from airflow_mlops_provider.registry.files import download_copy
from airflow_mlops_provider.registry.ledger import LedgerEntry, champion_to_beat, comparable_champions, served_at
from airflow_mlops_provider.registry.looks import Looks
from airflow_mlops_provider.registry.mlflow_champions import MlflowChampions, alias
from airflow_mlops_provider.registry.notices import Notices
from airflow_mlops_provider.registry.pages import keep_pages
from airflow_mlops_provider.registry.remarks import remarks
from airflow_mlops_provider.registry.state import read_states
from airflow_mlops_provider.registry.versions import registered_version, version_run
from airflow_mlops_provider.registry.witnesses import still_serving
from airflow_mlops_provider.registry.write_once import experiment_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from pydantic import JsonValue

    from airflow_mlops_provider.registry.approvals import Approval
    from airflow_mlops_provider.registry.decisions import DecisionEntry
    from airflow_mlops_provider.registry.ledger import Ledger
    from airflow_mlops_provider.registry.pages import VersionPage
    from airflow_mlops_provider.registry.promotion import PromotionOutcome, PromotionRequest, Reconciliation
    from airflow_mlops_provider.registry.publication import Publication, Published
    from airflow_mlops_provider.registry.rollback import Target
    from airflow_mlops_provider.registry.state import ModelState
    from airflow_mlops_provider.registry.versions import RegisteredVersion, VersionRun

log = logging.getLogger(__name__)

# MLflow refuses / and : ; quotes and back-quotes would end a search filter.
_NAME = re.compile(r"[^/:'\"`%\\]{1,200}")


class Registry:
    """Runs, versions, the ledger of champions and the alias, in one MLflow.

    Nothing is reached before the first call.

    >>> registry = Registry.connect("sqlite:////data/mlflow.db")
    >>> registry.address
    'sqlite:////data/mlflow.db'
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stores: dict[str, MlflowChampions] = {}
        self._decisions: dict[str, Decisions] = {}
        self._approvals: dict[str, Approvals] = {}

    @classmethod
    def connect(
        cls,
        tracking_uri: str,
        *,
        registry_uri: str | None = None,
        environment: Mapping[str, str] | None = None,
        artifact_root: str | None = None,
    ) -> Registry:
        """Return the registry at a URI; parameters and errors as `Connection`."""
        return cls(
            Connection(tracking_uri, registry_uri=registry_uri, environment=environment, artifact_root=artifact_root)
        )

    @property
    def address(self) -> str:
        """The tracking URI without its password."""
        return self._connection.address

    def ping(self) -> str:
        """Return a sentence that says that MLflow answers.

        :raises TransientServiceError: it cannot be reached.
        :raises RegistryError: it refuses.
        """
        self._connection.retried("testing the connection", lambda client: client.search_experiments(max_results=1))
        return f"MLflow at {self.address} answers."

    def round_trip(self, text: str) -> str:
        """Write a text into MLflow, read it back, and return what came: a tag of an experiment kept for that.

        :raises TransientServiceError: it cannot be reached.
        :raises RegistryError: it refuses, such as a user who may not write.
        """
        name = "mlops-doctor"
        experiment = experiment_id(self._connection, name)
        what = "testing whether MLflow stores what is written"
        self._connection.retried(what, lambda client: client.set_experiment_tag(experiment, "mlops.round_trip", text))
        found = self._connection.retried(what, lambda client: client.get_experiment(experiment))
        return str(found.tags.get("mlops.round_trip"))

    def publish(self, publication: Publication) -> Published:
        """Show a training in MLflow and register its winner as challenger. Safe to repeat.

        :raises TransientServiceError: repeat it with the same publication.
        """
        _check_name(publication.model)
        return publishing.publish(self._connection, publication)

    def keep_pages(self, model: str, version: int, run_id: str, pages: Mapping[str, VersionPage]) -> None:
        """Keep pages about a version with its run. Safe to repeat; see `pages.keep_pages`."""
        _check_name(model)
        keep_pages(self._connection, model, version, run_id, pages)

    def history(self, model: str) -> list[LedgerEntry]:
        """Return the model's ledger, oldest entry first."""
        return self._ledger(model).history()

    def serving(self, model: str) -> list[LedgerEntry]:
        """Return the model's ledger; of a damaged one the entry of the champion that the alias names, alone.

        So what serves goes on serving while nothing is promoted.

        :raises RegistryError: it is damaged, and MLflow does not know the alias's version as the model of its entry.
        """
        ledger = self._ledger(model)
        try:
            return ledger.history()
        except DamagedError as error:
            named = self._store(model).shown()
            entry = still_serving(self._connection, ledger, model, named)
            if entry is None:
                raise
            log.warning("%s Version %s, which the alias names, keeps serving.", error, entry.version)
            return [entry]

    def remarks(self, model: str) -> list[str]:
        """Return what a person should know of the model's ledger, though it can be read."""
        ledger = self._ledger(model)
        return remarks(ledger, ledger.read())

    def head(self, model: str) -> LedgerEntry | None:
        """Return the entry that says who is champion; None before the first."""
        history = self.history(model)
        return history[-1] if history else None

    def champion_to_beat(
        self, model: str, *, as_of: datetime, lineage: str, allow_older: bool = False
    ) -> LedgerEntry | None:
        """Return the entry whose version a challenger is compared with; see `ledger.champion_to_beat`."""
        return champion_to_beat(self.history(model), as_of=as_of, lineage=lineage, allow_older=allow_older)

    def comparable_champions(self, model: str, *, as_of: datetime, allow_older: bool = False) -> list[LedgerEntry]:
        """Return the entries that a challenger may be compared with; see `ledger.comparable_champions`."""
        return comparable_champions(self.history(model), as_of=as_of, allow_older=allow_older)

    def promote(self, request: PromotionRequest) -> PromotionOutcome:
        """Make a version champion, or say why not. Safe to repeat, and to race."""
        return promotion.promote(self._store(request.model), request)

    def quarantine(
        self,
        model: str,
        version: int,
        *,
        reason: str,
        idem: str,
        approver: str | None = None,
        lift: bool = False,
    ) -> PromotionOutcome:
        """Put a version that does not serve into quarantine, or lift that; the champion stays.

        :param idem: the effect's idempotency key.
        :raises RegistryError: there is no reason, no such version or no champion, or the version is the champion.
        :raises TransientServiceError: MLflow cannot be reached; repeat with the same `idem`.
        """
        return quarantine.set_quarantine(
            self._store(model),
            version,
            reason=reason,
            idem=idem,
            approver=approver,
            lift=lift,
        )

    def rollback(
        self,
        model: str,
        *,
        to: Target,
        reason: str,
        idem: str,
        approver: str | None = None,
        expected_head: int | None = None,
    ) -> PromotionOutcome:
        """Make an earlier champion serve again, and put this one into quarantine. Safe to repeat, and to race.

        :param to: `"previous"`, a version, or a moment of wall time: what served then.
        :param reason: what is wrong with the champion, in words.
        :param idem: the effect's idempotency key.
        :param expected_head: `seq` of the entry to be rolled back; when another one holds, the outcome is `stale`.
        :raises RegistryError: there is no reason, or nothing to go back to; says what there is.
        :raises TransientServiceError: MLflow cannot be reached; repeat with the same `idem`.
        """
        return rollback.roll_back(
            self._store(model),
            to=to,
            reason=reason,
            idem=idem,
            approver=approver,
            expected_head=expected_head,
        )

    def served_at(self, model: str, moment: datetime) -> LedgerEntry | None:
        """Return the entry whose version was champion at a wall time; None before the first."""
        return served_at(self.history(model), in_utc(moment))

    def version(self, model: str, version: int) -> RegisteredVersion:
        """Return a registered version, champion or not.

        :raises RegistryError: there is no such version, or it was not published by this package.
        """
        _check_name(model)
        return registered_version(self._connection, model, version)

    def version_run(self, model: str, version: int) -> VersionRun:
        """Return what MLflow knows of a registered version, champion or not, and of the run that made it.

        :raises RegistryError: there is no such version, or its run is gone.
        """
        _check_name(model)
        return version_run(self._connection, model, version)

    def download_copy(self, model: str, version: int, name: str, folder: Path) -> Path:
        """Return MLflow's copy of a file of a version, put into a folder. What it holds is the caller's to check.

        :param name: `MODEL_FILE`, or what `evaluation_file` returns.
        :raises RegistryError: the version, or its file, is not there.
        """
        _check_name(model)
        return download_copy(self._connection, model, version, name, folder)

    def alias(self, model: str, name: str) -> int | None:
        """Return the version that an alias names; None without one."""
        _check_name(model)
        return alias(self._connection, model, name)

    def decisions(self, model: str) -> list[DecisionEntry]:
        """Return what monitoring decided, by window."""
        return self._decisions_of(model).history()

    def write_decision(
        self, model: str, window: datetime, value: Mapping[str, JsonValue], *, idem: str = ""
    ) -> tuple[DecisionEntry, bool]:
        """Keep the decision of a window; of several the first holds, for good.

        :return: the decision that holds, and whether this very call wrote it. A retry after a crash finds
            `entry.idem` equal to its own instead.
        """
        return self._decisions_of(model).write(window, value, idem)

    def states(self, models: Sequence[str], *, decisions: int = 30) -> dict[str, ModelState]:
        """Return where models stand, by name, in a handful of requests for all of them.

        :param decisions: how many of the latest decisions of each are read; 0 asks for none.
        """
        for model in models:
            _check_name(model)
        return read_states(self._connection, models, decisions=decisions)

    def approvals(self, model: str) -> list[Approval]:
        """Return people's answers about the model's challengers, oldest first."""
        return self._approvals_of(model).history()

    def write_approval(self, model: str, approval: Approval) -> Approval:
        """Keep an answer; of several to one question the first holds, for good. Return the one that holds."""
        return self._approvals_of(model).write(approval)

    def looks(self, model: str) -> Looks:
        """Return the log of looks at replacements of the model's champions."""
        _check_name(model)
        return Looks(self._connection, model)

    def notices(self, model: str) -> Notices:
        """Return the log of who was notified of which event."""
        _check_name(model)
        return Notices(self._connection, model)

    def refusal(self, request: PromotionRequest) -> str | None:
        """Return why the version would not become champion now, None when it would; nothing is written.

        A challenger that was compared with another champion than it would have to be now is not refused for that:
        `promote` checks that again.
        """
        refused = promotion.refusal(self.history(request.model), request)
        return None if refused is None or refused[0] == "stale" else refused[1]

    def reconcile(self, model: str, *, repair: bool = True) -> Reconciliation:
        """Compare the alias with the ledger; make them agree when `repair`."""
        return promotion.reconcile(self._store(model), partial(remarks, self._ledger(model)), repair=repair)

    def champions(self, model: str) -> MlflowChampions:
        """Return where it is written who became champion of a model."""
        return self._store(model)

    def _store(self, model: str) -> MlflowChampions:
        _check_name(model)
        if model not in self._stores:
            self._stores[model] = MlflowChampions(self._connection, model)
        return self._stores[model]

    def _ledger(self, model: str) -> Ledger:
        return self._store(model).ledger

    def _approvals_of(self, model: str) -> Approvals:
        _check_name(model)
        if model not in self._approvals:
            self._approvals[model] = Approvals(self._connection, model)
        return self._approvals[model]

    def _decisions_of(self, model: str) -> Decisions:
        _check_name(model)
        if model not in self._decisions:
            self._decisions[model] = Decisions(self._connection, model)
        return self._decisions[model]


def _check_name(model: str) -> None:
    if not _NAME.fullmatch(model):
        raise RegistryError(
            "a registered model cannot have this name",
            got=model,
            expected="1 to 200 characters without / : ' \" ` % \\",
        )
