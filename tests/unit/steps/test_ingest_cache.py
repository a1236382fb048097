from __future__ import annotations

import random
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from ingested_rows import COLUMNS, ROOT, parquet, rows

from airflow_mlops_provider.data.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("seed", range(3))
def test_equal_rows_give_equal_bytes_in_any_order_and_batches(steps: Any, tmp_path: Path, seed: int) -> None:
    frame = rows(70_000, start=datetime(2012, 12, 1, tzinfo=UTC))
    ordered = steps.ingest(parquet(frame, tmp_path / "ordered.parquet"))
    shuffled = frame.sample(frac=1, random_state=seed)
    group = random.Random(seed).randrange(5_000, 60_000)
    other = steps.ingest(parquet(shuffled, tmp_path / f"{seed}.parquet", group))
    assert other.artifacts == ordered.artifacts
    assert other.key != ordered.key
    at = read_table(steps.store, other.artifacts["dataset"], ["at"])["at"]
    assert at.is_monotonic_increasing


def test_an_unchanged_file_is_not_read_again_and_a_changed_one_is(steps: Any, tmp_path: Path) -> None:
    data = parquet(rows(100), tmp_path / "d.parquet")
    first = steps.ingest(data)
    assert steps.ingest(data) == first.model_copy(update={"cached": True})
    parquet(rows(101), tmp_path / "d.parquet")
    again = steps.ingest(data)
    assert not again.cached
    assert again.facts["rows"] == 101


def test_recompute_reads_an_unchanged_file_again(steps: Any, tmp_path: Path) -> None:
    data = parquet(rows(100), tmp_path / "d.parquet")
    first = steps.ingest(data)
    again = steps.ingest(data, recompute=True)
    assert (again.cached, again.artifacts, again.key) == (False, first.artifacts, first.key)


COUNTING_READER = """
    import pathlib

    def read(as_of, start, log):
        import pandas as pd
        with open(log, "a") as file:
            file.write("read ")
        return pd.DataFrame({"late": [0, 1], "at": pd.Timestamp("2013-02-01", tz="UTC"), "id": [1, 2], "x": [1, 2],
                             "c": ["a", "b"]})
    """


def test_a_reader_with_a_fingerprint_is_not_called_again(
    steps: Any, reader: Callable[[str], str], tmp_path: Path
) -> None:
    name = reader(
        COUNTING_READER + "\n    read.fingerprint = lambda log: pathlib.Path(log).with_suffix('.v').read_text()\n"
    )
    log = tmp_path / "log"
    log.with_suffix(".v").write_text("1")
    data = {"source": {"reader": name, "params": {"log": str(log)}}, "columns": COLUMNS}
    assert [steps.ingest(data).cached, steps.ingest(data).cached] == [False, True]
    log.with_suffix(".v").write_text("2")
    assert not steps.ingest(data).cached
    assert log.read_text() == "read read "


def test_a_reader_without_a_fingerprint_is_called_each_time_and_keeps_its_key(
    steps: Any, reader: Callable[[str], str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    data = {"source": {"reader": reader(COUNTING_READER), "params": {"log": str(log)}}, "columns": COLUMNS}
    first, second = steps.ingest(data), steps.ingest(data)
    assert (first.key, first.artifacts) == (second.key, second.artifacts)
    assert log.read_text() == "read read "


def test_changed_reader_code_is_another_key(
    steps: Any, reader: Callable[[str], str], plugins: Path, tmp_path: Path
) -> None:
    name = reader(COUNTING_READER + "\n    read.fingerprint = lambda log: 'fixed'\n")
    data = {"source": {"reader": name, "params": {"log": str(tmp_path / "log")}}, "columns": COLUMNS}
    first = steps.ingest(data)
    file = plugins / f"{name.partition('.')[0]}.py"
    file.write_text(file.read_text() + "\n# a change\n")
    second = steps.ingest(data)
    assert not second.cached
    assert second.key != first.key


def test_a_cached_run_imports_nothing_heavy(tmp_path: Path) -> None:
    code = f"""
import sys
from datetime import UTC, datetime
from pathlib import Path
from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

sys.path.insert(0, "plugins")
pipeline = load_pipeline(Path("config/pipelines/wine_cultivar.yaml"))
allow_list = AllowList(plugins_folder="plugins")
store = ArtifactStore({str(tmp_path)!r})

def run(step, section, **inputs):
    request = StepRequest(step=step, pipeline="wine", as_of=datetime(2013, 3, 1, tzinfo=UTC), section=section,
                          inputs=inputs, allow_list=allow_list)
    return run_step(request, store)

dataset = run("ingest", {{"task": pipeline.task, "data": pipeline.data.model_dump(mode="json")}})
validated = run("validate", pipeline.validation.model_dump(mode="json"), dataset=[dataset])
heavy = {{"pandas", "numpy", "pyarrow", "sklearn", "great_expectations", "mlflow", "boto3"}} & set(sys.modules)
print(dataset.cached, validated.cached, sorted(heavy))
"""
    outputs = [
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert outputs[0].startswith("False False")
    assert outputs[1].strip() == "True True []"
