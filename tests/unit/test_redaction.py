"""Every form of an address, in every place that shows one: nobody reads a password there."""

from __future__ import annotations

import json
import time
import traceback
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from airflow_mlops_provider.exceptions import MLOpsError, SpecError
from airflow_mlops_provider.redaction import cause_to_show, endpoint, forget, hide, remember, secrets_in, shown
from airflow_mlops_provider.registry.addresses import check_uri, who_asks
from airflow_mlops_provider.registry.client import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What no text may hold: the password of every address below, and its pieces.
PIECES = ("hunter2", "HUNTER2", "battery", "Zwölfer")
FORMS = {
    "postgresql://me:hunter2@db:5432/mlflow": "postgresql://me:***@db:5432/mlflow",
    "postgresql://me:hunter2#battery@db/mlflow": "postgresql://me:***@db/mlflow",
    "postgresql://me:hunter2/battery@db/mlflow": "postgresql://me:***@db/mlflow",
    "postgresql://me:hunter2?battery@db/mlflow": "postgresql://me:***@db/mlflow",
    "postgresql://me:hunter2:battery@db/mlflow": "postgresql://me:***@db/mlflow",
    "postgresql://me:hunter2 battery@db/mlflow": "postgresql://me:***@db/mlflow",
    "postgresql://me:hunter2'battery@db/mlflow": "postgresql://me:***@db/mlflow",
    "postgresql://me:hunter2%23battery@db/mlflow": "postgresql://me:***@db/mlflow",
    "postgresql://me:hunter2%2523battery@db/mlflow": "postgresql://me:***@db/mlflow",
    "postgresql://me:Zwölferhunter2@db/mlflow": "postgresql://me:***@db/mlflow",
    "postgresql://me:hunter2@battery@db/mlflow": "postgresql://***",
    "postgresql://me:hunter2@[::1]:5432/mlflow": "postgresql://me:***@[::1]:5432/mlflow",
    "postgresql://:hunter2@db/mlflow": "postgresql://:***@db/mlflow",
    "postgresql://me:hunter2@one:1,two:2/mlflow": "postgresql://***",
    "postgresql://db/mlflow?user=me&password=hunter2": "postgresql://db/mlflow?user=***&password=***",
    "postgresql://me:hunter2@db/mlflow?sslpassword=battery": "postgresql://me:***@db/mlflow?sslpassword=***",
    "postgresql+psycopg2://me:hunter2@/mlflow?host=/run/pg": "postgresql+psycopg2://me:***@/mlflow?host=***",
    "mysql+pymysql://db:3306/x?user=me&password=hunter2@battery": "mysql+pymysql://***",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3DX%3BPWD%3Dhunter2": "mssql+pyodbc:///?odbc_connect=***",
    "mssql+pyodbc://me:hunter2@server/db?driver=ODBC+18": "mssql+pyodbc://me:***@server/db?driver=***",
    "sqlite:////data/mlflow.db?key=hunter2": "sqlite:////data/mlflow.db?key=***",
    "https://me:hunter2@mlflow.example.org:5000/team": "https://me:***@mlflow.example.org:5000/team",
    "http://hunter2@mlflow": "http://***@mlflow",
    "https://hunter2:x-oauth-basic@mlflow/x": "https://***@mlflow/x",
    "http://mlflow/?token=hunter2": "http://mlflow/?token=***",
    "http://mlflow/?hunter2": "http://mlflow/?***",
    "http://mlflow/#access_token=hunter2": "http://mlflow/#***",
    "http://me:hunter2#battery@mlflow": "http://me:***@mlflow",
    "http://me:hunter2@[::1": "http://***",
    "me:hunter2@mlflow": "***",
    "//me:hunter2@mlflow/x": "***",
    "postgresql:/me:hunter2@db": "***",
    "host=db user=me password=hunter2": "***",
    "redis://:hunter2@redis:6379/0": "redis://:***@redis:6379/0",
    "amqp://me:hunter2@broker//": "amqp://me:***@broker//",
    "tcp://me:hunter2@engine:2375": "tcp://me:***@engine:2375",
    "http://me:hunter2@proxy:3128": "http://me:***@proxy:3128",
    "s3://AKIA:hunter2/battery@bucket/key": "s3://AKIA:***@bucket/key",
    "https://b.s3.amazonaws.com/k?X-Amz-Credential=AKIA&X-Amz-Signature=hunter2": (
        "https://b.s3.amazonaws.com/k?X-Amz-Credential=***&X-Amz-Signature=***"
    ),
    "jdbc:postgresql://db/x?user=me&password=hunter2": "jdbc:postgresql://db/x?user=***&password=***",
    "jdbc:sqlserver://db:1433;user=me;password=hunter2": "jdbc:sqlserver://***",
    "jdbc:oracle:thin:me/hunter2@//db:1521/x": "***",
    " postgresql://me:hunter2@db/x\n": "postgresql://me:***@db/x",
}
#: Nothing in these is secret, so they stay as they are.
HARMLESS = (
    "http://mlflow:5000",
    "https://mlflow.example.org/team",
    "http://[::1]:5000/x",
    "sqlite:////data/mlflow.db",
    "sqlite:////data/a@b.db",
    "postgresql://db/mlflow",
    "postgresql://me@db/mlflow",
    "s3://bucket/mlops/day=2024-01-01/a@b.csv",
    "file:///data/my rows.csv",
    "/data/my rows@home.csv",
    "rows.csv",
    "unix:///var/run/docker.sock",
)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    forget()
    yield
    forget()


