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
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_mlops_provider import failpoints
from airflow_mlops_provider.exceptions import ArtifactError, DataError
from airflow_mlops_provider.results import ArtifactRef, Failure, StepResult
from airflow_mlops_provider.storage import ArtifactStore, list_files, local_path, safe_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.ceph import Ceph

KEY = "a" * 64
AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
# One store serves many generated examples: what is stored under a digest does not depend on what was there before.
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)


def receipt(artifacts: dict[str, ArtifactRef] | None = None, **changes: Any) -> StepResult:
    values = {
        "step": "train",
        "pipeline": "tested",
        "key": KEY,
        "as_of": AS_OF,
        "artifacts": artifacts or {},
        **changes,
    }
    return StepResult(**values)


class Place:
    """Where the objects of a store lie, as somebody sees it who goes past the store."""

    def __init__(self, root: str, client: Any = None) -> None:
        self.root, self.client = root, client
        self.bucket, _, self.prefix = root.removeprefix("s3://").partition("/")

    def names(self) -> list[str]:
        if self.client is None:
            root = local_path(self.root)
            return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{self.prefix}/")
        return [entry["Key"].removeprefix(f"{self.prefix}/") for page in pages for entry in page.get("Contents", [])]

    def read(self, name: str) -> bytes:
        if self.client is None:
            return (local_path(self.root) / name).read_bytes()
        content: bytes = self.client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")["Body"].read()
        return content

    def write(self, name: str, content: bytes) -> None:
        if self.client is None:
            path = local_path(self.root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        else:
            self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}", Body=content)

    def remove(self, name: str) -> None:
        if self.client is None:
            (local_path(self.root) / name).unlink()
        else:
            self.client.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")

    def beside(self, name: str) -> Place:
        return Place(f"{self.root.rpartition('/')[0]}/{name}", self.client)


# Every store passes the same tests. On S3 the keys come from botocore's own chain, here as in other processes.
@pytest.fixture(params=["file", "s3", "s3 versioned"])
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return (tmp_path / "store").as_uri()
    buckets = request.getfixturevalue("buckets")
    request.getfixturevalue("s3_chain")
    return f"s3://{buckets[request.param]}/{tmp_path.name}/store"


@pytest.fixture(scope="session")
def buckets(ceph: Ceph) -> dict[str, str]:
    return {"s3": ceph.bucket(), "s3 versioned": ceph.bucket(versioned=True)}


@pytest.fixture
def s3_chain(ceph: Ceph, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ceph.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def place(store: ArtifactStore, request: pytest.FixtureRequest) -> Place:
    client = request.getfixturevalue("ceph").client() if store.root.startswith("s3") else None
    return Place(store.root, client)


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
    with pytest.raises(ArtifactError, match="suffix may not be used"):
        store.add_bytes(b"x", suffix)
    assert place.names() == []


@given(key=st.text(alphabet=st.sampled_from("ab/.\\%\0~ :\n"), max_size=20) | st.text(max_size=20))
@settings(max_examples=300)
def test_a_key_is_refused_or_stays_inside_its_store(key: str) -> None:
    root = Path("/somewhere/store")
    try:
        kept = safe_key(key)
    except ArtifactError:
        return
    assert kept == key
    assert "\0" not in key
    path = root / key
    assert path.parts[: len(root.parts)] == root.parts
    assert ".." not in path.parts
    assert len(path.parts) > len(root.parts)


@pytest.mark.parametrize(
    "key", ["", "/", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\0b", "a\\..\\b", "%2e%2e/a", "a/%00"]
)
def test_keys_that_lead_elsewhere_are_refused(key: str) -> None:
    with pytest.raises(ArtifactError, match="object key may not be used"):
        safe_key(key)


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


def forged(ref: ArtifactRef, **changes: Any) -> ArtifactRef:
    return ref.model_copy(update=changes)


def key_of(ref: ArtifactRef) -> str:
    return "objects/" + ref.uri.rpartition("/objects/")[2]


def damage_missing(place: Place, ref: ArtifactRef) -> None:
    place.remove(key_of(ref))


def damage_truncated(place: Place, ref: ArtifactRef) -> None:
    place.write(key_of(ref), place.read(key_of(ref))[:-1])


def damage_changed(place: Place, ref: ArtifactRef) -> None:
    place.write(key_of(ref), b"X" + place.read(key_of(ref))[1:])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_missing, ("is missing", "recompute")),
        (damage_truncated, ("is damaged", "got 9 bytes", "expected 10 bytes")),
        (damage_changed, ("was changed", "expected")),
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
    with pytest.raises(ArtifactError, match="does not hold its digest"):
        store.fetch(forged(ref, uri=other.uri))
    with pytest.raises(ArtifactError, match="object key may not be used"):
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


def test_a_receipt_is_read_back_as_cached(store: ArtifactStore) -> None:
    result = receipt(
        {"model": store.add_bytes(b"m", ".bin")},
        facts={"rows": 3, "share": 0.5, "name": None},
        failure=Failure(what="bad", got="1"),
    )
    assert store.read_receipt("tested", "train", KEY) is None
    store.write_receipt(result)
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
    store.write_receipt(receipt({"model": ref}))
    damage(place, ref)
    assert store.read_receipt("tested", "train", KEY) is None
    store.add_bytes(b"some bytes", ".bin")
    assert store.read_receipt("tested", "train", KEY) is not None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"step": "train"}', b"\xff\xfe"])
