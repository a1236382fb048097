from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from ingested_rows import ROOT

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from pathlib import Path


def test_the_flights_are_what_was_known_before_departure(tmp_path: Path) -> None:
    pipeline = load_pipeline(ROOT / "config/pipelines/flight_delays.yaml")
    store = ArtifactStore(str(tmp_path))
    as_of = datetime(2013, 3, 1, tzinfo=UTC)
    request = StepRequest(
        step="ingest",
        pipeline=pipeline.name,
        as_of=as_of,
        section={"task": pipeline.task, "data": pipeline.data.model_dump(mode="json")},
        allow_list=AllowList(plugins_folder=str(ROOT / "plugins")),
    )
    result = run_step(request, store)
    frame = read_table(store, result.artifacts["dataset"])
    assert sorted(frame.columns) == sorted(pipeline.data.columns.all)
    assert frame["scheduled_departure"].max() < as_of - timedelta(days=1)
    assert frame["flight_key"].is_unique
    assert len(frame) == 48_910
    # UA 1545, the first flight of the year: 05:15 in New York, two minutes late, eleven minutes late on arrival.
    first = frame.iloc[0]
    assert (first["flight_key"], first["minute_of_day"], first["late"]) == ("UA-1545-EWR-2013-01-01", 315, 0)
    assert first["scheduled_departure"] == pd.Timestamp("2013-01-01T10:15Z")
    assert 0.2 < frame["late"].mean() < 0.3


@pytest.mark.parametrize("name", ["diabetes_progression", "wine_cultivar"])
def test_the_bundled_pipelines_pass_their_own_validation(tmp_path: Path, name: str) -> None:
    pipeline = load_pipeline(ROOT / f"config/pipelines/{name}.yaml")
    store = ArtifactStore(str(tmp_path))

    def run(step: str, section: dict[str, Any], **inputs: Any) -> Any:
        request = StepRequest(
            step=step,
            pipeline=name,
            as_of=datetime(2013, 3, 1, tzinfo=UTC),
            section=section,
            inputs=inputs,
            allow_list=AllowList(plugins_folder=str(ROOT / "plugins")),
        )
        return run_step(request, store)

    dataset = run("ingest", {"task": pipeline.task, "data": pipeline.data.model_dump(mode="json")})
    validated = run("validate", pipeline.validation.model_dump(mode="json"), dataset=[dataset])
    assert (validated.failure, validated.facts["failed"], validated.facts["warned"]) == (None, 0, 0)
    assert pq.read_metadata(store.fetch(dataset.artifacts["dataset"])).num_rows == dataset.facts["rows"]
