"""Which column numbers or names the rows: by its name, by its values' form, and by being another in every row."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.forms import EXACT, exact_text, is_text
from airflow_mlops_provider.data.kinds import is_number

if TYPE_CHECKING:
    import pyarrow as pa

#: Whole words that name a key, as the last one of a column's name.
_WORDS = frozenset(
    ("id", "ids", "key", "uuid", "guid", "index", "idx", "no", "nr", "number", "rowid", "oid", "pk", "ean", "gtin")
    + ("isbn", "sku", "imei", "iban", "vin", "serial", "ssn", "urn")
)
_STUCK = re.compile(r"(?:id|uuid|guid|key)$", re.I)
#: Words that end as a key's name does, and are none.
_NO_KEYS = re.compile(
    r"(?:paid|grid|humid|fluid|liquid|solid|acid|covid|valid|rapid|avoid|android|hybrid|squid|druid|pyramid|thyroid"
    r"|steroid|monkey|turkey|donkey|hockey|jockey|whiskey)$|^(?:(?:out)?bid|mid|aid|laid|raid|kid|lid|rid|said|void)$",
    re.I,
)
#: Words that end a key's name and other names as well: beside another word only, as in `order no`.
_BESIDE = frozenset({"number", "no", "nr"})
_UUID = "^(?i:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[{][0-9a-f-]{36}[}])$"
#: Whole numbers of so many digits, as many in each row, are written by a counter or a register, not measured.
_CODE_DIGITS = 13


def names_a_key(name: str) -> bool:
    """Return whether a column is called as keys are.

    >>> [names_a_key(name) for name in ("customerID", "PassengerId", "order_no", "ROWID", "id", "Unnamed: 0")]
    [True, True, True, True, True, True]
    >>> [names_a_key(name) for name in ("paid", "humid", "grid", "no", "identity", "monkey", "idle")]
    [False, False, False, False, False, False, False]
    """
    if name.lower().startswith("unnamed"):
        return True
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+", name)]
    if not words or _NO_KEYS.search(words[-1]):
        return False
    if words[-1] in _BESIDE:
        return len(words) > 1
    return words[-1] in _WORDS or bool(_STUCK.search(words[-1]))


def is_code(values: pa.ChunkedArray) -> bool:
    """Return whether values are codes: UUIDs, digits that begin with a zero, whole numbers of 13 digits or more."""
    import pyarrow as pa
    import pyarrow.compute as pc

    present = values.drop_null()
    if not len(present):
        return False
    if is_text(values.type):
        uuids, digits = pc.match_substring_regex(present, _UUID), pc.match_substring_regex(present, "^[0-9]+$")
        return bool(pc.all(uuids).as_py() or pc.all(digits).as_py())
    if not is_number(values.type):
        return False
    texts = exact_text(present)
    if not pc.all(pc.match_substring_regex(texts, "^[0-9]+$")).as_py():
        return False
    lengths: Any = pc.min_max(pc.utf8_length(texts)).as_py()
    if pa.types.is_floating(values.type) and lengths["max"] > len(str(EXACT)):
        return False
    return bool(lengths["min"] >= _CODE_DIGITS and lengths["min"] == lengths["max"])


def is_key(name: str, values: pa.ChunkedArray, distinct: int) -> bool:
    """Return whether a column numbers or names the rows: whole numbers or texts, another in every row.

    :param distinct: how many different values it has.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if distinct != len(values) or not (is_text(values.type) or is_number(values.type)):
        return False
    if pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        texts = exact_text(values)
        if not pc.all(pc.match_substring_regex(texts, "^-?[0-9]+$")).as_py():
            return False
    if names_a_key(name) or is_code(values):
        return True
    if not pa.types.is_integer(values.type):
        return False
    extent: Any = pc.min_max(values).as_py()
    return bool(extent["max"] - extent["min"] == len(values) - 1)
