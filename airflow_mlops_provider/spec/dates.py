"""The forms of a moment that `data.source.csv.dates` may name."""

from __future__ import annotations

import re

#: Numbers that count from 1970 on, and the unit of each.
EPOCHS = {"epoch_seconds": "s", "epoch_milliseconds": "ms", "epoch_microseconds": "us"}
#: What `%` may stand before, and the text that it means there; by Python's names of them.
DIRECTIVES = {
    "Y": "[0-9]{4}",
    "y": "[0-9]{2}",
    "m": "[0-9]{1,2}",
    "d": "[0-9]{1,2}",
    "H": "[0-9]{1,2}",
    "I": "[0-9]{1,2}",
    "M": "[0-9]{1,2}",
    "S": "[0-9]{1,2}",
    "f": "[0-9]{1,9}",
    "p": "(?i:[ap][.]?m[.]?)",
    "b": "(?i:[a-z]{3})[.]?",
    "B": "(?i:[a-z]{3,9})",
    "z": "(?i:Z|[+-][0-9]{2}(?::?[0-9]{2})?)",
    "Z": "(?i:UTC|GMT|Z)",
}
_TOKEN = re.compile(r"%(.?)|([^%]+)", re.DOTALL)


def date_tokens(dates: str) -> list[tuple[str, str]]:
    """Return the parts of a format: a directive and nothing, or nothing and a text.

    >>> date_tokens("%d.%m.")
    [('d', ''), ('', '.'), ('m', ''), ('', '.')]
    """
    return [("", "%") if match[1] == "%" else (match[1] or "", match[2] or "") for match in _TOKEN.finditer(dates)]


def date_format_problem(dates: str) -> str | None:
    """Return why a form cannot be read; None when it can.

    >>> date_format_problem("%d.%m.%Y"), date_format_problem("epoch_seconds")
    (None, None)
    >>> date_format_problem("%d.%m.")
    'has no year: add %Y or %y'
    """
    if dates in EPOCHS:
        return None
    found = [directive for directive, text in date_tokens(dates) if not text]
    if unknown := [directive for directive in found if directive not in DIRECTIVES]:
        return f"contains %{unknown[0]}, which is not supported. Use: {' '.join('%' + name for name in DIRECTIVES)}"
    if twice := sorted({directive for directive in found if found.count(directive) > 1}):
        return f"contains %{twice[0]} more than once"
    for part, names in {"year": "Yy", "month": "mbB", "day": "d"}.items():
        if not set(names) & set(found):
            return f"has no {part}: add " + " or ".join(f"%{name}" for name in names)
    if "I" in found and "p" not in found:
        return "contains %I, a 12-hour clock, without %p"
    return None
