"""Whatever is wrong with a model's file ends in one error, soon: scoring then goes on with the former champion."""

from __future__ import annotations

import io
import json
import random
import time
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import skops.io
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from airflow_mlops_provider.exceptions import ModelError
from airflow_mlops_provider.modeling.model_archive import canonical_digest
from airflow_mlops_provider.modeling.model_file import load_model, save_model
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
MODEL = make_pipeline(SimpleImputer(), LogisticRegression()).fit(X, X[:, 0] > 0)
#: What one file may cost at most, on a busy machine too.
SECONDS = 20.0

#: A node as skops writes it.
LIST = {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "__id__": 1, "protocol": 2}
SET = {**LIST, "__class__": "set", "__loader__": "SetNode"}


def archive(schema: bytes | dict[str, Any], members: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("schema.json", schema if isinstance(schema, bytes) else json.dumps(schema))
        for name, data in (members or {}).items():
            file.writestr(name, data)
    return buffer.getvalue()


def array(header: str, body: bytes = b"") -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def nested(kind: dict[str, Any], depth: int) -> dict[str, Any]:
    node: dict[str, Any] = {**kind, "content": []}
    for _ in range(depth):
        node = {**kind, "content": [node, {**LIST, "content": []}]}
    return {**node, "_skops_version": "0.16.0"}


def zeros() -> bytes:
    block = bytes(1 << 26)
    return archive(nested(LIST, 1), {f"{index}.npy": block for index in range(9)})


def large_schema() -> bytes:
    raw = bytearray(archive(b" " * (1 << 20)))
    at = raw.index(b"PK\x01\x02") + 24
    raw[at : at + 4] = (1 << 30).to_bytes(4, "little")
    return bytes(raw)


def overlapping() -> bytes:
    # The directory lists one member's bytes under a hundred names.
    raw = archive(b"{}", {"a.npy": RNG.bytes(5000)})
    end = raw.rindex(b"PK\x05\x06")
    start = int.from_bytes(raw[end + 16 : end + 20], "little")
    entry = raw[raw.index(b"PK\x01\x02", start + 1) : end]
    more = b"".join(entry.replace(b"a.npy", f"{index:05}".encode()) for index in range(100))
    directory = raw[start:end] + more
    counts = (102).to_bytes(2, "little") * 2
    return (
        raw[:start] + directory + raw[end : end + 8] + counts + len(directory).to_bytes(4, "little") + raw[end + 16 :]
    )


def encrypted() -> bytes:
    raw = bytearray(archive(nested(LIST, 1)))
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


def another_compression() -> bytes:
    raw = bytearray(archive(nested(LIST, 1)))
    raw[raw.index(b"PK\x01\x02") + 10] = 99
    return bytes(raw)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "more zeros than it may unpack to": zeros,
    "a schema of a gigabyte": large_schema,
    "members that overlap": overlapping,
    "two members of one name": lambda: archive(nested(LIST, 1), {"schema.json ": b""}).replace(b".json ", b".json\x00"),
    "a password": encrypted,
    "a compression that nobody knows": another_compression,
    "no schema": lambda: archive(b"{}").replace(b"schema.json", b"schemo.json"),
    "a schema that is no object": lambda: archive(b"[1, 2]"),
    "a schema that is a number": lambda: archive(b"1"),
    "a schema that is no text": lambda: archive(b"\xff\xfe\x00\xd8"),
    "a number of 5,000 digits": lambda: archive(b'{"_skops_version": ' + b"1" * 5000 + b"}"),
    "a number that is none": lambda: archive(b'{"_skops_version": 1, "a": NaN}'),
    "100,000 nested lists": lambda: archive(b'{"_skops_version": 1, "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "300 nested nodes": lambda: archive(nested(LIST, 300)),
    "a set of nothing": lambda: archive({**SET, "content": None, "_skops_version": "1"}),
    "a set of numbers": lambda: archive({**SET, "content": 7, "_skops_version": "1"}),
    "a file that is not there": lambda: archive({**LIST, "file": "x.npy", "_skops_version": "1"}),
    "a reference": lambda: archive({**LIST, "__loader__": "CachedNode", "_skops_version": "1"}),
    "an array of a petabyte": lambda: archive(
        nested(LIST, 1),
        {"a.npy": array("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (125000000000000,), }\n")},
    ),
    "an array of nothing, a billion times": lambda: archive(
        nested(LIST, 1),
        {"a.npy": array("{'descr': [('a', '|S0')], 'fortran_order': False, 'shape': (1000000000000,), }\n")},
    ),
    "an array of pickles": lambda: archive(
        nested(LIST, 1),
        {"a.npy": array("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,), }\n", b"cos\nsystem\n")},
    ),
    "an array whose header is code": lambda: archive(
        nested(LIST, 1), {"a.npy": array("{'descr': [__import__('os').system('true')]}\n")}
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_one_error_soon(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(HOSTILE[name]())
    started = time.perf_counter()

    with pytest.raises(ModelError, match="is not a skops archive"):
        canonical_digest(path)

    assert time.perf_counter() - started < SECONDS


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_not_loaded(name: str, tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))
    ref = store.add_bytes(HOSTILE[name](), ".skops")
    started = time.perf_counter()

    with pytest.raises(ModelError, match="cannot be read|is not a model"):
        load_model(store, ref)

    assert time.perf_counter() - started < SECONDS


def test_sets_in_sets_take_no_longer_the_deeper_they_are(tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(archive(nested(SET, 60)))
    started = time.perf_counter()

    canonical_digest(tmp_path / "model.skops")

    assert time.perf_counter() - started < SECONDS


def test_whatever_is_damaged_is_one_error(tmp_path: Path) -> None:
    chance = random.Random(3)
    path = tmp_path / "model.skops"
    save_model(MODEL, path)
    good, refused = path.read_bytes(), 0
    with zipfile.ZipFile(io.BytesIO(good)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    schema = members.pop("schema.json")
    for number in range(2000):
        data = bytearray(schema if number % 2 else good)
        for _ in range(chance.choice((1, 3, 10))):
            data[chance.randrange(len(data))] = chance.choice((0, 34, 44, 91, 93, 123, 255, chance.randrange(256)))
        path.write_bytes(archive(bytes(data), members) if number % 2 else bytes(data))
        try:
            canonical_digest(path)
        except ModelError:
            refused += 1

    assert refused > 700


def test_what_is_no_model_is_not_given_to_whoever_predicts(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))

    with pytest.raises(ModelError, match="is not a model: got dict"):
        load_model(store, store.add_bytes(skops.io.dumps({"a": 1}), ".skops"))
