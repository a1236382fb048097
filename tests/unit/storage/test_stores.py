"""What every store does: the S3 gateway that two of them need is started once, for this one module."""

from __future__ import annotations

import gc
import hashlib
import json
import math
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_objects import KEY, Place, commit, damage_changed, damage_missing, damage_truncated, forged, receipt

from airflow_mlops_provider import failpoints
from airflow_mlops_provider.exceptions import ArtifactError
from airflow_mlops_provider.results import ArtifactRef, Failure
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable


# One store serves many generated examples: what is stored under a digest does not depend on what was there before.
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)


def test_an_object_is_named_by_its_digest_and_read_back_whole(store: ArtifactStore) -> None:
    ref = store.add_bytes(b"some bytes", ".bin")
    assert ref.sha256 == hashlib.sha256(b"some bytes").hexdigest()
    assert ref.size == 10
    assert ref.uri.endswith(f"/objects/{ref.sha256[:2]}/{ref.sha256}.bin")
    assert store.fetch(ref).read_bytes() == b"some bytes"


@SHARED
@given(data=st.binary(max_size=5000))
def test_any_bytes_survive(store: ArtifactStore, data: bytes) -> None:
    ref = store.add_bytes(data, ".bin")
    assert ArtifactStore(store.root).fetch(ref).read_bytes() == data


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@SHARED
@given(value=JSON)
def test_any_json_survives_and_equal_values_have_equal_digests(store: ArtifactStore, value: Any) -> None:
    ref = store.add_json(value)
    assert store.read_json(ref) == value
    assert store.add_json(json.loads(json.dumps(value))) == ref


@pytest.mark.parametrize("value", [math.nan, math.inf, [1, {"a": -math.inf}]])
def test_numbers_that_are_not_finite_are_refused(store: ArtifactStore, place: Place, value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.add_json(value)
    assert place.names() == []


def test_adding_a_file_takes_it_over(store: ArtifactStore, place: Place) -> None:
    for _ in range(2):
        with store.workspace() as folder:
            file = folder / "f"
            file.write_text("same")
            store.add(file, ".txt")
            assert not file.exists()
    assert len(place.names()) == 1


@pytest.mark.parametrize(
    "suffix", ["", "txt", ".", ".TXT", "./x", "/../x", ".a.b.c", ".tar/", ".a\0", ".%2e", ".txt\n"]
)
def test_a_suffix_cannot_lead_elsewhere(store: ArtifactStore, place: Place, suffix: str) -> None:
    with pytest.raises(ArtifactError, match="suffix is not allowed"):
        store.add_bytes(b"x", suffix)
    assert place.names() == []


@pytest.mark.parametrize("name", ["../../evil", "a/b", "a%2fb", "", "a\\b"])
@pytest.mark.parametrize("part", ["pipeline", "step", "key"])
def test_a_receipt_cannot_be_written_or_read_elsewhere(store: ArtifactStore, part: str, name: str) -> None:
    names = {"pipeline": "tested", "step": "train", "key": KEY, part: name}
    if name == "a/b":
        # A slash alone stays inside the store.
        assert store.read_receipt(**names) is None
        return
    with pytest.raises(ArtifactError):
        store.read_receipt(**names)
    with pytest.raises(ArtifactError):
        store.write_request(**names, request="{}")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_missing, ("is missing", "Clear the task that made it, so that it is computed again")),
        (damage_truncated, ("is damaged", "got 9 bytes", "expected 10 bytes")),
        (damage_changed, ("was changed", "expected", "recompute")),
    ],
)
def test_a_damaged_artifact_is_named_and_never_read(
    store: ArtifactStore, place: Place, damage: Callable[[Place, ArtifactRef], None], says: tuple[str, ...]
) -> None:
    ref = store.add_bytes(b"some bytes", ".bin")
    damage(place, ref)
    with pytest.raises(ArtifactError) as caught:
        ArtifactStore(store.root).fetch(ref)
    for part in (ref.uri, *says):
        assert part in str(caught.value)


def test_a_reference_whose_address_lies_is_refused(store: ArtifactStore) -> None:
    ref = store.add_bytes(b"some bytes", ".bin")
    other = store.add_bytes(b"other", ".bin")
    with pytest.raises(ArtifactError, match="does not contain its digest"):
        store.fetch(forged(ref, uri=other.uri))
    with pytest.raises(ArtifactError, match="does not contain its digest"):
        store.fetch(forged(ref, uri=f"{ref.uri}%2e"))


