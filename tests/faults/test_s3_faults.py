"""The S3 calls of a training run, each failed once in each way; and what is said of a store that refuses."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fault_proxy import DAMAGE, DROP_AFTER, DROP_BEFORE, ERROR_500, SLOW_DOWN, TRUNCATE, Call, Fault, FaultProxy, delay

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.backtest.steps import Steps
from airflow_mlops_provider.effects.publishing import evaluation_inputs
from airflow_mlops_provider.exceptions import DataError, StorageError, TransientServiceError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore, S3Options, list_files, local_copy
from airflow_mlops_provider.storage.s3_client import s3_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.ceph import Ceph

PROJECT = Path(__file__).parents[2]
AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
FAULTS = [ERROR_500, SLOW_DOWN, DROP_BEFORE, DROP_AFTER, TRUNCATE]
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    # Between two tries lie random seconds: what is tested here is what is tried.
    for module in ("botocore.endpoint", "airflow_mlops_provider.storage.s3"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(sleep=lambda seconds: None))


@pytest.fixture(scope="module")
def bucket(ceph: Ceph) -> str:
    return ceph.bucket()


@pytest.fixture
def proxy(ceph: Ceph) -> Iterator[FaultProxy]:
    with FaultProxy(ceph.endpoint) as proxy:
        yield proxy


@dataclass
class Tried:
    """A store behind the proxy, and how it is seen past it."""

    ceph: Ceph
    root: str
    store: ArtifactStore

    def objects(self) -> dict[str, bytes]:
        bucket, _, prefix = self.root.removeprefix("s3://").partition("/")
        client = self.ceph.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {
            key.removeprefix(f"{prefix}/"): client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys
        }

    def unfinished(self) -> list[list[Any]]:
        """Return the parts of each upload that was never ended."""
        bucket, _, prefix = self.root.removeprefix("s3://").partition("/")
        client = self.ceph.client()
        uploads = client.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", [])
        asked = [{"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]} for upload in uploads]
        return [client.list_parts(**upload).get("Parts", []) for upload in asked]


@pytest.fixture
def tried(ceph: Ceph, bucket: str, proxy: FaultProxy, tmp_path: Path) -> Tried:
    root = f"s3://{bucket}/{tmp_path.name}"
    return Tried(ceph, root, ArtifactStore(root, options(ceph, endpoint_url=proxy.url)))


def options(ceph: Ceph, **changes: Any) -> S3Options:
    settings = {
        "access_key": ceph.user.access_key,
        "secret_key": ceph.user.secret_key,
        "endpoint_url": ceph.endpoint,
        "origin": "connection 'artifacts'",
    }
    return S3Options(**{**settings, **changes})


def once_each(seen: set[str]) -> Callable[[Call], bool]:
    """Choose each call when it comes for the first time: ranges are calls of their own, another upload's parts not."""

    def first(call: Call) -> bool:
        line = re.sub(r"uploadId=[^&]+", "uploadId", f"{call.line} {call.headers.get('range', '')}")
        new = line not in seen
        seen.add(line)
        return new

    return first


# ------------------------------------------------------------------------------------------------ a training run


def train(store: ArtifactStore, around: Callable[[Callable[[], StepResult]], StepResult]) -> list[StepResult]:
    """Run the steps of a training as its tasks do, each on a store of its own."""
    pipeline = load_pipeline(PROJECT / "config" / "pipelines" / "wine_cultivar.yaml")
    plugins = AllowList(plugins_folder=str(PROJECT / "plugins"))

    def run(step: str, section: dict[str, Any], **inputs: list[StepResult]) -> StepResult:
        own = Steps(pipeline, ArtifactStore(store.root, store.options), plugins)
        return around(lambda: own.run(step, as_of=AS_OF, section=section, inputs=inputs))

    data = pipeline.data.model_dump(mode="json", exclude_defaults=True)
    dataset = [run("ingest", {"task": pipeline.task, "data": data})]
    checked = run("validate", pipeline.validation.model_dump(mode="json"), dataset=dataset)
    split = [run("prepare", pipeline.preparation.model_dump(mode="json"), dataset=dataset)]
    models = [
        run(
            "train",
            {"name": name, "candidate": candidate.model_dump(mode="json", exclude_defaults=True)},
            dataset=dataset,
            split=split,
        )
        for name, candidate in pipeline.training.candidates.items()
    ]
    section = {
        "evaluation": pipeline.evaluation.model_dump(mode="json", exclude_defaults=True),
        "metrics": pipeline.metrics,
        "candidates": list(pipeline.training.candidates),
    }
    own = Steps(pipeline, ArtifactStore(store.root, store.options), plugins)
    evaluation = around(
        lambda: own.run("evaluate", as_of=AS_OF, section=section, inputs=evaluation_inputs(own.store, models))
    )
    gates = [gate.model_dump(mode="json", exclude_defaults=True) | {"kind": gate.kind} for gate in pipeline.gates]
    gate = run("gate", {"gates": gates, "metrics": pipeline.metrics}, evaluation=[evaluation])
    return [*dataset, checked, *split, *models, evaluation, gate]


