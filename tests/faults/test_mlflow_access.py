from __future__ import annotations

import json
import shutil
import ssl
import tempfile
import time
import traceback
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import pytest
import registry_worker
from fault_proxy import FaultProxy, answer, delay
from services.mlflow_server import ADMIN, MlflowServer, mlflow_server

from airflow_mlops_provider.exceptions import RegistryError, StorageError, TransientServiceError
from airflow_mlops_provider.hooks.mlflow import MlflowHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.ceph import Ceph

    from airflow_mlops_provider.registry import Publication

ANN, BOB = ("ann", "sentinel-of-ann-1"), ("bob", "sentinel-of-bob-1")


@pytest.fixture(scope="module")
def server(migrated_mlflow: Path) -> Iterator[MlflowServer]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        shutil.copy(migrated_mlflow, folder)
        tokens = Path(folder) / "tokens"
        with mlflow_server(Path(folder), password="sentinel-of-the-admin", tokens=tokens) as running:
            for user in (ANN, BOB):
                running.add_user(*user)
            yield running


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., MlflowHook]:
    def define(host: str, user: tuple[str, str] | None = None, conn_id: str = "models", **settings: Any) -> MlflowHook:
        login = {} if user is None else {"login": user[0], "password": user[1]}
        connection = {"conn_type": "mlflow", "host": host, **login, **settings}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        return MlflowHook(conn_id)

    return define


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Publication:
    return registry_worker.publication(tmp_path_factory.mktemp("model") / "model.skops")


def named(training: Publication, name: str) -> Publication:
    return training.model_copy(update={"model": name, "experiment": name})


def test_the_test_button_knows_the_right_password(server: MlflowServer, connect: Callable[..., MlflowHook]) -> None:
    assert connect(server.url, ANN).test_connection() == (True, f"MLflow at {server.url} answers.")


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (("ann", "sentinel-wrong"), "did not accept user 'ann' while testing the connection: got "),
        (("nobody", "sentinel-wrong"), "did not accept user 'nobody' while testing the connection: got "),
        (
            None,
            "requires authentication for testing the connection, but connection 'models' has neither login nor "
            "password",
        ),
    ],
    ids=["wrong password", "unknown user", "nobody"],
)
def test_the_test_button_says_who_was_not_let_in(
    server: MlflowServer, connect: Callable[..., MlflowHook], user: tuple[str, str] | None, message: str
) -> None:
    works, words = connect(server.url, user).test_connection()

    assert not works
    assert words.startswith(f"MLflow at {server.url} {message}")
    assert "error code 401" in words
    assert "connection 'models'" in words
    assert "sentinel" not in words


def test_who_may_not_do_something_is_named_with_the_permission(
    server: MlflowServer, connect: Callable[..., MlflowHook], training: Publication
) -> None:
    wanted = named(training, "forbidden")
    version = connect(server.url, ANN).registry().publish(wanted).version
    bob = connect(server.url, BOB).registry()
    request = registry_worker.request(wanted).model_copy(update={"model": "forbidden", "version": version})
    calls: dict[str, Callable[[], Any]] = {
        "'bob' do this: creating the run '2013-03-02': .* expected EDIT on the experiment": lambda: bob.publish(
            wanted.model_copy(update={"lineage": "other", "name": "2013-03-02"})
        ),
        "'bob' do this: setting the alias 'champion' of model 'forbidden' to version 1: .* expected EDIT on the "
        "registered model": lambda: bob.promote(request),
    }
    for message, call in calls.items():
        with pytest.raises(RegistryError, match=message) as caught:
            call()
        assert "Grant it to user 'bob' in MLflow, or give connection 'models' another user" in str(caught.value)
        assert "sentinel" not in "".join(traceback.format_exception(caught.value))


def test_a_second_user_runs_a_pipeline_with_the_permissions_that_the_guide_names(
    server: MlflowServer, connect: Callable[..., MlflowHook], training: Publication
) -> None:
    def task(user: tuple[str, str], **changes: Any) -> str:
        registry, wanted = connect(server.url, user).registry(), named(training, "granted").model_copy(update=changes)
        head = registry.head("granted")
        request = registry_worker.request(wanted).model_copy(
            update={
                "model": "granted",
                "version": registry.publish(wanted).version,
                "idem": user[0],
                "compared_with": head and head.seq,
            }
        )
        return registry.promote(request).status

    def experiments() -> dict[str, str]:
        found = server.request("POST", "/api/2.0/mlflow/experiments/search", {"max_results": 100})["experiments"]
        return {experiment["name"]: experiment["experiment_id"] for experiment in found}

    def let(user: str, experiment: str) -> None:
        if (known := experiments().get(experiment)) is not None:
            # Who owns it may more already, which MLflow calls a bad request.
            with suppress(HTTPError):
                server.grant(user, "experiment", known)

    # Whoever promotes first owns the ledgers' experiment: here that may have been bob, in another test.
    let("ann", "mlops-ledger")
    assert task(ANN) == "promoted"
    let("bob", "mlops-ledger")
    let("bob", "granted")
    server.grant("bob", "registered_model", "granted")
    digest = training.model_info.model_copy(update={"digest": "another"})
    assert task(BOB, lineage="later", model_info=digest) == "promoted"


