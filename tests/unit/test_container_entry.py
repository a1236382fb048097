"""What goes into a container and comes out of it, without a container."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider import __version__
from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.exceptions import (
    DataError,
    MLOpsError,
    ModelUnavailableError,
    NotAllowedError,
    SpecError,
    TransientServiceError,
)
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.runner import committed, run_step
from airflow_mlops_provider.wire import Order, StepAnswer, Trouble, order_in

if TYPE_CHECKING:
    from airflow_mlops_provider.storage import ArtifactStore

PROJECT = Path(__file__).resolve().parents[2]
IMAGE = f"sha256:{'a' * 64}"
#: Of which none is in the image.
NOT_THERE = ("airflow", "mlflow", "docker")

READER = """
import pandas as pd

def rows(as_of, start):
    print("printed by a library")
    numbers = range(160)
    return pd.DataFrame({"age": [float(number) for number in numbers], "left": [number % 3 == 0 for number in numbers]})
"""


def request(plugins: Path, reader: str = "people.rows", **changes: Any) -> StepRequest:
    data = {"source": {"reader": reader}, "columns": {"target": "left", "numeric": ["age"]}}
    return StepRequest(
        step="ingest",
        pipeline="churn",
        as_of=datetime(2024, 1, 1, tzinfo=UTC),
        section={"task": "binary", "data": data},
        allow_list=AllowList(plugins_folder=str(plugins)),
        **changes,
    )


def order(plugins: Path, store: ArtifactStore, **changes: Any) -> Order:
    return Order(**{"request": request(plugins), "image": IMAGE, "store": store.root, **changes})


def ran(line: str, step: str = "ingest") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "airflow_mlops_provider", "run", step]
    environment = {"PYTHONPATH": str(PROJECT), "PATH": ""}
    return subprocess.run(command, input=line, capture_output=True, text=True, env=environment)


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "people.py").write_text(READER, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_an_order_is_answered_by_one_line_and_the_log_goes_elsewhere(plugins: Path, store: ArtifactStore) -> None:
    done = ran(order(plugins, store).model_dump_json() + "\n")
    assert done.returncode == 0, done.stderr[-2000:]
    result = StepAnswer.model_validate_json(done.stdout).settled()
    assert result.facts["rows"] == 160
    assert store.fetch(result.artifacts["dataset"]).is_file()
    assert "printed by a library" in done.stderr
    assert "INFO churn: step ingest took" in done.stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert imported.isdisjoint(NOT_THERE)
    assert "pandas" in imported


def test_an_error_inside_is_answered_as_data(plugins: Path, store: ArtifactStore) -> None:
    wrong = order(plugins, store, request=request(plugins, reader="os.system"))
    done = ran(wrong.model_dump_json() + "\n")
    assert done.returncode == 1
    with pytest.raises(NotAllowedError, match="outside the allow-list"):
        StepAnswer.model_validate_json(done.stdout).settled()


def test_a_container_that_was_given_nothing_ends_and_may_be_tried_again() -> None:
    done = ran("")
    with pytest.raises(TransientServiceError, match="received no request"):
        StepAnswer.model_validate_json(done.stdout).settled()


@pytest.mark.parametrize("half", ["{", '{"package": "0'])
def test_half_an_order_is_none(half: str) -> None:
    with pytest.raises(TransientServiceError):
        order_in(half, "ingest")


def test_an_order_of_another_version_is_refused_by_name(plugins: Path, store: ArtifactStore) -> None:
    line = json.dumps({**order(plugins, store).model_dump(mode="json"), "package": "9.9", "new": 1}) + "\n"
    with pytest.raises(SpecError, match=rf"got {__version__}, expected 9\.9.*Rebuild the image"):
        order_in(line, "ingest")


def test_an_order_for_another_step_is_refused(plugins: Path, store: ArtifactStore) -> None:
    with pytest.raises(SpecError, match="another step"):
        order_in(order(plugins, store).model_dump_json() + "\n", "train")


def test_an_order_does_not_show_its_secrets(plugins: Path, store: ArtifactStore) -> None:
    assert "s3cret" not in repr(order(plugins, store, options={"secret_key": "s3cret"}))


@pytest.mark.parametrize(
    "error",
    [
        DataError("column 'age' is missing", got=["left"], expected="age", hint="Add it."),
        SpecError("two are wrong", problems=["a: is", "b: is too"], hint="Correct them."),
        ModelUnavailableError("it is gone"),
        TransientServiceError("it is away", got=503),
        MLOpsError("long", got="x" * 4000),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_comes_out_as_what_it_was(error: MLOpsError) -> None:
    again = Trouble.model_validate_json(Trouble.of(error, "train").model_dump_json()).as_error()
    assert (type(again), str(again)) == (type(error), str(error))


@pytest.mark.parametrize(
    ("error", "kind"), [(ConnectionResetError("peer"), TransientServiceError), (KeyError("x"), MLOpsError)]
)
def test_an_error_of_others_is_named_and_what_may_pass_is_tried_again(error: Exception, kind: type[MLOpsError]) -> None:
    again = Trouble.of(error, "train").as_error()
    assert type(again) is kind
    assert type(error).__name__ in str(again)


def test_an_answer_without_anything_is_an_error() -> None:
    with pytest.raises(MLOpsError, match="the container returned nothing"):
        StepAnswer().settled()


# ---------------------------------------------------------------- what is already done


def prepared(plugins: Path, store: ArtifactStore, image: str | None) -> StepRequest:
    dataset = run_step(request(plugins), store)
    requested = request(plugins).model_copy(
        update={"step": "prepare", "section": {"split": {"by": "random"}}, "inputs": {"dataset": [dataset]}}
    )
    run_step(requested, store, image=image)
    return requested


def test_what_a_container_of_the_image_did_is_found_outside(plugins: Path, store: ArtifactStore) -> None:
    requested = prepared(plugins, store, IMAGE)
    found = committed(requested, store, image=IMAGE)
    assert found is not None
    assert found.cached
    assert committed(requested, store, image=f"sha256:{'b' * 64}") is None, "another image computes anew"
    assert committed(requested.model_copy(update={"recompute": True}), store, image=IMAGE) is None


def test_what_the_worker_did_says_nothing_of_an_image(plugins: Path, store: ArtifactStore) -> None:
    assert committed(prepared(plugins, store, None), store, image=IMAGE) is None


def test_a_source_that_only_the_container_sees_is_looked_up_there(plugins: Path, store: ArtifactStore) -> None:
    data = {"source": {"uri": "/only/inside.csv"}, "columns": {"target": "left", "numeric": ["age"]}}
    requested = request(plugins).model_copy(update={"section": {"task": "binary", "data": data}})
    with pytest.raises(DataError):
        run_step(requested, store)
    assert committed(requested, store, image=IMAGE) is None