def straight(step: Callable[[], StepResult]) -> StepResult:
    return step()


def check_whole(tried: Tried, results: list[StepResult], given_up: int = 0) -> None:
    """Hold that everything that is named is there and whole, and that nothing else is.

    :param given_up: tries of `evaluate` that may have left an evaluation behind that no receipt names: it holds how
        fast the models answered, so another try makes another.
    """
    objects = tried.objects()
    named = {
        f"receipts/{one.pipeline}/{one.step}/{one.key}/{what}.json"
        for one in results
        for what in ("receipt", "request")
    }
    named |= {
        f"objects/{ref.sha256[:2]}/{ref.uri.rpartition('/')[2]}" for one in results for ref in one.artifacts.values()
    }
    assert named <= set(objects)
    assert len(set(objects) - named) <= given_up
    for name, content in objects.items():
        if name.startswith("objects/"):
            assert Path(name).name.startswith(hashlib.sha256(content).hexdigest())
        elif name.endswith("receipt.json"):
            assert StepResult.model_validate_json(content) in [
                one.model_copy(update={"cached": False}) for one in results
            ]
    assert tried.unfinished() == []


@pytest.fixture(scope="module")
def undisturbed(ceph: Ceph, bucket: str) -> list[StepResult]:
    results = train(ArtifactStore(f"s3://{bucket}/undisturbed", options(ceph)), straight)
    assert not any(one.cached or one.failure for one in results)
    return results


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_training_survives_each_of_its_calls_failing_once(
    fault: Fault, tried: Tried, proxy: FaultProxy, undisturbed: list[StepResult]
) -> None:
    proxy.fail(fault, once_each(set()), times=10_000)

    results = train(tried.store, straight)

    failed = {call.line for call in proxy.calls if call.fault}
    assert failed == {call.line for call in proxy.calls}
    assert {call.method for call in proxy.calls} == {"GET", "HEAD", "PUT"}
    assert len(failed) > 50
    check_whole(tried, results)
    assert keys(results) == keys(undisturbed)
    proxy.clear()
    again = train(tried.store, straight)
    assert all(one.cached for one in again)
    assert "PUT" not in {call.method for call in proxy.calls}


def keys(results: list[StepResult]) -> list[tuple[str, str]]:
    # The evaluation holds how fast the models answered: only what comes before it is the same each time.
    return [(one.step, one.key) for one in results if one.step != "gate"]


@pytest.mark.parametrize("fault", [SLOW_DOWN, DROP_AFTER], ids=lambda fault: fault.name)
def test_a_task_that_gives_up_is_done_once_by_its_retry(
    fault: Fault, tried: Tried, proxy: FaultProxy, undisturbed: list[StepResult]
) -> None:
    """Calls of a kind are alike: each kind of call of each step goes on failing until the task gives up."""
    given_up: set[str] = set()

    def retried(step: Callable[[], StepResult]) -> StepResult:
        for _ in range(10):
            stuck: list[str] = []

            def goes_on(call: Call, stuck: list[str] = stuck) -> bool:
                if not stuck and kind_of(call) not in given_up:
                    given_up.add(kind_of(call))
                    stuck.append(call.line)
                return call.line in stuck

            proxy.clear()
            proxy.fail(fault, goes_on, times=10_000)
            try:
                return step()
            except TransientServiceError:
                continue
        pytest.fail("never done")

    results = train(tried.store, retried)

    kinds = {kind.partition(" ")[2] for kind in given_up}
    assert kinds == {
        "GET receipt",
        "GET request",
        "GET object",
        "HEAD object",
        "PUT object",
        "PUT request",
        "PUT receipt",
    }
    check_whole(tried, results, given_up=sum(kind.startswith("evaluate") or " PUT object" in kind for kind in given_up))
    assert keys(results) == keys(undisturbed)


def kind_of(call: Call) -> str:
    found = re.search(r"/receipts/[^/]+/([^/]+)/[^/]+/(receipt|request)\.json", call.path)
    step, what = (found[1], found[2]) if found else ("any", "object")
    return f"{step} {call.method} {what}"


