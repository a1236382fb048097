"""Where predictions go besides their partition in the artifact store."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from airflow_mlops_provider.spec.frozen import DottedName, Frozen
from airflow_mlops_provider.spec.parameters import function_problem


class SqlSink(Frozen):
    """Writes the predictions of each window into a database table."""

    kind: Literal["sql"] = Field(description="A database table.")
    conn_id: str = Field(min_length=1, description="Airflow connection of the database.")
    table: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$",
        max_length=127,
        description="Table of this pipeline's predictions, such as `churn` or `ml.churn`. It is created when it does "
        "not exist. A run replaces the rows of its `as_of`.",
    )

    @property
    def label(self) -> str:
        """The name that people see."""
        return f"table {self.table} of {self.conn_id}"


class FunctionSink(Frozen):
    """Calls a function of your own with the predictions of each window."""

    kind: Literal["function"] = Field(description="A function of your own.")
    function: DottedName = Field(
        description="The dotted name of a function in the plugins folder or an allowed module, such as "
        "`warehouse.write`. It must replace what it wrote for the same `as_of`."
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments that the function gets besides the predictions."
    )

    @model_validator(mode="after")
    def _of_the_user(self) -> FunctionSink:
        if (problem := function_problem(self.function)) is not None:
            raise ValueError(problem)
        if taken := sorted({"pipeline", "as_of", "version"} & set(self.params)):
            raise ValueError(f"params.{taken[0]} is passed to every sink: choose another name")
        return self

    @property
    def label(self) -> str:
        """The name that people see."""
        return self.function


Sink = Annotated[SqlSink | FunctionSink, Field(discriminator="kind")]
