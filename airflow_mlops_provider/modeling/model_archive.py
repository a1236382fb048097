"""The canonical form of a skops archive: the same model gives the same bytes, in any process.

skops names an archive's members by memory address or at random, and writes the address of every object beside it.
Here members are named by their content and addresses become small numbers, kept only where an object occurs twice:
that is what loading needs them for. skops reads the result like any archive of its own.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from typing import IO, TYPE_CHECKING, Any

from airflow_mlops_provider.bounds import parse_json, unpacked_limit
from airflow_mlops_provider.exceptions import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCHEMA = "schema.json"
#: A stacking of three forests has 1,400 members and a schema of 22 MB, which is 52 deep.
_MAX_MEMBERS = 100_000
_MAX_SCHEMA_BYTES = 256 << 20
_MAX_SCHEMA_DEPTH = 160
#: Arrays of zeros, as of one-hot columns that a model of neighbours keeps, pack to next to nothing.
_ALWAYS_UNPACKED = 512 << 20
#: The earliest time that a zip file can hold, since every member has one.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def write_canonical(archive: IO[bytes], path: Path) -> None:
    """Write a skops archive in canonical form, compressed.

    :raises ValueError: when it refers to objects by address without their content, which skops 0.16 does not do.
    """
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, "w") as target:
        schema = json.loads(source.read(_SCHEMA))
        names = {member: _content_name(source, member) for member in source.namelist() if member != _SCHEMA}
        for name, member in sorted({name: member for member, name in names.items()}.items()):
            _write(target, name, _content(source, member))
        _write(target, _SCHEMA, json.dumps(_Numbered(schema, names).node(schema)).encode())


def canonical_digest(path: Path) -> str:
    """Return the identity of the model in a skops archive, canonical or not: equal for equal models.

    `n_jobs` does not count: it says how a model was made, not what it is. (xgboost and lightgbm write theirs into
    a text of their own, where it does.) Searches such as GridSearchCV keep how long their fits took, so no two of
    them are equal. Processors of another kind may round the last digit differently, which makes another model.

    :raises ModelError: when the file is not a skops archive, or unpacks to far more than it is.
    """
    try:
        check_archive(path)
        with zipfile.ZipFile(path) as archive:
            schema = parse_json(archive.read(_SCHEMA), max_bytes=_MAX_SCHEMA_BYTES, max_depth=_MAX_SCHEMA_DEPTH)
            del schema["_skops_version"]
            names = {member: _content_name(archive, member) for member in archive.namelist() if member != _SCHEMA}
            content = json.dumps(_Identity(names).node(schema))
    # A hostile file makes zipfile, zlib, json and numpy raise nearly anything, MemoryError and RecursionError too.
    except Exception as error:
        raise ModelError(f"{path} is not a skops archive", got=f"{type(error).__name__}: {error}") from error
    return hashlib.sha256(content.encode()).hexdigest()


def check_archive(path: Path) -> None:
    """Refuse a bomb by what an archive says of its members: zipfile unpacks no more of one than that.

    :raises ValueError: says what is too much; zipfile and the disk raise their own errors.
    """
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if len(members) > _MAX_MEMBERS:
        raise ValueError(f"{len(members)} members, more than {_MAX_MEMBERS}")
    if twice := [name for name, count in Counter(member.filename for member in members).items() if count > 1]:
        raise ValueError(f"{twice[0]!r} appears twice")
    if sum(member.compress_size for member in members) > size:
        raise ValueError("overlapping members")
    if (schema := max((each.file_size for each in members if each.filename == _SCHEMA), default=0)) > _MAX_SCHEMA_BYTES:
        raise ValueError(f"a schema of {schema} bytes, more than {_MAX_SCHEMA_BYTES}")
    unpacked, limit = sum(member.file_size for member in members), unpacked_limit(size, _ALWAYS_UNPACKED)
    if unpacked > limit:
        raise ValueError(f"it unpacks to {unpacked} bytes, more than {limit}")


def _content_name(archive: zipfile.ZipFile, member: str) -> str:
    digest = hashlib.sha256(_content(archive, member)).hexdigest()
    return f"{digest}.{member.rpartition('.')[2]}"


def _content(archive: zipfile.ZipFile, member: str) -> bytes:
    """Return a member's bytes, with zeros between the fields of records, where numpy saves whatever lay in memory."""
    data = archive.read(member)
    if not member.endswith(".npy") or b"'descr': [" not in data[:256]:
        return data
    import numpy as np

    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.size > len(data):
        raise ValueError(f"{member} holds {array.size} records in {len(data)} bytes")
    clean = np.zeros(array.shape, array.dtype)  # not zeros_like, which leaves the gaps as they are
    for field in array.dtype.names:
        clean[field] = array[field]
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _NO_TIME)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data, zipfile.ZIP_DEFLATED, compresslevel=1)


class _Identity:
    """Rewrites a schema without addresses, and without what does not belong to a model's identity."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def node(self, value: Any) -> Any:
        """Return the canonical form of one part of a schema."""
        if isinstance(value, list):
            return [self.node(item) for item in value]
        if not isinstance(value, dict):
            return value
        loader = value.get("__loader__")
        if loader == "CachedNode":
            raise ValueError("the archive refers to an object by its address")
        # The order of a set of text differs from process to process.
        unordered = "content" if loader == "SetNode" else None
        return {
            key: self.members(item) if key == unordered else self.item(key, item)
            for key, item in self.entries(value).items()
        }

    def members(self, items: list[Any]) -> list[Any]:
        """Return the canonical forms of a set's items, in an order of their own. Each is made once: sets nest."""
        return sorted((self.node(item) for item in items), key=json.dumps)

    def entries(self, node: dict[str, Any]) -> dict[str, Any]:
        """Return the entries of a node that stay."""
        return {key: None if key == "n_jobs" else item for key, item in node.items() if key != "__id__"}

    def item(self, key: str, item: Any) -> Any:
        """Return the canonical form of one entry of a node."""
        return self.names[item] if key == "file" and isinstance(item, str) else self.node(item)


class _Numbered(_Identity):
    """Rewrites a schema so that skops can load it: objects that occur twice keep a number."""

    def __init__(self, schema: Any, names: dict[str, str]) -> None:
        super().__init__(names)
        self.shared = {address for address, count in Counter(_addresses(schema)).items() if count > 1}
        self.numbers: dict[int, int] = {}

    def entries(self, node: dict[str, Any]) -> dict[str, Any]:
        """Return the entries of a node that stay, its address as a number by first appearance."""
        address = node.get("__id__")
        known = {key: item for key, item in node.items() if key != "__id__"}
        if address in self.shared and node["__loader__"] != "JsonNode":
            known["__id__"] = self.numbers.setdefault(address, len(self.numbers) + 1)
        return known

    def members(self, items: list[Any]) -> list[Any]:
        """Return the canonical forms of a set's items, numbered in the order of what they are."""
        without = _Identity(self.names)
        return [self.node(item) for item in sorted(items, key=lambda item: json.dumps(without.node(item)))]


def _addresses(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        if "__id__" in value:
            yield value["__id__"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _addresses(item)