# ------------------------------------------------------------------------------------------------ large files


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    # The smallest that S3 allows.
    monkeypatch.setattr("airflow_mlops_provider.storage.s3_client.PART_BYTES", 5 * MIB)
    monkeypatch.setattr("airflow_mlops_provider.storage.s3.PART_BYTES", 5 * MIB)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.usefixtures("small_parts")
def test_a_file_in_parts_survives_each_of_its_calls_failing_once(
    fault: Fault, tried: Tried, proxy: FaultProxy, tmp_path: Path
) -> None:
    content = os.urandom(11 * MIB)
    (tmp_path / "large").write_bytes(content)
    proxy.fail(fault, once_each(set()), times=1000)

    ref = tried.store.add(tmp_path / "large", ".bin")
    fetched = ArtifactStore(tried.root, tried.store.options).fetch(ref)

    failed = [call for call in proxy.calls if call.fault]
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
    tried: Tried, proxy: FaultProxy, tmp_path: Path, size: int
) -> None:
    (tmp_path / "file").write_bytes(os.urandom(size))
    proxy.fail(DAMAGE, lambda call: call.method == "PUT" and call.size > 0)

    with pytest.raises(TransientServiceError, match="XAmzContentSHA256Mismatch"):
        tried.store.add(tmp_path / "file", ".bin")
    assert tried.objects() == {}
    assert tried.unfinished() == []

    ref = tried.store.add(tmp_path / "file", ".bin")
    assert tried.store.fetch(ref).stat().st_size == size


def test_a_late_reply_is_waited_for(tried: Tried, proxy: FaultProxy) -> None:
    proxy.fail(delay(1.5), lambda call: call.method == "PUT")
    ref = tried.store.add_bytes(b"late", ".bin")
    assert tried.store.fetch(ref).read_bytes() == b"late"
    assert len(proxy.calls) == 3


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
    fault: Fault, source: str, ceph: Ceph, proxy: FaultProxy
) -> None:
    given = options(ceph, endpoint_url=proxy.url)
    proxy.fail(fault, once_each(set()), times=1000)

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
    ceph: Ceph, bucket: str, proxy: FaultProxy, tried: Tried, tmp_path: Path
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
    proxy.fail(TRUNCATE, once_each(set()), times=1000)
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
    assert waiting.look({}).missing == f"{source}/day=2013-01-03 is not there yet."
    trigger = waiting.trigger({})
    _, arguments = trigger.serialize()
    assert ceph.user.secret_key not in json.dumps(arguments)
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    ceph.client().put_object(Bucket=bucket, Key=f"{prefix}/day=2013-01-03/a.csv", Body=b"1")
    assert asyncio.run(trigger.look({})).missing.endswith("lacks its marker _SUCCESS yet.")
    ceph.client().put_object(Bucket=bucket, Key=f"{prefix}/day=2013-01-03/_SUCCESS", Body=b"")

    found = waiting.look({}).found
    assert asyncio.run(trigger.look({})).found == found
    assert found is not None
    assert (found["files"], found["size"], found["complete_by"]) == (1, 1, "_SUCCESS")


def test_waiting_with_a_wrong_key_ends_in_words(source: str, connection: Callable[..., None]) -> None:
    from airflow_mlops_provider.sensors.data import DataArrivalSensor

    connection(password="wrong")
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
        StorageError, match=r"there are no keys: .* Name an `aws` connection by `\[mlops\] artifacts_conn_id`"
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
        (SLOW_DOWN, ("S3 asks for fewer requests",)),
        (ERROR_500, ("cannot be", "tried again")),
        (DROP_BEFORE, ("the reply was lost", "ConnectionClosedError")),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_store_that_goes_on_failing_is_left_to_airflows_retries(
    tried: Tried, proxy: FaultProxy, operation: str, fault: Fault, words: tuple[str, ...]
) -> None:
    proxy.fail(fault, times=1000)
    with refused(*words, kind=TransientServiceError):
        OPERATIONS[operation](tried.store)
    assert len(proxy.calls) == 5


def test_secrets_are_in_no_text_about_the_store(ceph: Ceph, bucket: str) -> None:
    given = options(ceph, secret_key="s3cret-wrong", session_token="s3cret-token")
    with pytest.raises(StorageError) as caught:
        ArtifactStore(f"s3://{bucket}/mlops", given).read_receipt("wine", "train", "a" * 64)
    told = f"{caught.value} {caught.value.__dict__} {given!r}"
    assert "s3cret" not in told
    assert ceph.user.access_key not in told
