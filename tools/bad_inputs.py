"""Give every kind of bad input to the steps, and collect what they say: the table in docs/errors.md."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    import pandas as pd

    from airflow_mlops_provider.results import StepResult

_ROWS = 200
_COLUMNS = {"target": "left", "numeric": ["age"], "categorical": ["plan"], "timestamp": "at", "keys": ["id"]}
_LOGISTIC = "sklearn.linear_model.LogisticRegression"
_BETWEEN = "expect_column_values_to_be_between"


@dataclass
class Case:
    """One bad input: what it is, its file, and the settings that differ.

    :param content: the bytes of the file, a frame that becomes CSV, or None for no file.
    """

    what: str
    content: bytes | pd.DataFrame | None
    name: str = "customers.csv"
    task: str = "binary"
    validation: dict[str, Any] = field(default_factory=dict)
    preparation: dict[str, Any] = field(default_factory=dict)
    candidate: dict[str, Any] = field(default_factory=lambda: {"estimator": _LOGISTIC})


def customers() -> pd.DataFrame:
    """Return a dataset with nothing wrong."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": range(_ROWS),
            "at": pd.date_range("2026-01-01", periods=_ROWS, freq="h", tz="UTC"),
            "age": rng.integers(18, 90, _ROWS),
            "plan": rng.choice(["a", "b", "c"], _ROWS),
            "left": rng.integers(0, 2, _ROWS),
        }
    )


def cases() -> list[Case]:
    """Return every bad input, in the order of the tasks that find them."""
    return [*_bad_files(), *_bad_columns(), *_bad_rows(), *_bad_settings()]


def message(case: Case, folder: Path) -> tuple[str, str]:
    """Return the step that refuses an input, and the first sentence of what it says.

    :raises ValueError: when nothing refuses it.
    """
    file = folder / case.name
    if case.content is not None:
        file.write_bytes(case.content if isinstance(case.content, bytes) else case.content.to_csv(index=False).encode())
    store = ArtifactStore(str(folder / "artifacts"))
    try:
        data = {"source": {"uri": str(file)}, "columns": _COLUMNS}
        dataset = _step(store, "ingest", {"task": case.task, "data": data})
        _step(store, "validate", case.validation, dataset=dataset)
        split = _step(store, "prepare", case.preparation, dataset=dataset)
        _step(store, "train", {"name": "logistic", "candidate": case.candidate}, dataset=dataset, split=split)
    except _RefusedError as refused:
        return refused.step, refused.text.replace(str(folder), "/data")
    raise ValueError(f"nothing refuses: {case.what}")


class _RefusedError(Exception):
    def __init__(self, step: str, error: MLOpsError) -> None:
        super().__init__(step)
        self.step = step
        self.text = " ".join(str(error).split())


def _step(store: ArtifactStore, step: str, section: dict[str, Any], **inputs: StepResult) -> StepResult:
    request = StepRequest(
        step=step,
        pipeline="churn",
        as_of=datetime(2026, 3, 1, tzinfo=UTC),
        section=section,
        inputs={role: [result] for role, result in inputs.items()},
        allow_list=AllowList(modules=("xgboost", "lightgbm")),
    )
    try:
        result = run_step(request, store)
    except MLOpsError as error:
        raise _RefusedError(step, error) from error
    if (failure := result.failure) is not None:
        raise _RefusedError(
            step, MLOpsError(failure.what, got=failure.got, expected=failure.expected, hint=failure.hint)
        )
    return result


def _bad_files() -> list[Case]:
    good = customers()
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "customers.zip")
        with zipfile.ZipFile(archive, "w") as target:
            target.writestr("customers.csv", good.to_csv(index=False))
        zipped = archive.read_bytes()
    return [
        Case("missing file", None, "nothing.csv"),
        Case("truncated Parquet", good.to_parquet()[:2000], "customers.parquet"),
        Case("truncated archive", zipped[:500], "customers.csv.zip"),
        Case("a web page saved as .csv", b"<!DOCTYPE html><html><body>Log in</body></html>"),
        Case("tab-separated, named .csv", good.to_csv(index=False, sep="\t").encode()),
        Case("empty file", b""),
        Case("a header and no row", good.head(0)),
        Case("not UTF-8", good.assign(plan="é").to_csv(index=False).encode("latin-1")),
        Case("a format that is not read", b"PK", "customers.xlsx"),
    ]


def _bad_columns() -> list[Case]:
    import numpy as np
    import pandas as pd

    good = customers()
    every = good.index
    jsonl = good.assign(age=good["age"].astype(object).where(every != 120, "old"))
    return [
        Case("missing column", good.drop(columns="age")),
        Case("renamed column", good.rename(columns={"age": "Age"})),
        Case("retyped column", good.assign(age=good["age"].astype(str).where(every != 120, "old"))),
        Case("mixed types", jsonl.to_json(orient="records", lines=True, date_format="iso").encode(), "customers.jsonl"),
        Case("timestamps without a zone", good.assign(at=good["at"].dt.tz_localize(None))),
        Case("unreadable timestamp", good.assign(at=good["at"].astype(str).where(every != 7, "yesterday"))),
        Case("only rows of the future", good.assign(at=good["at"] + pd.Timedelta(365, "D"))),
        Case("target missing in a row", good.assign(left=good["left"].where(every != 5))),
        Case(
            "infinite target", good.assign(left=good["left"].astype(float).where(every != 5, np.inf)), task="regression"
        ),
    ]


def _bad_rows() -> list[Case]:
    import numpy as np

    good = customers()
    every = good.index
    between = {"column": "age", "min_value": 18, "max_value": 60}
    return [
        Case("one row", good.head(1)),
        Case("a single class", good.assign(left=1)),
        Case("all-null column", good.assign(age=np.nan)),
        Case("infinite feature", good.assign(age=good["age"].astype(float).where(every != 5, np.inf))),
        Case("repeated keys", good.assign(id=good["id"] // 2)),
        Case("failed expectation", good, validation={"expectations": [{"type": _BETWEEN, "kwargs": between}]}),
        Case("too many missing values", good.assign(age=good["age"].where(every % 2 == 0))),
        Case("too many categories", good.assign(plan=every.astype(str)), preparation={"max_categories": 100}),
        Case("a feature that tells the target", good.assign(age=good["left"] * 10 + every / _ROWS)),
    ]


def _bad_settings() -> list[Case]:
    good = customers()
    misspelt = {"expectations": [{"type": _BETWEEN.replace("between", "betwen"), "kwargs": {"column": "age"}}]}
    return [
        Case("unknown expectation", good, validation=misspelt),
        Case("estimator outside the allow-list", good, candidate={"estimator": "os.system"}),
        Case("unknown parameter", good, candidate={"estimator": _LOGISTIC, "params": {"max_itr": 300}}),
        Case("estimator of another task", good, candidate={"estimator": "sklearn.linear_model.Ridge"}),
    ]


def messages() -> list[tuple[str, str, str]]:
    """Return each bad input, the task that refuses it, and what that says."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = []
            for case in cases():
                with tempfile.TemporaryDirectory() as folder:
                    found.append((case.what, *message(case, Path(folder))))
            return found
    finally:
        logging.disable(logging.NOTSET)
