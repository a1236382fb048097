"""Back to an earlier champion, by hand or because monitoring says so."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_mlops_provider.as_of import in_utc
from airflow_mlops_provider.effects.promotion import PromotionResult
from airflow_mlops_provider.effects.stored_files import check_rollback
from airflow_mlops_provider.exceptions import RegistryError, shorten
from airflow_mlops_provider.registry import resolve
from airflow_mlops_provider.results import StepResult

if TYPE_CHECKING:
    from airflow_mlops_provider.registry import Registry, Target
    from airflow_mlops_provider.storage import ArtifactStore

#: No longer than MLflow's databases take.
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


def roll_back(
    registry: Registry,
    store: ArtifactStore,
    *,
    pipeline: str,
    model: str,
    to: str | int,
    reason: str,
    caller: tuple[str, ...],
    as_of: datetime | None = None,
    approver: str | None = None,
    expected_head: int | None = None,
) -> PromotionResult:
    """Write into the ledger that an earlier champion serves again, and put this one into quarantine.

    The files that the earlier champion needs are read first: what is lost is put back, and without a model nothing is
    written.

    :param to: `previous`, a version, or a date or moment: what served then.
    :param reason: what is wrong with the champion, in words.
    :param caller: DAG, run, task and map index: with `to` the effect's identity, never the try number.
    :param as_of: data time of the change, which its event carries; the new champion's own when left out.
    :param expected_head: `seq` of the entry that is to be rolled back; skipped when another one holds.
    :raises RegistryError: there is no reason, or nothing to go back to, or its model is lost; or the champion changed
        at this very moment and `expected_head` was not given.
    """
    identity = json.dumps([*caller, str(to), expected_head])
    idem = hashlib.sha256(identity.encode()).hexdigest()
    target = parse_target(to)
    history = registry.history(model)
    lost: dict[str, str] = {}
    meant = bool(history) and expected_head in (None, history[-1].seq)
    if meant and reason.strip() and not any(entry.idem == idem for entry in history):
        lost = check_rollback(registry, store, pipeline, model, history, resolve(history, model, target))
    # The champion that was looked at is meant, and no other.
    head = expected_head or (history[-1].seq if history else None)
    outcome = registry.rollback(model, to=target, reason=reason, idem=idem, approver=approver, expected_head=head)
    entry = outcome.entry
    if entry is None:
        raise RegistryError(f"rolling back model {model!r} wrote no ledger entry", got=outcome.reason)
    if outcome.status == "stale" and expected_head is None:
        raise RegistryError(outcome.reason, hint="Check the new champion, and roll it back too if intended.")
    missing = f". Its {' and its '.join(lost)} can no longer be found" if lost else ""
    result = StepResult(
        step="rollback",
        pipeline=pipeline,
        key=idem,
        as_of=as_of or entry.order_key,
        facts={
            "action": "rollback",
            "status": outcome.status,
            "reason": f"{outcome.reason}{missing}",
            "version": entry.version,
            "champion": entry.version,
            "quarantined": entry.quarantined,
            "seq": entry.seq,
            "metrics": dict(entry.metrics),
            **({"lost": sorted(lost)} if lost else {}),
        },
    )
    return PromotionResult(
        result, f"{outcome.reason}{missing}", skipped=outcome.status == "stale", mine=entry.idem == idem
    )


def parse_target(to: str | int) -> Target:
    """Return what to go back to.

    >>> parse_target("previous"), parse_target("3"), parse_target("2026-03-01")
    ('previous', 3, datetime.datetime(2026, 3, 1, 0, 0, tzinfo=datetime.timezone.utc))

    :raises RegistryError: it is none of these.
    """
    text = to.strip() if isinstance(to, str) else shorten(to)
    if text == "previous":
        return "previous"
    if _VERSION.fullmatch(text):
        return int(text)
    try:
        return in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError) as error:
        raise RegistryError(
            "the rollback target is invalid",
            got=text,
            expected="previous, the number of a version, or a date or moment such as 2026-03-01T06:00:00Z",
        ) from error
