"""Write the JSON schema of the pipeline file, for editors; the tests check that it is up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow_mlops_provider.spec import Pipeline

TARGET = Path(__file__).resolve().parent.parent / "config" / "pipeline.schema.json"


def rendered() -> str:
    """Return the schema as it is checked in."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **without_formats(Pipeline.model_json_schema()),
    }
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def without_formats(value: Any) -> Any:
    """Drop `format`: durations and dates may be written as people write them, such as `1 day` and `2013-02-01`."""
    if isinstance(value, dict):
        dates = ("duration", "date-time")
        return {key: without_formats(item) for key, item in value.items() if not (key == "format" and item in dates)}
    return [without_formats(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    TARGET.write_text(rendered(), encoding="utf-8")
