"""The host name of Airflow's parts in the tests, where all of them share one host."""

from __future__ import annotations

import os


def worker_name() -> str:
    """Return which of Airflow's parts this process belongs to, for `[core] hostname_callable`."""
    return os.environ.get("MLOPS_TEST_PART", "tests")
