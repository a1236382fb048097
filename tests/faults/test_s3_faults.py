"""Large files and sources on S3, whose calls fail once in each way; and what is said of a store that refuses."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fault_proxy import DAMAGE, DROP_AFTER, DROP_BEFORE, ERROR_500, SLOW_DOWN, TRUNCATE, Fault, FaultProxy, delay
from s3_tries import FAULTS, Tried, check_whole, once_each, options

from airflow_mlops_provider.exceptions import DataError, StorageError, TransientServiceError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore, S3Options, list_files, local_copy
from airflow_mlops_provider.storage.s3_client import s3_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.ceph import Ceph

    from airflow_mlops_provider.results import StepResult

PROJECT = Path(__file__).parents[2]
AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
MIB = 1024 * 1024
pytestmark = pytest.mark.usefixtures("no_pauses")


# ------------------------------------------------------------------------------------------------ large files


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    # The smallest that S3 allows.
    monkeypatch.setattr("airflow_mlops_provider.storage.s3_client.PART_BYTES", 5 * MIB)
    monkeypatch.setattr("airflow_mlops_provider.storage.s3.PART_BYTES", 5 * MIB)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.usefixtures("small_parts")
def test_a_file_in_parts_survives_each_of_its_calls_failing_once(
    fault: Fault, tried: Tried, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    content = os.urandom(11 * MIB)
    (tmp_path / "large").write_bytes(content)
    s3_proxy.fail(fault, once_each(set()), times=1000)

    ref = tried.store.add(tmp_path / "large", ".bin")
    fetched = ArtifactStore(tried.root, tried.store.options).fetch(ref)

    failed = [call for call in s3_proxy.calls if call.fault]
    assert {call.method for call in failed} >= {"HEAD", "POST", "PUT", "GET"}
    assert {call.query["partNumber"] for call in failed if "partNumber" in call.query} == {"1", "2", "3"}
    assert len({call.headers["range"] for call in failed if "range" in call.headers}) == 3
    assert fetched.read_bytes() == content
    assert list(tried.objects().values()) == [content]
    # An upload whose beginning nobody heard of stays, without parts: buckets have a rule against those.
    assert tried.unfinished() == ([[]] if fault in (DROP_AFTER, TRUNCATE) else [])


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("size", [100, 11 * MIB], ids=["one body", "in parts"])
def test_bytes_that_were_damaged_on_their_way_are_not_accepted(
    tried: Tried, s3_proxy: FaultProxy, tmp_path: Path, size: int
) -> None:
    (tmp_path / "file").write_bytes(os.urandom(size))
    s3_proxy.fail(DAMAGE, lambda call: call.method == "PUT" and call.size > 0)

    with pytest.raises(TransientServiceError, match="XAmzContentSHA256Mismatch"):
        tried.store.add(tmp_path / "file", ".bin")
    assert tried.objects() == {}
    assert tried.unfinished() == []

    ref = tried.store.add(tmp_path / "file", ".bin")
    assert tried.store.fetch(ref).stat().st_size == size


def test_a_late_reply_is_waited_for(tried: Tried, s3_proxy: FaultProxy) -> None:
    s3_proxy.fail(delay(1.5), lambda call: call.method == "PUT")
    ref = tried.store.add_bytes(b"late", ".bin")
    assert tried.store.fetch(ref).read_bytes() == b"late"
    assert len(s3_proxy.calls) == 3


# ------------------------------------------------------------------------------------------------ sources


@pytest.fixture
def source(ceph: Ceph, bucket: str, tmp_path: Path) -> str:
    prefix = f"{tmp_path.name}/source"
    for name in (
        "day=2013-01-01/a.csv",
        "day=2013-01-01/_SUCCESS",
        "day=2013-01-02/b c%20.csv",
        ".hidden/x.csv",
        "sub/",
    ):
        ceph.client().put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=name.encode() * (not name.endswith("/")))
    ceph.client().put_object(Bucket=bucket, Key=f"{prefix}-other/c.csv", Body=b"no")
    return f"s3://{bucket}/{prefix}"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_source_is_listed_and_read_though_each_call_fails_once(
    fault: Fault, source: str, ceph: Ceph, s3_proxy: FaultProxy
) -> None:
    given = options(ceph, endpoint_url=s3_proxy.url)
    s3_proxy.fail(fault, once_each(set()), times=1000)

    files = list_files(source, given)

    assert [file.name for file in files] == ["day=2013-01-01/a.csv", "day=2013-01-02/b c%20.csv"]
    assert [file.size for file in files] == [20, 25]
    for file in files:
        with local_copy(file, given) as path:
            assert path.read_text() == file.name
            assert path.name == file.name.rpartition("/")[2]
        assert not path.exists()
    (one,) = list_files(f"{source}/day=2013-01-01/a.csv", given)
    assert (one.name, one.version) == ("a.csv", files[0].version)


def test_ingest_reads_a_partitioned_source_on_s3_with_the_keys_of_its_store(
    ceph: Ceph, bucket: str, s3_proxy: FaultProxy, tried: Tried, tmp_path: Path
) -> None:
    """Once per version of its files: the ETags are in its key."""

    def put(day: int, rows: str) -> None:
        body = f"id,age,left,seen\n{rows}".encode()
        key = f"{tmp_path.name}-rows/day=2013-01-0{day}/rows.csv"
        ceph.client().put_object(Bucket=bucket, Key=key, Body=body)

    def ingest() -> StepResult:
        columns = {"target": "left", "numeric": ["age"], "keys": ["id"], "timestamp": "seen"}
        source = {"uri": f"s3://{bucket}/{tmp_path.name}-rows", "partitioned_by": "day"}
        section = {"task": "binary", "data": {"source": source, "columns": columns, "timezone": "UTC"}}
        request = StepRequest(step="ingest", pipeline="churn", as_of=AS_OF, section=section)
        return run_step(request, tried.store)

    put(1, "a,30,0,2013-01-01\nb,40,1,2013-01-01\n")
    put(2, "c,50,0,2013-01-02\n")
    s3_proxy.fail(TRUNCATE, once_each(set()), times=1000)
    first, second = ingest(), ingest()
    put(2, "c,51,0,2013-01-02\nd,20,1,2013-01-02\n")
    third = ingest()

    assert [one.facts["rows"] for one in (first, second, third)] == [3, 3, 4]
    assert [one.cached for one in (first, second, third)] == [False, True, False]
    check_whole(tried, [first, third])


def test_a_source_that_changes_while_it_is_read_is_read_again(
    source: str, ceph: Ceph, bucket: str, tmp_path: Path
) -> None:
    given = options(ceph)
    file = list_files(source, given)[0]
    ceph.client().put_object(Bucket=bucket, Key=f"{tmp_path.name}/source/{file.name}", Body=b"something else, longer")

    with pytest.raises(TransientServiceError, match="changed while it was read"), local_copy(file, given):
        pass
    assert list_files(source, given)[0].version != file.version


def test_a_source_that_is_not_there_is_no_error_of_the_store(source: str, ceph: Ceph) -> None:
    with pytest.raises(DataError, match="source s3://.*/nothing is missing"):
        list_files(f"{source}/nothing", options(ceph))


@pytest.fixture
def connection(ceph: Ceph, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """An Airflow connection to the store, the one that the configuration names."""

    def declare(**changes: Any) -> None:
        extra = {"endpoint_url": ceph.endpoint}
        keys = {"login": ceph.user.access_key, "password": ceph.user.secret_key}
        monkeypatch.setenv("AIRFLOW_CONN_S3", json.dumps({"conn_type": "aws", "extra": extra, **keys, **changes}))

    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_CONN_ID", "s3")
    return declare


def test_data_that_arrives_on_s3_is_waited_for_by_worker_and_triggerer(
    source: str, ceph: Ceph, connection: Callable[..., None]
) -> None:
    from airflow_mlops_provider.sensors.data import DataArrivalSensor

    connection()
    waiting = DataArrivalSensor(task_id="arrived", uri=f"{source}/day=2013-01-03", stable_for=None)
    assert waiting.look({}).missing == f"{source}/day=2013-01-03 does not exist yet."
    trigger = waiting.trigger({})
    _, arguments = trigger.serialize()
    assert ceph.user.secret_key not in json.dumps(arguments)
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    ceph.client().put_object(Bucket=bucket, Key=f"{prefix}/day=2013-01-03/a.csv", Body=b"1")
    assert asyncio.run(trigger.look({})).missing.endswith("does not have its marker _SUCCESS yet.")
    ceph.client().put_object(Bucket=bucket, Key=f"{prefix}/day=2013-01-03/_SUCCESS", Body=b"")

    found = waiting.look({}).found
    assert asyncio.run(trigger.look({})).found == found
    assert found is not None
    assert (found["files"], found["size"], found["complete_by"]) == (1, 1, "_SUCCESS")


def test_waiting_with_a_wrong_key_ends_in_words(source: str, connection: Callable[..., None]) -> None:
    from airflow_mlops_provider.sensors.data import DataArrivalSensor

    connection(password="no key of this store")
    waiting = DataArrivalSensor(task_id="arrived", uri=source)
    for look in (waiting.look, lambda memory: asyncio.run(waiting.trigger({}).look(memory))):
        with pytest.raises(StorageError, match=r"the secret key is wrong: .* Settings come from connection 's3'"):
            look({})


# ------------------------------------------------------------------------------------------------ refusals


@contextmanager
def refused(*words: str, kind: type[Exception] = StorageError) -> Iterator[None]:
    with pytest.raises(kind) as caught:
        yield
    assert type(caught.value) is kind
    for word in words:
        assert word in str(caught.value)
    assert "connection 'artifacts'" in str(caught.value) or kind is TransientServiceError


OPERATIONS: dict[str, Callable[[ArtifactStore], object]] = {
    "receipt": lambda store: store.read_receipt("wine", "train", "a" * 64),
    "write": lambda store: store.add_bytes(b"some bytes", ".bin"),
    "list": lambda store: list_files(store.root, store.options),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"access_key": "nobody"}, ("the access key is unknown", "InvalidAccessKeyId", "Correct the access key")),
        ({"secret_key": "wrong"}, ("the secret key is wrong", "SignatureDoesNotMatch", "Correct the secret key")),
    ],
    ids=["access key", "secret key"],
)
def test_a_wrong_key_is_said_to_be_wrong(
    ceph: Ceph, bucket: str, operation: str, changes: dict[str, str], words: tuple[str, ...]
) -> None:
    store = ArtifactStore(f"s3://{bucket}/keys", options(ceph, **changes))
    with refused(f"s3://{bucket}/keys", *words) as _:
        OPERATIONS[operation](store)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_bucket_that_is_not_there_is_named(ceph: Ceph, operation: str) -> None:
    with refused("bucket 'absent-bucket' does not exist", "NoSuchBucket", "Create it"):
        OPERATIONS[operation](ArtifactStore("s3://absent-bucket/mlops", options(ceph)))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_permission_that_is_missing_is_named(ceph: Ceph, bucket: str, stranger: Any, operation: str) -> None:
    given = options(ceph, access_key=stranger.access_key, secret_key=stranger.secret_key)
    with refused("permission is missing", "AccessDenied", f"s3:ListBucket on bucket '{bucket}'", "s3:PutObject"):
        OPERATIONS[operation](ArtifactStore(f"s3://{bucket}/mlops", given))


@pytest.fixture(scope="module")
def stranger(ceph: Ceph) -> Any:
    return ceph.add_user("stranger")


def test_no_keys_at_all_is_said(ceph: Ceph, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ceph.environment():
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = ArtifactStore(f"s3://{bucket}/mlops", S3Options(endpoint_url=ceph.endpoint))
    with pytest.raises(
        StorageError, match=r"there are no access keys: .* Set `\[mlops\] artifacts_conn_id` to an `aws` connection"
    ):
        store.read_receipt("wine", "train", "a" * 64)


def test_a_certificate_that_nobody_vouches_for_is_refused(ceph: Ceph, bucket: str) -> None:
    store = ArtifactStore(f"s3://{bucket}/secure", options(ceph, endpoint_url=ceph.secure))
    with pytest.raises(StorageError, match=r"the certificate of https://127\.0\.0\.1:.* is not trusted.* `verify`"):
        store.add_bytes(b"some bytes", ".bin")


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("size", [100, 11 * MIB], ids=["one body", "in parts"])
def test_a_file_goes_there_and_back_by_https(ceph: Ceph, bucket: str, tmp_path: Path, size: int) -> None:
    given = options(ceph, endpoint_url=ceph.secure, ca_bundle=str(ceph.authority))
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)

    ref = ArtifactStore(f"s3://{bucket}/secure", given).add(tmp_path / "file", ".bin")

    assert ArtifactStore(f"s3://{bucket}/secure", given).fetch(ref).read_bytes() == content


def test_bodies_are_signed_by_https_too(ceph: Ceph, bucket: str) -> None:
    """So the store checks them, where botocore alone would leave it to TLS."""
    given = options(ceph, endpoint_url=ceph.secure, ca_bundle=str(ceph.authority))
    signed: list[Any] = []

    def look(request: Any, **_: Any) -> None:
        signed.append(request.headers["X-Amz-Content-SHA256"])

    s3_client(given).meta.events.register("before-send.s3.PutObject", look)

    ref = ArtifactStore(f"s3://{bucket}/signed", given).add_bytes(b"signed", ".bin")

    assert [value.decode() if isinstance(value, bytes) else value for value in signed] == [ref.sha256]


def test_an_endpoint_that_is_down_is_tried_again_and_named(ceph: Ceph, bucket: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    store = ArtifactStore(f"s3://{bucket}/mlops", options(ceph, endpoint_url=f"http://127.0.0.1:{port}"))
    with refused(f"nothing answers at http://127.0.0.1:{port}", "Check the address", kind=TransientServiceError):
        store.add_bytes(b"some bytes", ".bin")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (SLOW_DOWN, ("S3 is throttling requests",)),
        (ERROR_500, ("cannot be", "will be retried")),
        (DROP_BEFORE, ("the reply was lost", "ConnectionClosedError")),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_store_that_goes_on_failing_is_left_to_airflows_retries(
    tried: Tried, s3_proxy: FaultProxy, operation: str, fault: Fault, words: tuple[str, ...]
) -> None:
    s3_proxy.fail(fault, times=1000)
    with refused(*words, kind=TransientServiceError):
        OPERATIONS[operation](tried.store)
    assert len(s3_proxy.calls) == 5


def test_secrets_are_in_no_text_about_the_store(ceph: Ceph, bucket: str) -> None:
    given = options(ceph, secret_key="s3cret-wrong", session_token="s3cret-token")
    with pytest.raises(StorageError) as caught:
        ArtifactStore(f"s3://{bucket}/mlops", given).read_receipt("wine", "train", "a" * 64)
    reported = f"{caught.value} {caught.value.__dict__} {given!r}"
    assert "s3cret" not in reported
    assert ceph.user.access_key not in reported