def test_the_user_of_docker_compose_is_made_once_and_its_password_renewed(
    server: MlflowServer, connect: Callable[..., MlflowHook], training: Publication, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "compose"))
    import mlflow_users

    monkeypatch.setenv("MLFLOW_ADMIN_PASSWORD", str(server.password))
    for password in ("sentinel-of-airflow-1", "sentinel-of-airflow-2"):
        monkeypatch.setenv("MLFLOW_AIRFLOW_PASSWORD", password)
        mlflow_users.make(server.url)
        assert connect(server.url, ("airflow", password)).test_connection()[0]
    assert not connect(server.url, ("airflow", "sentinel-of-airflow-1")).test_connection()[0]
    connect(server.url, ("airflow", "sentinel-of-airflow-2")).registry().publish(named(training, "composed"))
    with pytest.raises(HTTPError, match="403"):
        MlflowServer(server.url, server.folder, "sentinel-of-airflow-2", "airflow").add_user("another", "x" * 12)


def test_a_password_that_changed_while_a_task_was_at_work_is_read_again_once(
    server: MlflowServer, connect: Callable[..., MlflowHook], training: Publication
) -> None:
    server.add_user("cid", "sentinel-of-cid-1")
    with FaultProxy(server.url) as proxy:
        registry = connect(proxy.url, ("cid", "sentinel-of-cid-1")).registry()
        registry.ping()
        server.set_password("cid", "sentinel-of-cid-2")
        proxy.clear()

        with pytest.raises(RegistryError, match="did not accept user 'cid'.* Correct login and password of connection"):
            registry.ping()
        assert [call.status for call in proxy.calls] == [401], "the same password is not tried again"

        connect(proxy.url, ("cid", "sentinel-of-cid-3"))
        with pytest.raises(RegistryError, match="did not accept user 'cid'"):
            registry.ping()
        assert [call.status for call in proxy.calls] == [401] * 3, "another one is tried once"

        connect(proxy.url, ("cid", "sentinel-of-cid-2"))
        proxy.clear()
        assert registry.publish(named(training, "renewed")).version == 1
        assert [call.status for call in proxy.calls].count(401) == 1
        made = [call.path for call in proxy.calls if call.path.endswith("experiments/create") and call.status == 200]
        assert len(made) == 1


def test_a_token_that_expired_while_a_task_was_at_work_is_exchanged_for_a_fresh_one(
    server: MlflowServer, connect: Callable[..., MlflowHook], training: Publication
) -> None:
    def tokens(**seconds: int) -> None:
        known = {f"sentinel-{name}": (ANN[0], time.time() + left) for name, left in seconds.items()}
        (server.folder / "tokens").write_text(json.dumps(known))

    with FaultProxy(server.url) as proxy:
        tokens(first=60)
        registry = connect(proxy.url, ("", "sentinel-first")).registry()
        assert registry.ping()
        tokens(first=-1, second=60)

        with pytest.raises(RegistryError, match="(?s)did not accept the token while .*the token has expired") as caught:
            registry.publish(named(training, "by-token"))
        assert "sentinel" not in "".join(traceback.format_exception(caught.value))

        connect(proxy.url, ("", "sentinel-second"))
        proxy.clear()
        assert registry.publish(named(training, "by-token")).version == 1
        refused = [call.headers["authorization"] for call in proxy.calls if call.status == 401]
        assert refused == ["Bearer sentinel-first"], "once, and the next request has the fresh one"
        assert {call.headers["authorization"] for call in proxy.calls[1:]} == {"Bearer sentinel-second"}


