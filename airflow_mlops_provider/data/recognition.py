"""Which values look like e-mail addresses, telephone, card and national identity numbers.

An e-mail address is found anywhere in a text. The others have to be the whole value, and in a form that other numbers
do not have: a telephone number needs a plus or separators, a card number a known first digit and the checksum of Luhn
(ISO/IEC 7812-1), a national number its own checksum, by python-stdnum.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from airflow_mlops_provider.spec.privacy import Kind

#: Kinds that a value is not by chance.
CERTAIN = frozenset({"email", "phone"})
#: Share of the values that has to look so otherwise: one random number in ten passes Luhn.
LEAST_SHARE = 0.2

_EMAIL = r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,}"
# International, with a plus; North American with separators; European, a zero and groups.
_PHONE = (
    r"^\s*(\+[0-9][0-9 ().\-/]{6,18}[0-9]"
    r"|(1[-. ])?(\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-. ])[0-9]{3}[-. ][0-9]{4}"
    r"|0[0-9]{1,4}([ /\-][0-9]{2,8}){1,5})\s*$"
)
_CARD = r"^\s*[2-6]([ -]?[0-9]){12,18}\s*$"
_NATIONAL = r"^\s*[0-9A-Za-z][0-9A-Za-z .\-+/]{6,22}[0-9A-Za-z]\s*$"
_SOME_DIGITS = r"([^0-9]*[0-9]){5}"
_FEWEST_PHONE_DIGITS, _MOST_PHONE_DIGITS = 8, 15  # E.164 allows 15


def count_kind(kind: Kind, values: pa.StringArray, counts: pa.Array, national_ids: Sequence[str]) -> int:
    """Return how many values look like a kind.

    :param values: distinct ones.
    :param counts: how often each is there.
    """
    import pyarrow.compute as pc

    patterns = {"email": [_EMAIL], "phone": [_PHONE], "card": [_CARD], "national_id": [_NATIONAL, _SOME_DIGITS]}
    mask = pc.match_substring_regex(values, patterns[kind][0])
    for pattern in patterns[kind][1:]:
        mask = pc.and_(mask, pc.match_substring_regex(values, pattern))
    mask = pc.fill_null(mask, False)
    if kind == "email":
        return int(pc.sum(counts.filter(mask)).as_py() or 0)
    fits = _fits(kind, tuple(national_ids))
    candidates = zip(values.filter(mask).to_pylist(), counts.filter(mask).to_pylist(), strict=True)
    return sum(count for value, count in candidates if fits(value.strip()))


@cache
def _fits(kind: Kind, national_ids: tuple[str, ...]) -> Callable[[str], bool]:
    if kind == "phone":
        return lambda value: _FEWEST_PHONE_DIGITS <= len(re.sub(r"\D", "", value)) <= _MOST_PHONE_DIGITS
    if kind == "card":
        luhn = _stdnum("luhn")
        return lambda value: bool(luhn.is_valid(re.sub(r"\D", "", value)))
    checks = {name: _stdnum(name) for name in national_ids}
    if unfit := [name for name, check in checks.items() if not hasattr(check, "is_valid")]:
        raise SpecError("data.privacy.national_ids names a module without a check", got=unfit[0])

    def is_national(value: str) -> bool:
        # Nearly all numbers of nine digits are valid social security numbers, so only those with hyphens count.
        return any(check.is_valid(value) for name, check in checks.items() if name != "us.ssn" or "-" in value)

    return is_national


def _stdnum(name: str) -> Any:
    try:
        return import_module(f"stdnum.{name}")
    except ImportError as error:
        if error.name == "stdnum":
            raise SpecError(
                "data.privacy.recognise: card and national_id need python-stdnum",
                hint="Install airflow-mlops-provider[privacy].",
            ) from error
        raise SpecError("data.privacy.national_ids names a module unknown to python-stdnum", got=name) from error
