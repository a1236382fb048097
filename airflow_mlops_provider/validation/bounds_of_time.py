"""Bounds on the timestamp: Great Expectations compares moments in UTC with nothing that has no zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import SpecError

if TYPE_CHECKING:
    from airflow_mlops_provider.spec import Expectation

_BOUNDS = ("min_value", "max_value")


def in_utc_bounds(expectation: Expectation, timestamp: str | None) -> Expectation:
    """Return an expectation with the bounds of the timestamp as moments in UTC: a day is its midnight.

    :param timestamp: the column of moments.
    :raises SpecError: for a bound that is no moment.
    """
    kwargs = expectation.kwargs
    if timestamp is None or kwargs.get("column") != timestamp or "between" not in expectation.type:
        return expectation
    if "length" in expectation.type or "count" in expectation.type or "proportion" in expectation.type:
        return expectation
    moments = {name: _in_utc(kwargs[name], expectation.type) for name in _BOUNDS if kwargs.get(name) is not None}
    return expectation.model_copy(update={"kwargs": {**kwargs, **moments}}) if moments else expectation


def _in_utc(bound: Any, where: str) -> str:
    try:
        moment = datetime.fromisoformat(bound) if isinstance(bound, str) else bound
    except ValueError:
        moment = None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if not isinstance(moment, datetime):
        raise SpecError(
            f"{where} has a bound on the timestamp that is not a date or time",
            got=bound,
            expected="such as 2013-03-01 or 2013-03-01T06:00:00Z",
        )
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.isoformat().replace("+00:00", "Z")
