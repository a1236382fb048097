from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.exceptions import ArtifactError, SpecError
from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook
from airflow_mlops_provider.storage import S3Options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def declared(connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The connection that `[mlops] artifacts_conn_id` names."""

    def declare(**settings: Any) -> None:
        connection("artifacts", **{"conn_type": "aws", **settings})

    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_CONN_ID", "artifacts")
    return declare


def test_without_a_connection_botocores_own_chain_is_asked() -> None:
    assert ObjectStorageHook("s3://models/mlops").options() == S3Options()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {}),
        ({"login": "key", "password": "secret"}, {"access_key": "key", "secret_key": "secret"}),
        (
            {"extra": {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "aws_session_token": "token"}},
            {"access_key": "key", "secret_key": "secret", "session_token": "token"},
        ),
        (
            {"extra": {"endpoint_url": "http://ceph:7480", "region_name": "eu-central-1", "verify": True}},
            {"endpoint_url": "http://ceph:7480", "region_name": "eu-central-1"},
        ),
    ],
    ids=["machine's own", "login", "extra", "endpoint"],
)
def test_a_connection_says_how_s3_is_reached(
    declared: Callable[..., None], settings: dict[str, Any], expected: dict[str, str]
) -> None:
    declared(**settings)

    store = ObjectStorageHook("s3://models/mlops").store()

    assert store.options == S3Options(**expected, origin="connection 'artifacts'")
    assert store.objects.uri("receipts/a.json") == "s3://models/mlops/receipts/a.json"


def test_an_authority_is_named_by_its_file(declared: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("certificate")
    declared(extra={"verify": str(tmp_path / "ca.pem")})
    assert ObjectStorageHook().options().ca_bundle == str(tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"conn_type": "mlflow"},
            "connection 'artifacts' is not an S3 connection: got mlflow, expected connection type aws",
        ),
        ({"login": "key"}, "connection 'artifacts' lacks its password, the secret key"),
        ({"password": "s3cret"}, "connection 'artifacts' lacks its login, the access key"),
        ({"extra": {"role_arn": "x", "region_name": "y"}}, r"an unknown extra: got \['role_arn'\]"),
        ({"extra": {"endpoint_url": "ceph:7480"}}, "endpoint_url of connection 'artifacts' is not a URL: got ceph"),
        ({"extra": {"verify": False}}, "connection 'artifacts' turns certificate verification off. Set `verify`"),
        ({"extra": {"verify": "/nowhere.pem"}}, "verify of connection 'artifacts' is not a file: got /nowhere.pem"),
    ],
)
def test_a_wrong_connection_is_refused_in_words(
    declared: Callable[..., None], settings: dict[str, Any], words: str
) -> None:
    declared(**settings)
    with pytest.raises(SpecError, match=words) as caught:
        ObjectStorageHook("s3://models/mlops").store()
    assert "s3cret" not in str(caught.value)


def test_a_connection_that_is_not_defined_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_CONN_ID", "nowhere")
    with pytest.raises(SpecError, match="connection 'nowhere' is not defined"):
        ObjectStorageHook().store()


def test_the_connection_that_is_named_signs_receipts(
    connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ObjectStorageHook("/tmp/mlops").store().secret is None
    monkeypatch.setenv("AIRFLOW__MLOPS__SIGNING_CONN_ID", "signing")
    with pytest.raises(SpecError, match="connection 'signing' is not defined"):
        ObjectStorageHook("/tmp/mlops").store()
    connection("signing", conn_type="generic")
    with pytest.raises(SpecError, match=r"signing_conn_id names, has no password.*32 random characters"):
        ObjectStorageHook("/tmp/mlops").store()
    connection("signing", conn_type="generic", password="only Airflow knows it")
    assert ObjectStorageHook("/tmp/mlops").store().secret == "only Airflow knows it"


@pytest.mark.parametrize(
    "uri", ["s3://", "s3:///mlops", "s3://Bad bucket/x", "s3://models/../other", "s3://models/a%2e"]
)
def test_a_place_on_s3_that_cannot_be_is_named(uri: str) -> None:
    with pytest.raises(ArtifactError, match="cannot be opened|is not allowed"):
        ObjectStorageHook(uri).store()
