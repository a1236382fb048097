"""Write the JSON schema of the pipeline file, for editors; the tests check that it is up to date."""

from __future__ import annotations

import json
from pathlib import Path

from airflow_mlops_provider.spec import Pipeline

TARGET = Path(__file__).resolve().parent.parent / "config" / "pipeline.schema.json"


def rendered() -> str:
    """Return the schema as it is checked in."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Pipeline.model_json_schema()}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(rendered(), encoding="utf-8")
