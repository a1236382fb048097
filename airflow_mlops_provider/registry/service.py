"""The registry as operators see it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry import promotion, publishing
from airflow_mlops_provider.registry.client import Connection
from airflow_mlops_provider.registry.ledger import Ledger, LedgerEntry, champion_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from airflow_mlops_provider.registry.promotion import PromotionOutcome, PromotionRequest, Reconciliation
    from airflow_mlops_provider.registry.publication import Publication, Published

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
        self._ledgers: dict[str, Ledger] = {}

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
        self._connection.ask("testing the connection", lambda client: client.search_experiments(max_results=1))
        return f"MLflow at {self.address} answers."

    def publish(self, publication: Publication) -> Published:
        """Show a training in MLflow and register its winner as challenger. Safe to repeat.

        :raises TransientServiceError: repeat it with the same publication.
        """
        _check_name(publication.model)
        return publishing.publish(self._connection, publication)

    def history(self, model: str) -> list[LedgerEntry]:
        """Return the model's ledger, oldest entry first."""
        return self._ledger(model).history()

    def head(self, model: str) -> LedgerEntry | None:
        """Return the entry that says who is champion; None before the first."""
        history = self.history(model)
        return history[-1] if history else None

    def champion_for(
        self, model: str, *, as_of: datetime, lineage: str, allow_older: bool = False
    ) -> LedgerEntry | None:
        """Return the entry whose version a challenger is compared with; see `ledger.champion_for`."""
        return champion_for(self.history(model), as_of=as_of, lineage=lineage, allow_older=allow_older)

    def promote(self, request: PromotionRequest) -> PromotionOutcome:
        """Make a version champion, or say why not. Safe to repeat, and to race."""
        return promotion.promote(self._connection, self._ledger(request.model), request)

    def reconcile(self, model: str, *, repair: bool = True) -> Reconciliation:
        """Compare the alias with the ledger; make them agree when `repair`."""
        return promotion.reconcile(self._connection, self._ledger(model), model, repair=repair)

    def _ledger(self, model: str) -> Ledger:
        _check_name(model)
        if model not in self._ledgers:
            self._ledgers[model] = Ledger(self._connection, model)
        return self._ledgers[model]


def _check_name(model: str) -> None:
    if not _NAME.fullmatch(model):
        raise RegistryError(
            "a registered model cannot have this name",
            got=model,
            expected="1 to 200 characters without / : ' \" ` % \\",
        )