def clean(text: str) -> bool:
    return not any(piece.lower() in text.lower() for piece in PIECES)


def error_of(call: Callable[[str], object], address: str) -> str:
    """Return what a call says of an address that it refuses."""
    try:
        call(address)
    except MLOpsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("address", "visible"), FORMS.items())
def test_an_address_is_shown_without_its_secrets(address: str, visible: str) -> None:
    assert shown(address) == visible
    assert shown(visible) == visible, "what was hidden is hidden once"


@pytest.mark.parametrize("address", HARMLESS)
def test_an_address_without_a_secret_stays_as_it_is(address: str) -> None:
    assert shown(address) == address
    assert hide(f"cannot read {address}, or '{address}'") == f"cannot read {address}, or '{address}'"


def texts_of(address: str) -> dict[str, str]:
    """Return what libraries make of an address in what they say."""
    _, _, rest = address.strip().partition("://")
    login = rest.rpartition("@")[0]
    return {
        "as it is": f"cannot connect to {address}: no such host",
        "quoted": f"Could not parse SQLAlchemy URL from given URL string '{address.strip()}'",
        "repr": f"refused: {address!r}",
        "json": json.dumps({"uri": address}),
        "encoded": f"GET /connect?to={quote(address, safe='')}",
        "login": f"authentication failed for {login}",
        "password": f"bad password: {login.partition(':')[2]}",
        "header": f"authorization: Basic {b64encode(login.encode()).decode()}",
    }


@pytest.mark.parametrize("form", texts_of(""))
@pytest.mark.parametrize("address", FORMS)
def test_no_error_repeats_what_a_connection_knows_to_be_secret(address: str, form: str) -> None:
    remember(secrets_in(address))
    text = texts_of(address)[form]
    error = SpecError(text, problems=[text], got={"text": text}, expected=text, hint=text)
    assert clean(str(error)), str(error)
    assert clean(repr([error.what, error.got, error.expected, error.hint]))
    assert form == "header" or b64encode(b"me:hunter2").decode() not in hide(text)


@pytest.mark.parametrize("form", ["as it is", "quoted"])
@pytest.mark.parametrize("address", [one for one in FORMS if "://" in one and "'" not in one])
def test_no_error_repeats_an_address_that_nobody_has_spoken_of(address: str, form: str) -> None:
    assert clean(str(MLOpsError(texts_of(address)[form])))


@pytest.mark.parametrize("address", FORMS)
def test_no_traceback_repeats_an_address(address: str) -> None:
    secrets = secrets_in(address)
    try:
        try:
            raise ValueError(texts_of(address)["quoted"])
        except ValueError as error:
            raise MLOpsError("refused", got=str(error)) from cause_to_show(error, secrets)
    except MLOpsError as error:
        words = "".join(traceback.format_exception(error, limit=0))
    assert clean(words), words


@pytest.mark.parametrize("address", FORMS)
def test_a_connection_to_mlflow_shows_no_secret(address: str) -> None:
    errors = [error_of(check_uri, address)]
    if errors == [""]:
        connection = Connection(address)
        errors += [connection.address, error_of(connection.artifact_location, "flights")]
    assert all(map(clean, errors)), errors


@pytest.mark.parametrize("address", FORMS)
def test_nobody_is_told_who_asks_by_a_secret(address: str) -> None:
    assert clean(str(who_asks(address, {})))
    assert clean(str(endpoint(address)))


