"""Predictions into tables and functions, after they were published. Each sink replaces what it has of one `as_of`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from airflow_mlops_provider.allow_list import users_code
from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.spec.sinks import FunctionSink, Sink, SqlSink

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

log = logging.getLogger(__name__)

_SINKS: TypeAdapter[list[Sink]] = TypeAdapter(list[Sink])


def parsed_sinks(sinks: Sequence[Mapping[str, Any]]) -> list[Sink]:
    """Return the sinks of a pipeline file, or of a DAG written by hand.

    :raises SpecError: one is wrong; names the setting, and no value.
    """
    try:
        return _SINKS.validate_python(list(sinks))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise SpecError("the prediction sinks are wrong:", problems=problems) from None


def write_sinks(sinks: Sequence[Sink], store: ArtifactStore, scored: StepResult, allow_list: AllowList) -> None:
    """Write the predictions of one window to each sink, in order.

    Safe to repeat: a sink that was written before is written again, with the same rows.

    :raises MLOpsError: a sink refuses the rows; names it.
    :raises TransientServiceError: what it writes to cannot be reached.
    """
    for sink in sinks:
        failpoint("predictions.sink.before")
        if isinstance(sink, SqlSink):
            _into_table(sink, store, scored)
        else:
            _by_function(sink, store, scored, allow_list)
        failpoint("predictions.sink.after")
        log.info("Wrote the predictions of %s to %s.", as_of_text(scored.as_of), sink.label)


def _into_table(sink: SqlSink, store: ArtifactStore, scored: StepResult) -> None:
    from airflow_mlops_provider.hooks.sql import replace_rows

    replace_rows(sink.conn_id, sink.table, ("as_of", as_of_text(scored.as_of)), _tables(store, scored))


def _by_function(sink: FunctionSink, store: ArtifactStore, scored: StepResult, allow_list: AllowList) -> None:
    function = allow_list.load_function(sink.function)
    facts = {"pipeline": scored.pipeline, "as_of": scored.as_of, "version": scored.facts["version"]}
    hint = "Correct the function, then clear the task `score`: the predictions are not computed again."
    with users_code(f"sink {sink.function}", hint):
        function(_tables(store, scored), **facts, **sink.params)


def _tables(store: ArtifactStore, scored: StepResult) -> Iterator[pa.Table]:
    from airflow_mlops_provider.data.tables import iter_tables

    return iter_tables(store, scored.artifacts["predictions"])
