from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from scored_customers import World

# What the tests of scoring share.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def world(tmp_path: Path, mlflow_uri: str) -> World:
    from scored_customers import World

    from airflow_mlops_provider.registry import Registry

    return World(tmp_path, Registry.connect(mlflow_uri))
