"""Texts that are no texts: dates and numbers in a form that no reader takes for what they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

#: So many different values are looked at.
_LOOKED_AT = 1000
_TIME = r"([T ,]+\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]\.?m\.?)?)?"
_DATE = re.compile(
    r"(\d{1,2}[./-]\d{1,2}[./-](\d{2}|\d{4})\.?"  # 31.12.2013, 12/31/13
    r"|\d{4}[./]\d{1,2}[./]\d{1,2}"  # 2013/12/31
    r"|\d{1,2}[. -]+[^\W\d]{3,9}[. ,-]+(\d{2}|\d{4})"  # 31-Dec-2013, 31. Dezember 2013
    r"|[^\W\d]{3,9}\.? \d{1,2},? \d{4})" + _TIME,  # December 31, 2013
    re.I,
)
_NUMBER = re.compile(r"[+-]?\d[\d. \u00a0']*(,\d+)?")


def misread(values: pa.ChunkedArray) -> str | None:
    """Return why a column of texts is not read as such: it holds dates, or numbers with a comma; else None.

    As a category, each date or number would be a value of its own, and a date besides would tell a random split the
    future.

    >>> import pyarrow as pa
    >>> misread(pa.chunked_array([["31.12.2013", "1.1.2014", None]]))
    'dates such as 31.12.2013, which are read as text: write them as 2013-03-01, and they can be the timestamp'
    >>> misread(pa.chunked_array([["1.204,50", "7"]]))
    'numbers such as 1.204,50, which are read as text: write decimals with a point, and no other sign'
    >>> misread(pa.chunked_array([["red", "31.12.2013"]]))
    """
    texts = [str(text).strip() for text in values.drop_null().unique()[:_LOOKED_AT].to_pylist()]
    if all(_DATE.fullmatch(text) for text in texts):
        return (
            f"dates such as {texts[0]}, which are read as text: write them as 2013-03-01, and they can be the timestamp"
        )
    commas = [text for text in texts if "," in text]
    if commas and all(_NUMBER.fullmatch(text) for text in texts):
        return f"numbers such as {commas[0]}, which are read as text: write decimals with a point, and no other sign"
    return None
