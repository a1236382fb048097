"""Where many models stand, read in a handful of requests for all of them instead of some for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry.decisions import DECISIONS, DecisionEntry, Decisions
from airflow_mlops_provider.registry.ledger import LEDGER, Ledger, LedgerEntry
from airflow_mlops_provider.registry.remarks import remarks
from airflow_mlops_provider.registry.write_once import read_logs
from airflow_mlops_provider.spec.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.registry.client import Connection

_PAGE = 1000


class ModelState(Frozen):
    """Where one registered model stands.

    :param history: its ledger, oldest entry first.
    :param decisions: the latest of what monitoring decided, by window.
    :param aliases: version by alias.
    :param latest: the newest registered version.
    :param remarks: what a person should know of ledger and decisions, though they can be read.
    :param trouble: why ledger or decisions cannot be read, in words; what can be is there all the same.
    """

    model: str
    history: list[LedgerEntry] = Field(default_factory=list)
    decisions: list[DecisionEntry] = Field(default_factory=list)
    aliases: dict[str, int] = Field(default_factory=dict)
    latest: int | None = None
    remarks: list[str] = Field(default_factory=list)
    trouble: str | None = None


def read_states(connection: Connection, models: Sequence[str], *, decisions: int) -> dict[str, ModelState]:
    """Return where models stand, by name.

    :param decisions: how many of the latest decisions of each are read; 0 asks for none.
    :raises RegistryError, TransientServiceError: as `Connection.ask`; a damaged log is the trouble of its model.
    """
    ledgers = read_logs(connection, LEDGER)
    decided = read_logs(connection, DECISIONS) if decisions else {}
    registered = {
        found.name: found
        for found in connection.pages(
            "reading the registered models",
            lambda client, token: client.search_registered_models(max_results=_PAGE, page_token=token),
        )
    }
    states = {}
    for model in models:
        trouble: list[str] = []
        remarked: list[str] = []
        history = _entries(Ledger(connection, model), ledgers.get(model, {}), remarked, trouble)
        latest = _decisions(Decisions(connection, model), decided.get(model, {}), decisions, remarked, trouble)
        found = registered.get(model)
        states[model] = ModelState(
            model=model,
            history=history,
            decisions=latest,
            aliases={} if found is None else {name: int(version) for name, version in found.aliases.items()},
            latest=max((int(version.version) for version in found.latest_versions), default=None) if found else None,
            remarks=remarked,
            trouble="; ".join(trouble) or None,
        )
    return states


def _entries(
    ledger: Ledger, values: dict[str, str] | None, remarked: list[str], trouble: list[str]
) -> list[LedgerEntry]:
    try:
        chain = ledger.read() if values is None else ledger.parse(values)
        remarked += remarks(ledger, chain)
        return chain.history
    except RegistryError as error:
        trouble.append(str(error))
        return []


def _decisions(
    decisions: Decisions, values: dict[str, str] | None, last: int, remarked: list[str], trouble: list[str]
) -> list[DecisionEntry]:
    try:
        values = decisions.read() if values is None else values
        remarked += decisions.remarks(values, last)
        return decisions.parse(values, last)
    except RegistryError as error:
        trouble.append(str(error))
        return []
