"""How much of a file is taken in: documents by size and nesting, archives by what they unpack to.

Whoever can write a file should not be able to end the process that reads it.
"""

from __future__ import annotations

import io
import json
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: The largest JSON document: parsed, brackets alone take twenty times as much memory.
MAX_DOCUMENT_BYTES = 16 << 20
#: The deepest one: code that walks through it is not stopped by Python's own limit on recursion.
MAX_DEPTH = 64
#: What any archive may unpack to, and how many times its own size a larger one may.
_ALWAYS_UNPACKED = 256 << 20
_MAX_RATIO = 100


def unpacked_limit(packed: int, always: int = _ALWAYS_UNPACKED) -> int:
    """Return how many bytes an archive of a size may unpack to.

    Text seldom packs to a twentieth, while a bomb packs to a thousandth.

    :param always: what any archive may.
    """
    return max(always, _MAX_RATIO * packed)


def parse_json(raw: bytes | str, *, max_bytes: int = MAX_DOCUMENT_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Return the value in a JSON document.

    >>> parse_json(b'{"rows": [1, 2]}')
    {'rows': [1, 2]}
    >>> parse_json("[" * 65 + "]" * 65)
    Traceback (most recent call last):
    ...
    ValueError: nested more than 64 deep

    :raises ValueError: it is no JSON, too large, nested too deeply, or holds a number that is not finite.
    """
    if len(raw) > max_bytes:
        raise ValueError(f"{len(raw)} bytes, more than {max_bytes}")
    try:
        value = json.loads(raw, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError(f"nested more than {max_depth} deep") from error
    check_depth(value, max_depth)
    return value


def check_depth(value: Any, limit: int = MAX_DEPTH) -> None:
    """Refuse lists and mappings that are nested too deeply, without recursion.

    :raises ValueError: deeper than the limit.
    """
    level = [value]
    for _ in range(limit + 1):
        level = [node for node in level if isinstance(node, (dict, list, tuple))]
        if not level:
            return
        level = [item for node in level for item in (node.values() if isinstance(node, dict) else node)]
    raise ValueError(f"nested more than {limit} deep")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def bounded(stream: IO[bytes], limit: int, error: Callable[[], Exception]) -> io.BufferedReader:
    """Return a stream that ends with an error once more than `limit` bytes were read.

    :param error: what to raise.
    """
    return io.BufferedReader(_Bounded(stream, limit, error), 1 << 20)


class _Bounded(io.RawIOBase):
    def __init__(self, stream: IO[bytes], limit: int, error: Callable[[], Exception]) -> None:
        self._stream, self._left, self._error = stream, limit, error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise self._error()
        buffer[: len(data)] = data
        return len(data)