def test_an_unreadable_receipt_is_not_there(store: ArtifactStore, place: Place, content: bytes) -> None:
    store.write_receipt(receipt())
    place.write(f"receipts/tested/train/{KEY}/receipt.json", content)
    assert store.read_receipt("tested", "train", KEY) is None


def test_a_receipt_of_another_step_or_key_is_not_believed(store: ArtifactStore, place: Place) -> None:
    store.write_receipt(receipt())
    content = place.read(f"receipts/tested/train/{KEY}/receipt.json")
    place.write(f"receipts/tested/train/{'b' * 64}/receipt.json", content)
    assert store.read_receipt("tested", "train", "b" * 64) is None


def test_the_request_behind_a_receipt_is_kept(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match="request behind step 'train' of 'tested' is missing"):
        store.read_request(receipt())
    store.write_request("tested", "train", KEY, '{"seed": 1}')
    assert store.read_request(receipt()) == '{"seed": 1}'


def add_same(root: str, barrier: Any, rounds: int) -> None:
    store = ArtifactStore(root)
    for index in range(rounds):
        barrier.wait()
        ref = store.add_bytes(f"payload {index}".encode() * 1000, ".bin")
        store.write_receipt(receipt({"model": ref}, key=f"{index:064x}"))


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
store.write_receipt(StepResult(step="train", pipeline="tested", key={KEY!r}, as_of=datetime(2013, 3, 1, tzinfo=UTC),
                               artifacts={{"model": ref}}))
"""
    environment = {**os.environ, failpoints.VARIABLE: f"{tmp_path}:{point}"}

    def run() -> int:
        root = Path(__file__).parents[2]
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


@pytest.mark.parametrize("uri", ["s3:/bucket", "ftp://host/a", "file://host/a", "http://host/a.csv"])
def test_a_place_that_cannot_be_opened_is_named(uri: str) -> None:
    with pytest.raises(ArtifactError, match="cannot be opened"):
        local_path(uri)


def test_listed_files_change_their_version_when_they_change(tmp_path: Path) -> None:
    (tmp_path / "a b.csv").write_text("1")
    before = list_files(tmp_path.as_uri())
    (tmp_path / "a b.csv").write_text("22")
    after = list_files(str(tmp_path))
    assert [file.name for file in before] == [file.name for file in after] == ["a b.csv"]
    assert before[0].version != after[0].version
    with pytest.raises(DataError, match="is missing"):
        list_files(str(tmp_path / "nothing"))


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
