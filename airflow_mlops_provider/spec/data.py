"""The section `data`: where rows come from, and what their columns mean."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from airflow_mlops_provider.spec.dates import EPOCHS, date_format_problem
from airflow_mlops_provider.spec.frozen import DottedName, Frozen, Span
from airflow_mlops_provider.spec.parameters import BOOSTERS
from airflow_mlops_provider.spec.privacy import Privacy, privacy_problem


class Csv(Frozen):
    """How a source writes its values as text.

    `separator` and `encoding` apply to CSV files. The other settings apply to texts in every source: in JSON lines and
    Parquet, from a query or from a reader.
    """

    separator: str = Field(
        ",", min_length=1, max_length=1, description="Character between two fields of a CSV file, in ASCII."
    )
    decimal: Literal[".", ","] = Field(".", description="Character before the fraction of a number.")
    thousands: Literal[",", ".", " ", "'"] | None = Field(
        None, description="Character that groups the digits of a number by three. Defaults to none."
    )
    encoding: str = Field("utf-8", description="Encoding of a CSV file, under its name in Python, such as `cp1252`.")
    missing: list[str] = Field(
        default_factory=lambda: [""],
        description="Texts that stand for a missing value, in every column. In columns of numbers and timestamps, "
        "`NA`, `NaN`, `null` and the like always do.",
    )
    dates: str | None = Field(
        None,
        description="Format of the timestamp: a pattern such as `%d.%m.%Y %H:%M`, or `epoch_seconds`, "
        "`epoch_milliseconds` or `epoch_microseconds`. Defaults to ISO 8601.",
    )

    @model_validator(mode="after")
    def _can_be_read(self) -> Csv:
        if not self.separator.isascii() or self.separator in '"\r\n':
            raise ValueError(f"separator {self.separator!r} cannot separate fields; use one ASCII character")
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")
        if self.dates is not None and (problem := date_format_problem(self.dates)) is not None:
            raise ValueError(f"dates {self.dates!r} {problem}")
        try:
            "".encode(self.encoding)
        except (LookupError, ValueError) as error:
            raise ValueError(f"encoding {self.encoding!r} is not known to Python") from error
        return self


class Source(Frozen):
    """Where the rows come from: exactly one of `reader`, `uri` and `sql`."""

    reader: DottedName | None = Field(
        None,
        description="Function in the plugins folder or in an allowed module. `reader(as_of, start, **params)` returns "
        "a DataFrame or an Arrow table, or yields several.",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the function `reader`.")
    uri: str | None = Field(
        None, description="File, or folder of files, on disk or on S3. It may contain `{{ as_of }}`."
    )
    format: Literal["parquet", "csv", "jsonl"] | None = Field(
        None,
        description="Format of the files at `uri`. Defaults to what the name of each file says (.parquet .csv .csv.zip "
        ".csv.gz .jsonl).",
    )
    partitioned_by: str | None = Field(
        None,
        description="Key of the folders that hold one day each, such as `date` for `date=2013-03-01/`. Only the days "
        "that a run needs are read.",
    )
    sql: str | None = Field(None, description="SQL query, run through `conn_id`. It may contain `{{ as_of }}`.")
    conn_id: str | None = Field(
        None, description="Airflow connection of the database that `sql` queries. Needed with `sql`."
    )
    csv: Csv = Field(Csv(), description="How the source writes its values as text.")

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        named = [kind for kind in ("reader", "uri", "sql") if getattr(self, kind) is not None]
        if len(named) != 1:
            raise ValueError(f"name exactly one of reader, uri, sql; got {named or 'none'}")
        if self.reader is not None and self.reader.partition(".")[0] in ("sklearn", *BOOSTERS):
            raise ValueError(f"{self.reader!r} is not a reader: write one in the plugins folder")
        if self.sql is not None and self.conn_id is None:
            raise ValueError("sql needs conn_id, the Airflow connection to run it through")
        return self


class Columns(Frozen):
    """The role of each column. Columns without a role are not read."""

    target: str = Field(description="Column that the model predicts.")
    numeric: list[str] = Field(default_factory=list, description="Features that are used as numbers.")
    categorical: list[str] = Field(default_factory=list, description="Features that are used as categories.")
    timestamp: str | None = Field(
        None,
        description="Column with the moment at which a row became known. Needed to select rows by `as_of`, and for "
        "splits by time.",
    )
    keys: list[str] = Field(
        default_factory=list, description="Columns that identify a row together. They are never features."
    )
    groups: list[str] = Field(
        default_factory=list,
        description="Columns that are read only for `evaluation.fairness`. No model sees them, and scoring does not "
        "need them.",
    )
    amounts: list[str] = Field(
        default_factory=list,
        description="Numbers that no model sees, such as the amount of a loan, for metrics of your own. Scoring does "
        "not need them.",
    )

    @property
    def features(self) -> list[str]:
        """Numeric and then categorical features."""
        return [*self.numeric, *self.categorical]

    @property
    def all(self) -> list[str]:
        """Every column with a role, each once."""
        timestamp = [self.timestamp] if self.timestamp else []
        return list(dict.fromkeys([*self.keys, *timestamp, *self.features, *self.groups, *self.amounts, self.target]))

    @property
    def identity(self) -> list[str]:
        """What tells rows apart: their keys, else all that a model is made of."""
        return self.keys or [name for name in self.all if name not in (*self.groups, *self.amounts)]

    @model_validator(mode="after")
    def _roles_do_not_clash(self) -> Columns:
        if not self.features:
            raise ValueError("name at least one numeric or categorical feature")
        twice = sorted({name for name in self.features if self.features.count(name) > 1})
        if twice:
            raise ValueError(f"features named twice: {twice}")
        for role in (self.target, self.timestamp, *self.keys, *self.groups, *self.amounts):
            if role in self.features:
                raise ValueError(f"{role!r} cannot be a feature as well: the model would see it")
        if twice := [name for name in self.groups if name in (self.target, self.timestamp, *self.keys)]:
            raise ValueError(f"groups {twice} already have another role")
        taken = (self.target, self.timestamp, *self.keys, *self.groups)
        if twice := [name for name in self.amounts if name in taken]:
            raise ValueError(f"amounts {twice} already have another role")
        return self


class Data(Frozen):
    """Where the rows come from, and what their columns mean."""

    source: Source = Field(description="Where the rows come from: files, a query or a reader function.")
    columns: Columns = Field(description="The role of each column. Columns without a role are not read.")
    time_of_day: str | None = Field(
        None,
        description="Column with the time of day, such as 18:00 or 18.00.00, where `columns.timestamp` contains only "
        "the day. The two together become the timestamp.",
    )
    timezone: str | None = Field(
        None,
        description="Time zone of timestamps that do not name one, such as `UTC`. Needed when there are such "
        "timestamps.",
    )
    label_delay: Span = Field(
        timedelta(0),
        description="Time from a row's timestamp until its label is known. Training leaves out rows younger than this.",
    )
    window: Span | None = Field(
        None, gt=timedelta(0), description="How far training looks back from `as_of`. Defaults to all rows."
    )
    privacy: Privacy | None = Field(
        None,
        description="Which columns that identify people are dropped, hashed or refused. Without this section, values "
        "are stored as they are.",
    )

    @property
    def beside(self) -> tuple[str, ...]:
        """Columns that are read and have no role of their own."""
        return () if self.time_of_day is None else (self.time_of_day,)

    @property
    def conn_ids(self) -> list[str]:
        """Airflow connections that reading takes."""
        own = None if self.privacy is None else self.privacy.conn_id
        return [name for name in (self.source.conn_id, own) if name is not None]

    @model_validator(mode="after")
    def _privacy_fits(self) -> Data:
        if self.privacy is not None and (problem := privacy_problem(self.privacy, self.columns)) is not None:
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _rows_have_a_time(self) -> Data:
        if self.time_of_day is not None and (self.columns.timestamp is None or self.time_of_day in self.columns.all):
            raise ValueError("time_of_day needs columns.timestamp, the day, and a column without another role")
        if self.time_of_day is not None and self.source.csv.dates in EPOCHS:
            raise ValueError(f"time_of_day needs a day, but source.csv.dates is {self.source.csv.dates}")
        if self.columns.timestamp is not None:
            return self
        if self.label_delay:
            raise ValueError("label_delay needs columns.timestamp: else no row would be left out")
        # A reader is given the start of the window, and partitions are days.
        if self.window is not None and self.source.reader is None and self.source.partitioned_by is None:
            raise ValueError("window needs columns.timestamp, a reader or partitions: else no row would be left out")
        return self
