"""The file that `. .demo/env` reads."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from demo import write_environment
from local_airflow import LocalAirflow

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_demo_that_is_started_in_its_own_shell_tells_the_next_shell_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow = LocalAirflow(tmp_path / "a folder")
    airflow.home.mkdir()
    for name, value in airflow.settings.items():
        monkeypatch.setenv(name, value)
    write_environment(airflow)
    reported = subprocess.run(
        ["sh", "-c", '. "$0"; echo "$AIRFLOW_HOME"; command -v airflow', str(airflow.home / "env")],
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=True,
    )
    home, program = reported.stdout.splitlines()
    assert (home, program) == (str(airflow.home), airflow.settings["PATH"].partition(":")[0] + "/airflow")
    assert "SECRET" not in (airflow.home / "env").read_text()
