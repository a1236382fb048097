from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from services.receivers import mailbox, slack

from airflow_mlops_provider.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from notified_model import World
    from services.receivers import Mailbox, Slack

# What the tests of messages share.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def mails(connection: Callable[..., None]) -> Iterator[Mailbox]:
    with mailbox() as found:
        connection("smtp_default", **found.connection)
        yield found


@pytest.fixture
def posts(connection: Callable[..., None]) -> Iterator[Slack]:
    with slack() as found:
        api = {"base_url": f"{found.url}/api/"}
        connection("slack_api_default", conn_type="slack", password="xoxb-secret", extra=api)
        connection("slack_default", conn_type="slackwebhook", host=f"{found.url}/services", password="T0/B0/secret")
        yield found


@pytest.fixture
def world(
    worker: Any, mlflow_uri: str, connection: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> World:
    from notified_model import World

    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri, extra={"ui_url": "https://mlflow.example.org"})
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.org/team/")
    return World(Registry.connect(mlflow_uri), worker, tmp_path)