def test_a_reference_never_leads_out_of_the_store(store: ArtifactStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    for uri in (secret.as_uri(), f"file:///etc/{digest}", f"file:///x/{digest}/../../secret"):
        with pytest.raises(ArtifactError):
            store.fetch(ArtifactRef(uri=uri, sha256=digest, size=6))


def test_an_artifact_is_found_after_the_store_moved(store: ArtifactStore, place: Place) -> None:
    ref = store.add_bytes(b"some bytes", ".bin")
    moved = place.beside("moved")
    for name in place.names():
        moved.write(name, place.read(name))
        place.remove(name)
    assert ArtifactStore(moved.root).fetch(ref).read_bytes() == b"some bytes"
    with pytest.raises(ArtifactError, match="is missing"):
        ArtifactStore(place.root).fetch(ref)


@pytest.mark.parametrize(
    "raw",
    [b"[" * 100_000, b'{"step": ' * 70 + b"1" + b"}" * 70, b"NaN", b"\xff\xfe"],
    ids=["endless", "nested", "no number", "no text"],
)
def test_json_that_nobody_could_hold_is_no_receipt_and_no_artifact(store: ArtifactStore, raw: bytes) -> None:
    ref = store.add_bytes(raw, ".json")
    with store.workspace() as folder:
        (folder / "receipt").write_bytes(raw)
        store.objects.put(f"receipts/tested/train/{KEY}/receipt.json", folder / "receipt")

    assert store.read_receipt("tested", "train", KEY) is None
    with pytest.raises(ArtifactError, match="cannot be read as JSON"):
        store.read_json(ref)


def test_a_receipt_is_read_back_as_cached(store: ArtifactStore) -> None:
    result = receipt(
        {"model": store.add_bytes(b"m", ".bin")},
        facts={"rows": 3, "share": 0.5, "name": None},
        failure=Failure(what="bad", got="1"),
    )
    assert store.read_receipt("tested", "train", KEY) is None
    commit(store, result)
    assert store.read_receipt("tested", "train", KEY) == result.model_copy(update={"cached": True})
    assert store.read_receipt("tested", "train", "b" * 64) is None
    assert store.read_receipt("other", "train", KEY) is None


@pytest.mark.parametrize("damage", [damage_missing, damage_truncated, damage_changed])
def test_adding_the_bytes_again_repairs_a_damaged_artifact(
    store: ArtifactStore, place: Place, damage: Callable[[Place, ArtifactRef], None]
) -> None:
    ref = store.add_bytes(b"some bytes", ".bin")
    damage(place, ref)
    assert store.add_bytes(b"some bytes", ".bin") == ref
    assert ArtifactStore(store.root).fetch(ref).read_bytes() == b"some bytes"


@pytest.mark.parametrize("damage", [damage_missing, damage_truncated])
def test_a_receipt_whose_artifact_is_gone_is_not_there(
    store: ArtifactStore, place: Place, damage: Callable[[Place, ArtifactRef], None]
) -> None:
    ref = store.add_bytes(b"some bytes", ".bin")
    commit(store, receipt({"model": ref}))
    damage(place, ref)
    assert store.read_receipt("tested", "train", KEY) is None
    store.add_bytes(b"some bytes", ".bin")
    assert store.read_receipt("tested", "train", KEY) is not None


def test_a_receipt_whose_request_is_gone_is_not_there(store: ArtifactStore, place: Place) -> None:
    commit(store, receipt())
    place.remove(f"receipts/tested/train/{KEY}/request.json")
    assert store.read_receipt("tested", "train", KEY) is None
    with pytest.raises(ArtifactError, match="Clear the task that made it, so that it is computed again"):
        store.read_request(receipt())


@pytest.mark.parametrize("damage", [damage_missing, damage_truncated, damage_changed])
def test_what_was_read_before_is_read_again_when_it_is_to_be_checked(
    store: ArtifactStore, place: Place, damage: Callable[[Place, ArtifactRef], None]
) -> None:
    ref = store.add_bytes(b"some bytes", ".bin")
    store.check(ref)
    assert store.has(ref)
    assert store.holds(ref)
    damage(place, ref)
    with pytest.raises(ArtifactError):
        store.check(ref)
    assert not store.holds(ref)
    assert store.has(ref) == (damage is damage_changed)


def test_only_the_very_artifact_is_put_back(store: ArtifactStore, place: Place) -> None:
    ref = store.add_bytes(b"some bytes", ".bin")
    damage_missing(place, ref)
    for content in (b"some bytez", b"some"):
        with store.workspace() as folder:
            (folder / "copy").write_bytes(content)
            with pytest.raises(ArtifactError):
                store.put_back(ref, folder / "copy")
        assert not store.has(ref)
    with store.workspace() as folder:
        (folder / "copy").write_bytes(b"some bytes")
        store.put_back(ref, folder / "copy")
    assert store.fetch(ref).read_bytes() == b"some bytes"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"step": "train"}', b"\xff\xfe"])
