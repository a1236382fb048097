"""`as_of`: the moment before which data is seen, and the one template variable of a pipeline file."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

#: By how much the clocks of two machines may differ: so much later than now is not the future yet.
CLOCK_SKEW = timedelta(minutes=5)
_AS_OF = re.compile(r"\{\{\s*as_of\s*\}\}")


def in_utc(moment: datetime) -> datetime:
    """Return a moment in UTC; one without a zone is in UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def as_of_text(as_of: datetime) -> str:
    """Return how `as_of` is written: a date at midnight UTC, else a moment in UTC to the second.

    >>> as_of_text(datetime(2013, 3, 1, tzinfo=UTC)), as_of_text(datetime(2013, 3, 1, 6, tzinfo=UTC))
    ('2013-03-01', '2013-03-01T06:00:00Z')
    """
    moment = in_utc(as_of)
    midnight = (moment.hour, moment.minute, moment.second, moment.microsecond) == (0, 0, 0, 0)
    return moment.strftime("%Y-%m-%d" if midnight else "%Y-%m-%dT%H:%M:%SZ")


def render_as_of(value: Any, as_of: datetime) -> Any:
    """Return `value` with `{{ as_of }}` filled in, in every string of nested lists and mappings.

    >>> render_as_of({"uri": ["/data/{{ as_of }}.csv"]}, datetime(2013, 3, 1, tzinfo=UTC))
    {'uri': ['/data/2013-03-01.csv']}
    """
    if isinstance(value, str):
        return _AS_OF.sub(as_of_text(as_of), value)
    if isinstance(value, dict):
        return {key: render_as_of(item, as_of) for key, item in value.items()}
    if isinstance(value, list):
        return [render_as_of(item, as_of) for item in value]
    return value
