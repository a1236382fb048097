"""From what is known to HTML: templates with escaping on, and the headers that go with each kind of page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastapi import Response

from airflow_mlops_provider.as_of import as_of_text

if TYPE_CHECKING:
    from fastapi import Request
    from jinja2 import Environment

Theme = Literal["light", "dark"]

_FOLDER = Path(__file__).parent
#: Of our own pages: nothing from elsewhere, no script but our one file, in no frame but Airflow's own.
_OWN = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_TYPES = {".css": "text/css", ".js": "text/javascript"}


def page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Return one of our pages.

    :param template: its file in `templates`.
    """
    # Mounted at /mlops, below whatever path Airflow itself lies at.
    root = str(request.scope.get("root_path", ""))
    body = (
        _environment()
        .get_template(template)
        .render(**values, root=root, airflow=root.rsplit("/", 1)[0], now=datetime.now(UTC))
    )
    return Response(body, status, headers=_OWN, media_type="text/html")


def sandboxed(body: bytes, *, scripts: bool, gzipped: bool = False, theme: Theme | None = None) -> Response:
    """Return a stored report, in a place of its own: no origin, no session, nothing from elsewhere.

    :param scripts: whether it may run its own scripts, as Evidently's report has to. Without an origin they reach
        nothing.
    :param gzipped: whether the body is gzipped, which a header says to the browser.
    :param theme: Airflow's, which our own pages then follow; else they follow what the browser prefers.
    """
    if theme is not None:
        # What always holds, or never does.
        holds = b"(min-width:0)" if theme == "dark" else b"(max-width:0)"
        body = body.replace(b"(prefers-color-scheme:dark)", holds)
        body = body.replace(b"color-scheme:light dark", f"color-scheme:{theme}".encode())
    inline = "script-src 'unsafe-inline'; " if scripts else ""
    policy = (
        f"sandbox{' allow-scripts' if scripts else ''}; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"font-src data:; {inline}base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    )
    headers = {**_OWN, "Content-Security-Policy": policy}
    if gzipped:
        headers["Content-Encoding"] = "gzip"
    return Response(body, headers=headers, media_type="text/html")


def static_files() -> list[str]:
    """Return the names of the files that pages load."""
    return sorted(file.name for file in (_FOLDER / "static").iterdir())


def static(name: str) -> Response | None:
    """Return a file that pages load; None when there is none of that name."""
    if name not in static_files():
        return None
    file = _FOLDER / "static" / name
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return Response(file.read_bytes(), headers=headers, media_type=_TYPES[file.suffix])


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(_FOLDER / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": moment, "data_time": data_time, "as_of": as_of_text, "ago": ago}
    environment.filters |= {"number": number, "fact": fact, "short": short}
    return environment


def moment(value: datetime) -> str:
    """Return a wall time as people read it.

    >>> moment(datetime(2026, 3, 1, 12, 5, tzinfo=UTC))
    '2026-03-01 12:05 UTC'
    """
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def data_time(value: datetime) -> str:
    """Return a moment of the data as people read it: of midnight the day alone.

    >>> data_time(datetime(2026, 3, 1, tzinfo=UTC)), data_time(datetime(2026, 3, 1, 12, 5, 30, tzinfo=UTC))
    ('2026-03-01', '2026-03-01 12:05 UTC')
    """
    text = as_of_text(value)
    return moment(value) if "T" in text else text


def ago(value: datetime, now: datetime) -> str:
    """Return how long ago something was, or in how long it will be.

    >>> ago(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 3, 1, tzinfo=UTC))
    '2 days ago'
    >>> ago(datetime(2026, 3, 3, tzinfo=UTC), datetime(2026, 3, 2, 22, 30, tzinfo=UTC))
    'in 1 hour'
    """
    span = abs(now - value)
    for unit, length in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if count := span // length:
            words = f"{count} {unit}{'s' * (count > 1)}"
            return f"{words} ago" if value <= now else f"in {words}"
    return "a moment ago" if value <= now else "in a moment"


def number(value: float | None) -> str:
    """Return a metric's value, or a dash where there is none.

    >>> number(0.73558), number(12345.678), number(None)
    ('0.7356', '12,346', '–')
    """
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def fact(value: object) -> str:
    """Return what a step tells as people read it.

    >>> fact(True), fact(19913), fact(0.68333333), fact({"future": 360, "older": 0}), fact(["a", None])
    ('yes', '19,913', '0.6833', 'future: 360, older: 0', 'a, –')
    >>> fact("2026-03-01T12:05:30+00:00"), fact("2 of 3")
    ('2026-03-01 12:05 UTC', '2 of 3')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float | None):
        return number(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {fact(one)}" for name, one in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(fact(one) for one in value)
    return data_time(datetime.fromisoformat(str(value))) if _MOMENT.fullmatch(str(value)) else str(value)


def short(digest: str) -> str:
    """Return enough of a digest to tell it from others.

    >>> short("0123456789abcdef" * 4)
    '0123456789ab'
    """
    return digest[:12]
