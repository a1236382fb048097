"""The sections of a pipeline up to the measured candidates, without the preparation; each is an operator's dict."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from airflow_mlops_provider.spec.dates import EPOCHS, date_format_problem
from airflow_mlops_provider.spec.frozen import CandidateName, DottedName, Finite, Frozen, OpenShare, Span
from airflow_mlops_provider.spec.judgement import Explanation, Fairness
from airflow_mlops_provider.spec.parameters import BOOSTERS, estimator_problems
from airflow_mlops_provider.spec.privacy import Privacy, privacy_problem
from airflow_mlops_provider.spec.search import Range, Search, with_values

# ---------------------------------------------------------------- data


class Csv(Frozen):
    """How a source writes its values as text.

    `separator` and `encoding` are those of a CSV file. The others hold for every text that stands where a number or a
    moment belongs, of whatever format: JSON lines, Parquet, a query, a reader.
    """

    separator: str = Field(",", min_length=1, max_length=1, description="What stands between two fields.")
    decimal: Literal[".", ","] = Field(".", description="What stands before the fraction of a number.")
    thousands: Literal[",", ".", " ", "'"] | None = Field(
        None, description="What groups the digits of a number by three; nothing when left out."
    )
    encoding: str = Field("utf-8", description="Encoding of the file, by Python's name of it, such as `cp1252`.")
    missing: list[str] = Field(
        default_factory=lambda: [""],
        description="Texts that are no value, in every column. Where a number or a moment belongs, `NA`, `NaN`, `null` "
        "and their like never are one.",
    )
    dates: str | None = Field(
        None,
        description="How the timestamp is written: `%d.%m.%Y %H:%M` and the like, `epoch_seconds`, "
        "`epoch_milliseconds` or `epoch_microseconds`; ISO 8601 when left out.",
    )

    @model_validator(mode="after")
    def _can_be_read(self) -> Csv:
        if not self.separator.isascii() or self.separator in '"\r\n':
            raise ValueError(f"separator {self.separator!r} cannot separate fields; name one ASCII character")
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")
        if self.dates is not None and (problem := date_format_problem(self.dates)) is not None:
            raise ValueError(f"dates {self.dates!r} {problem}")
        try:
            "".encode(self.encoding)
        except (LookupError, ValueError) as error:
            raise ValueError(f"encoding {self.encoding!r} is none that Python knows") from error
        return self


class Source(Frozen):
    """Where rows come from: exactly one of `reader`, `uri` and `sql`."""

    reader: DottedName | None = Field(
        None,
        description="Function in the plugins folder (or an allowed module): "
        "`reader(as_of, start, **params)` gives a DataFrame or an Arrow table, or yields several.",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the reader.")
    uri: str | None = Field(None, description="File, or folder of files. May hold `{{ as_of }}`.")
    format: Literal["parquet", "csv", "jsonl"] | None = Field(
        None,
        description="Taken from the file name when it is left out (.parquet .csv .csv.zip .csv.gz .jsonl).",
    )
    partitioned_by: str | None = Field(
        None,
        description="Folder key with a date, as in `date=2013-03-01/`: only the days asked for are read.",
    )
    sql: str | None = Field(None, description="A query, run through the connection. May hold `{{ as_of }}`.")
    conn_id: str | None = Field(None, description="Airflow connection of the database, or of the object store.")
    csv: Csv = Field(Csv(), description="How values are written as text.")

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        named = [kind for kind in ("reader", "uri", "sql") if getattr(self, kind) is not None]
        if len(named) != 1:
            raise ValueError(f"name exactly one of reader, uri, sql; got {named or 'none'}")
        if self.reader is not None and self.reader.partition(".")[0] in ("sklearn", *BOOSTERS):
            raise ValueError(f"{self.reader!r} reads no data for a pipeline: write a reader in the plugins folder")
        if self.sql is not None and self.conn_id is None:
            raise ValueError("sql needs conn_id, the Airflow connection to run it through")
        return self


class Columns(Frozen):
    """The role of each column. Columns without a role are not read."""

    target: str = Field(description="What is predicted.")
    numeric: list[str] = Field(default_factory=list, description="Features used as numbers.")
    categorical: list[str] = Field(default_factory=list, description="Features used as categories.")
    timestamp: str | None = Field(None, description="When the row became known. Needed for as_of and time splits.")
    keys: list[str] = Field(default_factory=list, description="What identifies a row. Never a feature.")
    groups: list[str] = Field(
        default_factory=list,
        description="Read for `evaluation.fairness` alone: no model sees them, and scoring does not ask for them.",
    )

    @property
    def features(self) -> list[str]:
        """Numeric and then categorical features."""
        return [*self.numeric, *self.categorical]

    @property
    def all(self) -> list[str]:
        """Every column with a role, each once."""
        roles = [*self.keys, *([self.timestamp] if self.timestamp else []), *self.features, *self.groups, self.target]
        return list(dict.fromkeys(roles))

    @property
    def identity(self) -> list[str]:
        """What tells rows apart: their keys, else all that a model is made of."""
        return self.keys or [name for name in self.all if name not in self.groups]

    @model_validator(mode="after")
    def _roles_do_not_clash(self) -> Columns:
        if not self.features:
            raise ValueError("name at least one numeric or categorical feature")
        twice = sorted({name for name in self.features if self.features.count(name) > 1})
        if twice:
            raise ValueError(f"features named twice: {twice}")
        for role in (self.target, self.timestamp, *self.keys, *self.groups):
            if role in self.features:
                raise ValueError(f"{role!r} cannot be a feature as well: the model would see it")
        if twice := [name for name in self.groups if name in (self.target, self.timestamp, *self.keys)]:
            raise ValueError(f"groups {twice} have another role already")
        return self


class Data(Frozen):
    """What is read, and what its columns mean."""

    source: Source = Field(description="Where rows come from.")
    columns: Columns = Field(description="The role of each column.")
    time_of_day: str | None = Field(
        None,
        description="Column with the time of day, such as 18:00 or 18.00.00, where `columns.timestamp` holds the day "
        "alone. The two become the timestamp.",
    )
    timezone: str | None = Field(None, description="Zone of timestamps that carry none, such as `UTC`.")
    label_delay: Span = Field(timedelta(0), description="How long after its timestamp a row has its label.")
    window: Span | None = Field(None, gt=timedelta(0), description="Look back this far; all rows when left out.")
    privacy: Privacy | None = Field(None, description="What of people must not be stored; all is without.")

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
            raise ValueError(f"time_of_day needs a day, and source.csv.dates is {self.source.csv.dates}")
        if self.columns.timestamp is not None:
            return self
        if self.label_delay:
            raise ValueError("label_delay needs columns.timestamp: no row would be left out")
        # A reader is told where the window starts, and partitions are days.
        if self.window is not None and self.source.reader is None and self.source.partitioned_by is None:
            raise ValueError("window needs columns.timestamp, a reader or partitions: no row would be left out")
        return self


# ---------------------------------------------------------------- training, evaluation


class Costs(Frozen):
    """What a wrong prediction costs, in any unit: only their ratio counts."""

    false_positive: Finite = Field(gt=0, description="Of calling a negative row positive.")
    false_negative: Finite = Field(gt=0, description="Of missing a positive row.")


class ThresholdRule(Frozen):
    """What the decision threshold is chosen for, on validation rows: exactly one of `cost`, `recall`, `precision`."""

    cost: Costs | None = Field(None, description="The least total cost of wrong predictions.")
    recall: OpenShare | None = Field(None, description="At least this recall, with the best precision.")
    precision: OpenShare | None = Field(None, description="At least this precision, with the best recall.")

    @model_validator(mode="after")
    def _one_rule(self) -> ThresholdRule:
        named = [rule for rule in ("cost", "recall", "precision") if getattr(self, rule) is not None]
        if len(named) != 1:
            raise ValueError(f"name exactly one of cost, recall, precision; got {named or 'none'}")
        return self


class Candidate(Frozen):
    """One estimator with its parameters and the preprocessing that is fitted with it."""

    estimator: DottedName = Field(description="Class, such as `sklearn.linear_model.LogisticRegression`.")
    params: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments. A nested estimator is `{estimator: dotted.Name, params: {…}}`.",
    )
    impute_numeric: Literal["mean", "median", "most_frequent", "knn", "none"] = Field(
        "median", description="What fills a missing number; `none` leaves it to an estimator that can do without."
    )
    impute_categorical: Literal["most_frequent", "missing"] = Field(
        "missing", description="What fills a missing category; `missing` is a category of its own."
    )
    encode: Literal["onehot", "ordinal"] = Field("onehot", description="How categories become numbers.")
    scale: Literal["standard", "none"] = Field("standard", description="Whether numbers are centred and scaled.")
    calibrate: Literal["isotonic", "sigmoid"] | None = Field(
        None, description="How probabilities are corrected on validation rows; not at all when left out."
    )
    threshold: OpenShare | ThresholdRule | None = Field(
        None,
        description="Probability from which on a row of a binary task is positive, or what it is chosen for; "
        "the more probable class when left out.",
    )
    validation: OpenShare = Field(
        0.2, description="Share of the training rows kept to calibrate on and to choose the threshold from."
    )
    search: Search | None = Field(None, description="A search for better parameters; none when left out.")

    @model_validator(mode="after")
    def _space_names_parameters(self) -> Candidate:
        if self.search is not None:
            with_values(self.params, dict.fromkeys(self.search.space))
        return self

    @model_validator(mode="after")
    def _parameters_choose_and_no_more(self) -> Candidate:
        tried: list[tuple[dict[str, Any], str]] = [({}, "")]
        for name, values in {} if self.search is None else self.search.space.items():
            tried += [({name: value}, f"search.space.{name}: ") for value in _listed(values)]
        problems = [
            f"{place}{problem.removeprefix('.')}"
            for values, place in tried
            for problem in estimator_problems(
                {"estimator": self.estimator, "params": with_values(self.params, values)}, ""
            )
        ]
        if problems:
            raise ValueError("; ".join(dict.fromkeys(problems)))
        return self


def _listed(values: list[Any] | Range) -> list[Any]:
    return values if isinstance(values, list) else [values.low]


def with_metric(candidate: Candidate, metric: str) -> Candidate:
    """Return a candidate whose search, if it has one, says what decides."""
    search = candidate.search
    if search is None or search.metric is not None:
        return candidate
    return candidate.model_copy(update={"search": search.model_copy(update={"metric": metric})})


#: Which rows a model that passed the gates is fitted on once more.
Refit = Literal["all", "none"]


class Training(Frozen):
    """The candidates, by name."""

    candidates: dict[CandidateName, Candidate] = Field(
        min_length=1,
        max_length=50,
        description="Each is trained by a mapped task of its own; the best is the challenger.",
    )
    refit: Refit = Field(
        "all",
        description="What serves: the candidate that passed the gates, fitted anew on `all` rows, the held-out ones "
        "too; or, with `none`, the very model that was judged.",
    )


class Bootstrap(Frozen):
    """Resampling behind every interval (percentile bootstrap; Efron & Tibshirani 1993, ch. 13)."""

    resamples: int = Field(2000, ge=20, le=10_000, description="How often the held-out rows are drawn anew.")
    confidence: OpenShare = Field(0.95, description="Of the two-sided intervals that are reported.")


class Importance(Frozen):
    """Permutation importance on a bounded sample of the holdout (Breiman 2001)."""

    repeats: int = Field(3, ge=1, le=100, description="How often each column is shuffled.")
    rows: PositiveInt = Field(2000, description="Largest sample of the holdout.")


class Evaluation(Frozen):
    """How candidates are measured. The first metric decides."""

    metrics: list[str] = Field(default_factory=list, description="Names; by task when left out.")
    slices: list[str] = Field(default_factory=list, description="Categorical columns; each value is a slice.")
    min_slice_rows: PositiveInt = Field(200, description="A slice with fewer rows is counted and not measured.")
    bootstrap: Bootstrap = Field(Bootstrap(), description="Resampling behind every interval.")
    importance: Importance | None = Field(Importance(), description="Permutation importance; null turns it off.")
    latency_calls: int = Field(
        50, ge=10, le=10_000, description="One-row predictions that a gate `latency` times, five times each."
    )
    fairness: Fairness | None = Field(None, description="Whom the winner serves worse; not asked when left out.")
    explanation: Explanation | None = Field(None, description="What the winner relies on; not asked when left out.")
