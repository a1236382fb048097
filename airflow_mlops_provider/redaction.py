"""What may be shown of addresses and of foreign texts: the one place that renders an address for people.

Libraries disagree on where a password ends, and repeat it in forms of their own. So an address is shown only as far as
it is understood without doubt, every text of an error passes through `hide`, and what is known to be secret is
remembered by this process: hooks add what connections hold.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, quote_plus, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy.engine import URL

HIDDEN = "***"
#: Characters from which on a secret is blotted out wherever it stands, and as a word of its own. A shorter one would
#: blank half of every text: only its place in an address or behind `password=` hides it.
_ANYWHERE, _AS_A_WORD = 6, 4
#: Words of services and of our own texts: who takes one for a password has none, and every text would have gaps.
_NO_SECRETS = frozenset(
    (
        "airflow",
        "mlflow",
        "postgres",
        "redis",
        "docker",
        "password",
        "secret",
        "token",
        "login",
        "user",
        "admin",
        "test",
    )
    + ("guest", "none", "null", "true", "false")
)

_SCHEME = re.compile(r"(?P<jdbc>jdbc:)?(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,30})://")
#: Nothing in it can be a login or a query, however it is parsed.
_PLAIN = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://(?:[\w.-]*|\[[0-9A-Fa-f:.]+(?:%25\w+)?\])(?::\d{0,5})?(?:/[^@?#;\s]*)?", re.ASCII
)
#: These have no login: what follows the scheme is a path, or a bucket and a key.
_FILE = re.compile(r"(?:file|sqlite(?:\+\w+)?):///[^?#]*|s3[an]?://[A-Za-z0-9._-]+(?:/[^?#]*)?")
_HOST = re.compile(r"[\w.-]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%25\w+)?")
_USER = re.compile(r"[A-Za-z_][\w.-]{0,19}")
_QUERY_KEY = re.compile(r"[A-Za-z][\w.-]{0,40}")
#: What stands for the password beside a token.
NO_PASSWORDS = ("", "x-oauth-basic")
_HTTP = ("http", "https", "ws", "wss")

_SECRET = (
    r"password|passwd|passphrase|\bpwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key"
    r"|signature|credential|\bsig|\bauth|odbc_connect"
)
_NAME = rf"(?:{_SECRET})(?:[_-]?(?:id|value|key|\d+))?"
_SECRET_NAME = re.compile(_SECRET, re.I)
_VALUE = r"\"[^\"]*\"|'[^']*'|\{[^}]*\}|[^\s,;&)'\"<>]+"
_KEYED = re.compile(rf"(?i)({_NAME}[\"']?\s*=\s*)(?:{_VALUE})")
_QUOTED = re.compile(rf"(?i)([\"'][\w.-]{{0,60}}{_NAME}[\"']\s*:\s*)(?:\"[^\"]*\"|'[^']*')")
_HEADER = re.compile(r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer)\s+)[\w+/=.~-]+")
#: With blanks or quotes in the password, else up to the next blank or quote.
_ADDRESS = re.compile(
    r"(?:jdbc:)?[A-Za-z][A-Za-z0-9+.-]{0,30}://(?:[^\s:/@]*:(?!\d+\b)[^\s@][^@\n]{0,200}@)?[^\s'\"<>`]*",
    re.ASCII,
)
_LOGIN = re.compile(
    r"(?<![\w/])(?:[\w.%+-]{0,60}:(?!//)(?:(?!://)[^\s@'\"]){1,200}|[\w.]{1,60}/[^\s@/'\"]{1,200}(?=@//))@(?=//|[\w\[])"
)
_BARE = re.compile(r"(?<![:\w/])//[^\s/@'\"]{0,60}:[^\s@'\"]{1,200}@")
_TRAILING = re.compile(r"[),.:;}!]+$")
_LONGEST = 20_000

_known: set[str] = set()


class Login(NamedTuple):
    """Who an address says is asking; a user alone may be a token."""

    user: str
    password: str | None


def shown(address: object) -> str:
    """Return an address as anybody may see it; `***` stands for what may be secret or is not understood.

    >>> shown("postgresql://me:hush@db:5432/mlflow")
    'postgresql://me:***@db:5432/mlflow'
    >>> shown("https://token@host/x?key=hush")
    'https://***@host/x?key=***'
    >>> shown("me:hush@host")
    '***'
    """
    text = str(address).strip()
    start = _SCHEME.match(text)
    if start is None:
        return _without_scheme(text)
    if _PLAIN.fullmatch(text) or _FILE.fullmatch(text):
        return text
    shape = _rendered(text.removeprefix(start["jdbc"] or ""))
    return (start["jdbc"] or "") + (f"{start['scheme']}://{HIDDEN}" if shape is None else shape)


def endpoint(address: str) -> str | None:
    """Return host, port and path of an address, without login and query; None when they are not clear.

    >>> endpoint("https://me:hush@mlflow.example.org:5000/team/?token=hush")
    'mlflow.example.org:5000/team'
    """
    visible = shown(address)
    place = visible.partition("://")[2].partition("?")[0].partition("#")[0].rpartition("@")[2].rstrip("/")
    return None if not place or HIDDEN in place else place


def login_of(address: str) -> Login | None:
    """Return the login that an address holds, None when it holds none or is not understood."""
    url = _parsed(address.strip()) if "@" in address else None
    if url is None or (url.username is None and url.password is None):
        return None
    return Login(url.username or "", None if url.password is None else str(url.password))


def secrets_in(address: str) -> frozenset[str]:
    """Return every text of an address that nobody may see, as any library may repeat it."""
    text = str(address).strip()
    found = {*_by_hand(text), *_of_query(text)}
    login = login_of(text)
    if login is not None and login.password in NO_PASSWORDS and text.startswith("http"):
        found.add(login.user)
    elif login is not None and login.password:
        # As it travels in the header of a request.
        found |= {login.password, b64encode(f"{login.user}:{login.password}".encode()).decode()}
    # Libraries that end a password elsewhere repeat a piece of it as a host or a port.
    found |= {piece for secret in found for piece in re.split(r"[#/?@]+", secret) if len(piece) > _AS_A_WORD}
    return frozenset(form for secret in found if secret.lower() not in _NO_SECRETS for form in _forms(secret))


def secrets_of(fields: object, name: str = "") -> frozenset[str]:
    """Return what a mapping such as a connection's extra holds that nobody may see, by its names and addresses."""
    if isinstance(fields, dict):
        return frozenset().union(*(secrets_of(value, str(key)) for key, value in fields.items()))
    if isinstance(fields, (list, tuple)):
        return frozenset().union(*(secrets_of(value, name) for value in fields))
    if not isinstance(fields, str):
        return frozenset()
    own = set(_forms(fields)) if _SECRET_NAME.search(name) else set()
    return frozenset(own | (secrets_in(fields) if re.search("[@=?]", fields) else set()))


