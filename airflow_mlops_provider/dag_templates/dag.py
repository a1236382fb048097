"""The DAG of a pipeline: Airflow's own, but for what it costs to put it into a set."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG


class PipelineDAG(DAG):
    """A DAG that is hashed by its id.

    Airflow's own hash renders the schedule with its assets and timetable, and Airflow computes it twice wherever one
    task comes after another: a twelfth of the cost of parsing many pipelines. Equal DAGs have equal ids, so the id is
    a valid hash.
    """

    def __hash__(self) -> int:
        return hash(self.dag_id)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Leave the DAG; Airflow would take up by itself what is half made when an error ends it."""
        if error is not None:
            self.auto_register = False
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]  # Airflow's own carries no types