def test_a_token_goes_as_a_token_whatever_login_the_environment_holds(
    server: MlflowServer, connect: Callable[..., MlflowHook], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ambient")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "ambient")
    with FaultProxy(server.url) as proxy:
        proxy.fail(answer(401, b"expired", "text/plain"))
        _, words = connect(proxy.url, ("", "sentinel-token")).test_connection()
        assert words.startswith(f"MLflow at {proxy.url} did not accept the token while testing the connection")
        assert words.endswith("Correct the password of connection 'models'.")
        assert [call.headers["authorization"] for call in proxy.calls] == ["Bearer sentinel-token"]


def test_a_silent_server_is_given_up_on_after_the_timeout(
    server: MlflowServer, connect: Callable[..., MlflowHook]
) -> None:
    with FaultProxy(server.url) as proxy:
        proxy.fail(delay(30), times=10)
        started = time.monotonic()
        with pytest.raises(TransientServiceError, match=r"did not answer while testing .*timed out"):
            connect(proxy.url, ANN, extra={"timeout": 1}).registry().ping()
        assert time.monotonic() - started < 10


def test_what_answers_but_is_no_mlflow_is_not_asked_again(connect: Callable[..., MlflowHook]) -> None:
    with FaultProxy("http://127.0.0.1:1") as proxy:
        proxy.fail(answer(200, b"<html>Please log in</html>", "text/html"))
        with pytest.raises(RegistryError, match=f"the server at {proxy.url} is not MLflow.* Correct the tracking URI"):
            connect(proxy.url).registry().ping()


# ------------------------------------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority's certificate, and a server's and a client's that it signed, keys included."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("authority")
    now = datetime.now(UTC)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("authority", "server", "client")}
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    for name, key in keys.items():
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "authority", path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        )
        certificate = builder.sign(keys["authority"], hashes.SHA256())
        plain = serialization.NoEncryption()
        pem = serialization.Encoding.PEM
        (folder / f"{name}.pem").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + certificate.public_bytes(pem)
        )
    return folder


@contextmanager
def tls(server: MlflowServer, authority: Path, *, client: bool = False) -> Iterator[str]:
    """Put TLS before the server, as a reverse proxy does, and ask clients for a certificate if wanted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem")
    if client:
        context.load_verify_locations(authority / "authority.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    with FaultProxy(server.url) as proxy:
        listening = proxy._server
        listening.handle_error = lambda *_: None  # A client that hangs up is the case.
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        yield proxy.url.replace("http:", "https:")


def test_a_server_of_a_private_authority_is_trusted_by_its_file_alone(
    server: MlflowServer, connect: Callable[..., MlflowHook], authority: Path
) -> None:
    with tls(server, authority) as url:
        with pytest.raises(
            RegistryError, match=f"connection to MLflow at {url} is not secure.* ca_bundle in connection"
        ):
            connect(url, ANN).registry().ping()
        trusted = connect(url, ANN, extra={"ca_bundle": str(authority / "authority.pem")})
        assert trusted.test_connection()[0]


def test_a_server_that_wants_a_client_s_certificate_gets_it(
    server: MlflowServer, connect: Callable[..., MlflowHook], authority: Path
) -> None:
    trust = {"ca_bundle": str(authority / "authority.pem")}
    with tls(server, authority, client=True) as url:
        assert not connect(url, ANN, extra=trust).test_connection()[0]
        assert connect(url, ANN, extra={**trust, "client_cert": str(authority / "client.pem")}).test_connection()[0]


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # as it should say
def test_certificates_are_passed_over_only_where_the_connection_says_so(
    server: MlflowServer, connect: Callable[..., MlflowHook], authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    with tls(server, authority) as url:
        assert not connect(url, ANN).test_connection()[0]
        assert connect(url, ANN, extra={"verify": False}).test_connection()[0]


# ------------------------------------------------------------------------------------------------ artifacts


def test_files_go_to_s3_directly_by_a_connection_of_their_own(
    connect: Callable[..., MlflowHook],
    training: Publication,
    ceph: Ceph,
    tmp_path: Path,
    migrated_mlflow: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "mlflow.db").write_bytes(migrated_mlflow.read_bytes())
    bucket = ceph.bucket()
    user = {"login": ceph.user.access_key, "password": ceph.user.secret_key}
    aws = {"conn_type": "aws", **user, "extra": {"endpoint_url": ceph.endpoint}}
    with mlflow_server(tmp_path / "server", artifacts=f"s3://{bucket}/mlflow", direct=True) as open_server:
        hook = connect(open_server.url, extra={"aws_conn_id": "store"})
        monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps({**aws, "password": "sentinel-wrong"}))
        with pytest.raises(StorageError, match="secret key is wrong.* Settings come from connection 'store'") as caught:
            hook.registry().publish(training)
        assert "sentinel" not in "".join(traceback.format_exception(caught.value))
        monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(aws))
        assert hook.registry().publish(training).version == 1
    found = ceph.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert {item["Key"].rpartition("/")[2] for item in found} >= {"MLmodel", "model.skops"}


def test_files_go_to_s3_through_a_server_that_alone_holds_the_keys(
    connect: Callable[..., MlflowHook], training: Publication, ceph: Ceph, tmp_path: Path, migrated_mlflow: Path
) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "mlflow.db").write_bytes(migrated_mlflow.read_bytes())
    bucket = ceph.bucket()
    with mlflow_server(
        tmp_path / "server",
        artifacts=f"s3://{bucket}/mlflow",
        password="sentinel-of-admin",
        environment=ceph.environment(),
    ) as closed:
        assert connect(closed.url, (ADMIN, "sentinel-of-admin")).registry().publish(training).version == 1
    found = ceph.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert {item["Key"].rpartition("/")[2] for item in found} >= {"MLmodel", "model.skops"}
