from __future__ import annotations

import csv
import random
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import DAG

# What the tests of the operators share.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    """Customers of whom the older and richer stay."""
    chance = random.Random(7)
    file = tmp_path / "2013-03-01" / "customers.csv"
    file.parent.mkdir()
    with file.open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(["customer", "age", "balance", "plan", "left"])
        for customer in range(400):
            age, balance = chance.randint(18, 80), chance.randint(0, 1000)
            stays = age / 80 + balance / 1000 + chance.gauss(0, 0.3) > 1.1
            rows.writerow([f"c{customer}", age, balance, chance.choice("abc"), int(not stays)])
    return file


@pytest.fixture
def churn(customers: Path) -> Callable[..., DAG]:
    """A DAG written by hand, as a newcomer would."""
    from churn_by_hand import churn_dag

    return partial(churn_dag, customers)


@pytest.fixture
def mlflow(mlflow_uri: str, connection: Callable[..., None]) -> str:
    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri, extra={"ui_url": "http://mlflow"})
    return mlflow_uri
