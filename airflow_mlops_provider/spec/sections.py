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
            raise ValueError(f"{self.reader!r} reads no data for a pipeline: write a reader in the plugins folder")
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
    """What each kind of wrong prediction costs, in any unit: only the ratio of the two matters."""

    false_positive: Finite = Field(gt=0, description="Cost of predicting a negative row as positive, in any unit.")
    false_negative: Finite = Field(gt=0, description="Cost of predicting a positive row as negative, in any unit.")


class ThresholdRule(Frozen):
    """How the decision threshold is chosen on validation rows: by exactly one of `cost`, `recall`, `precision`."""

    cost: Costs | None = Field(
        None, description="Choose the threshold with the lowest total cost of wrong predictions."
    )
    recall: OpenShare | None = Field(
        None, description="Choose the threshold with the best precision among those with at least this recall."
    )
    precision: OpenShare | None = Field(
        None, description="Choose the threshold with the best recall among those with at least this precision."
    )

    @model_validator(mode="after")
    def _one_rule(self) -> ThresholdRule:
        named = [rule for rule in ("cost", "recall", "precision") if getattr(self, rule) is not None]
        if len(named) != 1:
            raise ValueError(f"name exactly one of cost, recall, precision; got {named or 'none'}")
        return self


class FeatureTransformer(Frozen):
    """Makes further features from some columns, by a transformer that is fitted and stored with the model."""

    transformer: DottedName = Field(
        description="Class of the transformer, such as `sklearn.preprocessing.TargetEncoder`, or one in the plugins "
        "folder. It follows scikit-learn's protocol and returns numbers."
    )
    columns: list[str] = Field(
        min_length=1,
        description="Feature columns that it gets, in this order, as a DataFrame with missing values as they are. The "
        "columns themselves remain features.",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the transformer.")
    impute: bool = Field(
        False, description="Whether to fill in missing numbers before the transformer, as `impute_numeric` says."
    )


class Candidate(Frozen):
    """One estimator with its parameters and the preprocessing that is fitted with it."""

    estimator: DottedName = Field(
        description="Class of the estimator, such as `sklearn.linear_model.LogisticRegression`."
    )
    params: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments of the estimator. A nested estimator is written as `{estimator: dotted.Name, "
        "params: {…}}`.",
    )
    features: list[FeatureTransformer] = Field(
        default_factory=list,
        description="Further features that transformers make from the columns. They are filled in and scaled like "
        "numbers.",
    )
    impute_numeric: Literal["mean", "median", "most_frequent", "knn", "none"] = Field(
        "median",
        description="How missing numbers are filled in. `none` leaves them to an estimator that can handle them.",
    )
    impute_categorical: Literal["most_frequent", "missing"] = Field(
        "missing", description="How missing categories are filled in. `missing` makes them a category of their own."
    )
    encode: Literal["onehot", "ordinal"] = Field(
        "onehot",
        description="How categories become numbers: `onehot` makes a column for each category, `ordinal` a number.",
    )
    scale: Literal["standard", "none"] = Field(
        "standard", description="Whether numbers are centred and scaled (`standard`) or left as they are (`none`)."
    )
    calibrate: Literal["isotonic", "sigmoid"] | None = Field(
        None,
        description="How a classifier's probabilities are calibrated on validation rows. Without it, they are left as "
        "they are.",
    )
    threshold: OpenShare | ThresholdRule | None = Field(
        None,
        description="Probability from which a row of a binary task is positive, or a rule to choose it. Without it, "
        "the more probable class is predicted.",
    )
    validation: OpenShare = Field(
        0.2,
        description="Share of the training rows to set aside for calibration and for a threshold rule. Not used "
        "without them.",
    )
    search: Search | None = Field(
        None, description="Search for better parameters. Without it, `params` are used as they are."
    )

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
        for index, one in enumerate(self.features):
            setting = {"estimator": one.transformer, "params": one.params}
            problems += [f"features.{index}: {each.removeprefix('.')}" for each in estimator_problems(setting, "")]
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
    """The candidates to train, and which fitted model serves."""

    candidates: dict[CandidateName, Candidate] = Field(
        min_length=1,
        max_length=50,
        description="Candidates by name. Each is trained by a mapped task of its own, and the best is the challenger.",
    )
    refit: Refit = Field(
        "all",
        description="Which model serves: with `all`, the candidate that passed the gates is fitted again on all rows, "
        "held-out ones included. With `none`, the judged model itself serves.",
    )


class Bootstrap(Frozen):
    """The resampling behind every interval (percentile bootstrap; Efron & Tibshirani 1993, ch. 13)."""

    resamples: int = Field(2000, ge=20, le=10_000, description="Number of times that the held-out rows are resampled.")
    confidence: OpenShare = Field(
        0.95,
        description="Confidence level of the two-sided intervals that are reported, and that gates use by `judged_by`.",
    )


class Importance(Frozen):
    """Permutation importance on a bounded sample of the holdout (Breiman 2001)."""

    repeats: int = Field(3, ge=1, le=100, description="Number of times that each column is shuffled.")
    rows: PositiveInt = Field(2000, description="Largest number of rows to sample from the holdout.")


class Evaluation(Frozen):
    """How the candidates are measured. The first metric decides."""

    metrics: list[str] = Field(
        default_factory=list, description="Metrics to measure. The first one decides. Defaults to those of the `task`."
    )
    slices: list[str] = Field(
        default_factory=list,
        description="Categorical columns by which the winner is measured separately. Each value of a column is a "
        "slice.",
    )
    min_slice_rows: PositiveInt = Field(
        200, description="A slice with fewer held-out rows than this is counted but not measured."
    )
    bootstrap: Bootstrap = Field(Bootstrap(), description="The resampling behind every interval.")
    importance: Importance | None = Field(
        Importance(), description="How permutation importance is measured. `null` turns it off."
    )
    latency_calls: int = Field(
        50,
        ge=10,
        le=10_000,
        description="Number of one-row predictions that a gate `latency` times, five times each.",
    )
    fairness: Fairness | None = Field(
        None,
        description="How the winner is measured on groups of rows, and the gaps between them. Not measured when left "
        "out.",
    )
    explanation: Explanation | None = Field(
        None, description="How to explain which columns the winner relies on. Not explained when left out."
    )