@pytest.mark.parametrize("address", FORMS)
def test_no_place_outside_the_registry_shows_a_secret(address: str) -> None:
    from airflow_mlops_provider.commands.findings import Findings
    from airflow_mlops_provider.lineage.places import place_of, registry_namespace
    from airflow_mlops_provider.runtime.engine import _check_permission
    from airflow_mlops_provider.storage import S3Options
    from airflow_mlops_provider.storage.s3_errors import _endpoint
    from airflow_mlops_provider.triggers.arrival import _check

    remember(secrets_in(address))
    findings = Findings()
    findings.add("a", "b", "wrong", f"{address} does not answer")
    places = [findings.found[0].detail, registry_namespace(address), _endpoint(None, S3Options(endpoint_url=address))]
    for refuse in (place_of, lambda uri: _check(uri, None, None), _check_permission):
        places.append(error_of(refuse, address))
    assert [place for place in places if not clean(place)] == []


@pytest.mark.parametrize("secret", ["a", "x1", "the"])
def test_a_short_secret_blanks_no_text(secret: str) -> None:
    address = f"postgresql://me:{secret}@db/x"
    remember(secrets_in(address))
    assert hide("a table of the database, x1 of 2") == "a table of the database, x1 of 2"
    assert hide(f"cannot open {address}") == "cannot open postgresql://me:***@db/x"


def test_a_secret_of_a_few_letters_is_hidden_as_a_word() -> None:
    remember(secrets_in("postgresql://me:hush@db/x"))
    assert hide("hush is wrong, said hushed voices") == "*** is wrong, said hushed voices"


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("FATAL: password=hunter2 user=me", "FATAL: password=*** user=me"),
        ("{'aws_secret_access_key': 'hunter2', 'region': 'x'}", "{'aws_secret_access_key': ***, 'region': 'x'}"),
        ("authorization: Bearer hunter2.hunter2", "authorization: Bearer ***"),
        ("DRIVER={x};UID=me;PWD={hunter2;};", "DRIVER={x};UID=me;PWD=***;"),
        ("failed for me:hunter2@host", "failed for ***@host"),
        ("token_pattern='x', max_tokens=5", "token_pattern='x', max_tokens=5"),
        ("MLflow at http://host:5000 refused ann@example.org", "MLflow at http://host:5000 refused ann@example.org"),
        ("at 12:30:10 it ended", "at 12:30:10 it ended"),
        (f"{'a' * 90}postgresql://me:hunter2@h", f"{'a' * 90}postgresql://me:***@h"),
        (f"{'a' * 90}_password=hunter2", f"{'a' * 90}_password=***"),
    ],
)
def test_settings_in_texts_are_blanked_and_others_are_not(text: str, visible: str) -> None:
    assert hide(text) == visible


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a.",
        "a://",
        "//:x",
        "password=",
        "password='",
        "a:b",
        ":",
        "-",
        "a/b",
        "x@",
        "http://a:b ",
        "%40",
        "{'token':",
    ],
)
def test_no_text_takes_long(text: str) -> None:
    started = time.perf_counter()
    hide(text * (1_000_000 // len(text)))
    secrets_in(text * (20_000 // len(text)))
    assert time.perf_counter() - started < 5


def test_addresses_in_the_environment_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2-battery@proxy:3128")
    assert hide("407 for hunter2-battery") == "407 for ***"


@pytest.mark.parametrize("address", FORMS)
def test_what_a_connection_holds_is_masked_in_airflows_logs_and_in_our_errors(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk._shared.secrets_masker import redact, reset_secrets_masker

    from airflow_mlops_provider.hooks.mlflow import MlflowHook

    reset_secrets_masker()
    extra = {"registry_uri": address, "ui_url": address}
    monkeypatch.setenv("AIRFLOW_CONN_MODELS", json.dumps({"conn_type": "mlflow", "host": address, "extra": extra}))
    hook = MlflowHook("models")
    assert clean(str(hook.ui_url))
    assert clean(error_of(lambda _: hook.registry(), ""))
    _, _, rest = address.partition("://")
    for text in (address, rest, texts_of(address)["password"], texts_of(address)["quoted"]):
        assert clean(str(redact(text))), redact(text)
        assert clean(str(MLOpsError(text)))
    reset_secrets_masker()


@pytest.mark.parametrize("address", [one for one in FORMS if "://" in one])
def test_a_place_that_cannot_be_opened_is_an_error_without_its_secrets(address: str) -> None:
    from airflow_mlops_provider.storage.addresses import local_path, s3_address

    for refuse in (local_path, s3_address):
        assert clean(error_of(refuse, address))
