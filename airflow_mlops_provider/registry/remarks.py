"""What a person should know of a ledger that can be read: nothing serves wrongly, and something has to be looked at."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_mlops_provider.as_of import CLOCK_SKEW, as_of_text
from airflow_mlops_provider.registry.ledger import former_champion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.registry.chain import Chain
    from airflow_mlops_provider.registry.ledger import Ledger, LedgerEntry

_UNCERTAIN = "a clock was wrong, so the serving times are uncertain."
#: Of entries with a wrong clock, the latest are named.
_MOST_CLOCKS = 3


def remarks(ledger: Ledger, chain: Chain) -> list[str]:
    """Return what a person should know of a ledger that can be read, in sentences."""
    now = datetime.now(UTC)
    future = champion_of_future(chain.history, now)
    strays = [ledger.stray_words(chain.strays)] if chain.strays else []
    return [*strays, *([future] if future else []), *_of_clocks(chain.history, now)]


def champion_of_future(history: Sequence[LedgerEntry], now: datetime) -> str | None:
    """Return that the champion's data time cannot be, and the way out; None when it can."""
    head = history[-1] if history else None
    if head is None or not head.is_of_future(now):
        return None
    if former_champion(history) is None:
        way_out = "Train with the Param allow_older, which replaces it"
    else:
        way_out = "Roll it back (airflow mlops rollback, or the button on the model's page)"
    return (
        f"version {head.version} became champion (entry {head.seq}) with as_of {as_of_text(head.order_key)}, later "
        f"than the promotion itself, {min(head.at, now):%Y-%m-%d %H:%M} UTC: its as_of is wrong, so no training "
        f"counts as newer. {way_out}: later trainings can then be promoted again."
    )


def _of_clocks(history: Sequence[LedgerEntry], now: datetime) -> list[str]:
    """Return which entries say a wall time that cannot be: what served when is not certain then."""
    found = []
    for before, entry in zip(history, history[1:], strict=False):
        if before.at - entry.at > CLOCK_SKEW:
            found.append(f"{_written(entry)}, before entry {before.seq}: {_UNCERTAIN}")
    if history and history[-1].at - now > CLOCK_SKEW:
        found.append(f"{_written(history[-1])}, which is in the future: {_UNCERTAIN}")
    return found[-_MOST_CLOCKS:]


def _written(entry: LedgerEntry) -> str:
    return f"entry {entry.seq} says that it was written at {entry.at:%Y-%m-%d %H:%M} UTC"
