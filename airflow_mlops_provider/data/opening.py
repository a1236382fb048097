"""Opens files that others have written, plain, zipped or gzipped, within bounds; knows what is no text at all."""

from __future__ import annotations

import errno
import gzip
import lzma
import re
import struct
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast

from airflow_mlops_provider.bounds import bounded, unpacked_limit
from airflow_mlops_provider.exceptions import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEAD_BYTES = 1 << 16
_BOM = b"\xef\xbb\xbf"
_DESKTOP = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
#: What to do about a CSV file of another encoding.
SET_ENCODING = "Save it as UTF-8, or name its encoding in data.source.csv.encoding."
_DAMAGED = (
    zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError, struct.error, UnicodeDecodeError,
    NotImplementedError, RuntimeError,  # zipfile's, for a compression that it does not know, and for a password
)  # fmt: skip


@contextmanager
def opened(path: Path, where: str) -> Iterator[IO[bytes]]:
    """Open a file, unpacked within bounds; turn what a damaged archive raises into one DataError."""
    if path.suffix.lower() not in (".zip", ".gz"):
        with path.open("rb") as plain:
            yield plain
        return
    limit = unpacked_limit(path.stat().st_size)
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = [name for name in archive.namelist() if _is_data(name)]
                if len(members) != 1:
                    raise DataError(f"{where} must contain exactly one file", got=members)
                with archive.open(members[0]) as member, bounded(member, limit, lambda: _bomb(where, limit)) as within:
                    yield within
        else:
            with gzip.open(path) as packed:
                member = cast("IO[bytes]", packed)
                with bounded(member, limit, lambda: _bomb(where, limit)) as within:
                    yield within
    except _DAMAGED as error:
        raise _damaged(where, error) from error
    except OSError as error:
        # A directory at the end of an archive that names places before its beginning.
        if error.errno != errno.EINVAL:
            raise
        raise _damaged(where, error) from error


def _is_data(name: str) -> bool:
    """Return whether a member of an archive is a file that was packed, not what a desktop adds of its own."""
    parts = name.split("/")
    return not (name.endswith("/") or "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] in _DESKTOP)


def _damaged(where: str, error: Exception) -> DataError:
    return DataError(f"{where} is a damaged or truncated archive", got=str(error), hint="Write the file again.")


def _bomb(where: str, limit: int) -> DataError:
    return DataError(
        f"{where} unpacks to far more than its size",
        expected=f"at most {limit >> 20} MiB",
        hint="If the content is right, store it unpacked or in several files.",
    )


def check_text(head: bytes, where: str, expected: str, encoding: str = "utf-8") -> None:
    """Refuse what is no text, by its first bytes."""
    if not head.removeprefix(_BOM).strip():
        raise DataError(f"{where} is empty", expected=f"{expected} with at least one row")
    refuse_web_page(head, where, expected)
    if b"\0" in head and encoding == "utf-8":
        hint = SET_ENCODING if expected == "CSV" else "Save it as UTF-8."
        raise DataError(f"{where} is not UTF-8 text", got=repr(head[:8]), expected=expected, hint=hint)


def refuse_web_page(head: bytes, where: str, expected: str) -> None:
    """Refuse what a login or an error page was saved as."""
    start = head.removeprefix(_BOM).lstrip()
    if re.match(rb"<(!doctype|html|\?xml|!--)", start, re.IGNORECASE):
        raise DataError(
            f"{where} is a web page, not {expected}",
            got=" ".join(start[:80].decode(errors="replace").split()),
            hint="Download the file itself; a login or error page was probably saved instead.",
        )


def head_of(path: Path, where: str) -> bytes:
    """Return the first bytes of a file, unpacked."""
    with opened(path, where) as stream:
        return stream.read(_HEAD_BYTES)