def test_an_unreadable_receipt_is_not_there(store: ArtifactStore, place: Place, content: bytes) -> None:
    commit(store, receipt())
    place.write(f"receipts/tested/train/{KEY}/receipt.json", content)
    assert store.read_receipt("tested", "train", KEY) is None


def test_a_receipt_of_another_step_or_key_is_not_believed(store: ArtifactStore, place: Place) -> None:
    commit(store, receipt())
    content = place.read(f"receipts/tested/train/{KEY}/receipt.json")
    place.write(f"receipts/tested/train/{'b' * 64}/receipt.json", content)
    assert store.read_receipt("tested", "train", "b" * 64) is None


def test_the_request_behind_a_receipt_is_kept(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match="request behind step 'train' of 'tested' is missing"):
        store.read_request(receipt())
    store.write_request("tested", "train", KEY, '{"seed": 1}')
    assert store.read_request(receipt()) == b'{"seed": 1}'


def add_same(root: str, barrier: Any, rounds: int) -> None:
    store = ArtifactStore(root)
    for index in range(rounds):
        barrier.wait()
        ref = store.add_bytes(f"payload {index}".encode() * 1000, ".bin")
        commit(store, receipt({"model": ref}, key=f"{index:064x}"))


def test_processes_that_race_on_the_same_objects_leave_them_whole(store: ArtifactStore, place: Place) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    workers = [context.Process(target=add_same, args=(store.root, barrier, 20)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    for index in range(20):
        result = store.read_receipt("tested", "train", f"{index:064x}")
        assert result is not None
        assert store.fetch(result.artifacts["model"]).read_bytes() == f"payload {index}".encode() * 1000
    assert not [name for name in place.names() if name.startswith(".tmp")]


def test_threads_may_add_and_read_at_once(store: ArtifactStore, place: Place) -> None:
    def work(index: int) -> bool:
        ref = store.add_bytes(bytes([index % 5]) * 10_000, ".bin")
        return store.fetch(ref).read_bytes() == bytes([index % 5]) * 10_000

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(100)))
    assert len(place.names()) == 5


@pytest.mark.parametrize("point", ["train.receipt.before", "train.receipt.after"])
def test_a_process_killed_at_a_receipt_leaves_all_or_nothing(store: ArtifactStore, tmp_path: Path, point: str) -> None:
    code = f"""
from datetime import UTC, datetime
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.storage import ArtifactStore
store = ArtifactStore({store.root!r})
ref = store.add_bytes(b"model", ".bin")
store.write_request("tested", "train", {KEY!r}, "{{}}")
store.write_receipt(StepResult(step="train", pipeline="tested", key={KEY!r}, as_of=datetime(2013, 3, 1, tzinfo=UTC),
                               artifacts={{"model": ref}}))
"""
    environment = {**os.environ, failpoints.VARIABLE: f"{tmp_path}:{point}"}

    def run() -> int:
        root = Path(__file__).parents[3]
        return subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, check=False).returncode

    assert run() == -9
    assert (store.read_receipt("tested", "train", KEY) is not None) == point.endswith("after")
    assert run() == 0
    result = store.read_receipt("tested", "train", KEY)
    assert result is not None
    assert store.fetch(result.artifacts["model"]).read_bytes() == b"model"


def test_a_workspace_is_removed_when_its_work_fails(store: ArtifactStore, place: Place) -> None:
    def fail() -> None:
        with store.workspace() as folder:
            (folder / "half").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert place.names() == []


def test_a_fetched_file_stays_while_its_path_is_held(store: ArtifactStore) -> None:
    ref = store.add_bytes(b"some bytes", ".bin")
    path = ArtifactStore(store.root).fetch(ref)
    gc.collect()
    assert path.read_bytes() == b"some bytes"
    if store.root.startswith("s3"):
        folder = path.parents[3]
        assert folder.name.startswith("mlops-scratch-")
        del path
        gc.collect()
        assert not folder.exists()