def remember(secrets: Iterable[str]) -> None:
    """Hide these texts in every error of this process from now on."""
    _known.update(secret for secret in secrets if len(secret) >= _AS_A_WORD and secret.lower() not in _NO_SECRETS)


def forget() -> None:
    """Forget what was remembered; for tests."""
    _known.clear()


def hide(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without what may be secret in it: known secrets, and those in addresses and settings.

    >>> hide("cannot open 'postgresql://me:hush@db/x': password=hush, ann:hush@host")
    "cannot open 'postgresql://me:***@db/x': password=***, ***@host"
    """
    text = text[:_LONGEST]
    if (known := _pattern(frozenset({*_known, *secrets, *_in_environment()}))) is not None:
        text = known.sub(HIDDEN, text)
    text = _ADDRESS.sub(_shown_within, text)
    for pattern in (_HEADER, _QUOTED, _KEYED):
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    return _LOGIN.sub(f"{HIDDEN}@", _BARE.sub(f"//{HIDDEN}@", text))


def first_line(error: BaseException) -> str:
    """Return the first line of what a library says, as it may be shown."""
    return hide(next(iter(str(error).splitlines()), type(error).__name__))


def cause_to_show(error: BaseException, secrets: Iterable[str] = ()) -> BaseException | None:
    """Return the error as the cause of ours, None when it holds a secret: a log shows the words of every cause."""
    secrets = frozenset(secrets)
    texts = [str(link) for link in chain(error)]
    return error if all(hide(text, secrets) == text[:_LONGEST] for text in texts) else None


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it, as a log shows them."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def is_database_address(text: str) -> bool:
    """Return whether SQLAlchemy takes an address for that of a database."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(text)
    except (ArgumentError, ValueError):
        return False
    return True


def _without_scheme(text: str) -> str:
    is_path = text.startswith(("/", "./", "../", "~/")) and not text.startswith("//")
    if is_path and not re.search(r":[^/]*@", text):
        return hide(text)
    if "@" in text or "//" in text or _KEYED.search(text):
        return HIDDEN
    place, mark, _ = text.partition("?")
    return f"{place}?{HIDDEN}" if mark else place


def _parsed(text: str) -> URL | None:
    """Return an address as SQLAlchemy understands it, None when it does not, or another library might not so."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        return None
    place = text.partition("?")[0] if url.username is None and url.password is None else text
    if place.count("@") > 1 or not _HOST.fullmatch(url.host or "") or "@" in (url.database or ""):
        return None
    return None if url.username is not None and _is_host_first(text) else url


def _is_host_first(text: str) -> bool:
    """Return whether the standard library takes for the host what SQLAlchemy takes for the login."""
    try:
        parts = urlsplit(text)
        return "@" not in parts.netloc and (parts.port is not None or ":" not in parts.netloc)
    except ValueError:
        return False


def _rendered(text: str) -> str | None:
    url = _parsed(text)
    if url is None:
        return None
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host or ""
    port = "" if url.port is None else f":{url.port}"
    # SQLAlchemy decodes it, and knows no fragment.
    path, mark, _ = (url.database or "").partition("#")
    path = "" if url.database is None else "/" + quote(path, safe="/ :=+,~!$&'()*")
    query = "&".join(f"{key if _QUERY_KEY.fullmatch(key) else HIDDEN}={HIDDEN}" for key in url.query)
    if not query and "?" in text.rpartition("@")[2]:
        query = HIDDEN
    rest = (f"#{HIDDEN}" if mark else "") + (f"?{query}" if query else "")
    return f"{url.drivername}://{_shown_login(url)}{host}{port}{path}{rest}"


def _shown_login(url: URL) -> str:
    if url.username is None and url.password is None:
        return ""
    user, password = url.username or "", str(url.password or "")
    # On the web a user alone is a token, and so is one whose password says just that.
    is_token = url.drivername in _HTTP and password in NO_PASSWORDS
    if is_token or not (_USER.fullmatch(user) or (password and not user)):
        return f"{HIDDEN}@"
    return f"{user}:{HIDDEN}@" if password else f"{user}@"


def _by_hand(text: str) -> set[str]:
    """Return what may be a password by any reading: all up to each `@`, and all after the user's name."""
    scheme, found, rest = text.partition("://")
    userinfo = (rest if found else text).rpartition("@")[0]
    user, colon, password = userinfo.partition(":")
    is_token = bool(found) and scheme in _HTTP
    whole = password if colon else user if is_token else ""
    if not whole or (found and _FILE.fullmatch(text)):
        return set()
    ends = [index for index, char in enumerate(whole) if char == "@"]
    return {whole, *(whole[:end] for end in ends)}


def _of_query(text: str) -> set[str]:
    """Return the values of what is named like a secret, in a query, a connection string or JDBC's parameters."""
    found = {match[1] or match[2] for match in re.finditer(r"\?([^=&\s@]+)$|[?&]key=([^&\s]+)", text)}
    for layer in (text, unquote(text), unquote(unquote(text))):
        for match in re.finditer(rf"(?i){_NAME}\s*=\s*({_VALUE})", layer):
            found |= {match[1], match[1].strip("\"'{}")}
    return found


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it may be repeated: encoded, decoded once and twice, and as Python and JSON write it."""
    decoded = unquote(secret)
    for text in dict.fromkeys((secret, decoded, unquote(decoded))):
        yield from (text, quote(text, safe=""), quote(text), quote_plus(text), quote(quote(text, safe=""), safe=""))
        yield from (repr(text)[1:-1], json.dumps(text)[1:-1], text.encode("unicode_escape").decode())


@lru_cache(maxsize=64)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    parts = []
    for secret in sorted(secrets, key=lambda text: (-len(text), text)):
        if len(secret) >= _ANYWHERE:
            parts.append(f"(?i:{re.escape(secret)})")  # some libraries write a host in small letters
        elif len(secret) >= _AS_A_WORD:
            parts.append(rf"(?<!\w){re.escape(secret)}(?!\w)")
    return re.compile("|".join(parts)) if parts else None


def _shown_within(match: re.Match[str]) -> str:
    text = match[0]
    trailing = _TRAILING.search(text)
    end = trailing.start() if trailing is not None else len(text)
    return shown(text[:end]) + text[end:]


def _in_environment() -> frozenset[str]:
    """Return what the addresses hold by which this process reaches services: proxies, databases, brokers, engines."""
    return _secrets_of_all(tuple(value for value in os.environ.values() if "@" in value and _SCHEME.match(value)))


@lru_cache(maxsize=8)
def _secrets_of_all(addresses: tuple[str, ...]) -> frozenset[str]:
    return frozenset().union(*map(secrets_in, addresses))
