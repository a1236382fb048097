"""Where predictions go besides their partition in the artifact store."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from airflow_mlops_provider.spec.frozen import Frozen


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
    function: str = Field(
        description="The dotted name of a function in the plugins folder or an allowed module, such as "
        "`warehouse.write`. It must replace what it wrote for the same `as_of`."
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments that the function gets besides the predictions."
    )

    @property
    def label(self) -> str:
        """The name that people see."""
        return self.function


Sink = Annotated[SqlSink | FunctionSink, Field(discriminator="kind")]
