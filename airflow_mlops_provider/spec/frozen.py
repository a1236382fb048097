"""Values that never change, and the types that every section shares."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Task = Literal["binary", "multiclass", "regression"]
Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]
#: What a pipeline may be called; its DAGs' ids begin with it.
PIPELINE_NAME = r"^[a-z][a-z0-9_]{0,62}$"
#: What MLflow and the addresses of Airflow's assets both take. Without counting, which takes long to compile.
_MODEL_NAME = r"^[^\s.\x00-\x1f/:?#%@\\\[\]]([^\x00-\x1f/:?#%@\\\[\]]*[^\s.\x00-\x1f/:?#%@\\\[\]])?$"
_DOTTED_NAME = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"
#: In ASCII: of Unicode, the forty repetitions take 14 ms to compile, in each process that reads a pipeline.
_CANDIDATE_NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,39}$"
#: What the Docker engine takes: bytes, or a number with a unit.
_MEMORY = r"^[1-9]\d*[bkmg]?$"
_ABSOLUTE = r"^/"
_EXPECTATION = r"^expect_\w+$"
_LABEL = r"^[A-Za-z_][A-Za-z0-9_]{0,49}$"
ModelName = Annotated[str, Field(max_length=200, pattern=_MODEL_NAME)]
DottedName = Annotated[str, Field(pattern=_DOTTED_NAME)]
CandidateName = Annotated[str, Field(pattern=_CANDIDATE_NAME)]
MemoryLimit = Annotated[str, Field(pattern=_MEMORY)]
AbsolutePath = Annotated[str, Field(pattern=_ABSOLUTE)]
ExpectationName = Annotated[str, Field(pattern=_EXPECTATION)]
Label = Annotated[str, Field(pattern=_LABEL)]
#: The patterns that people meet, in words: what is expected of a text that does not match.
PATTERNS_IN_WORDS = {
    PIPELINE_NAME: "lowercase letters, digits and _, starting with a letter, at most 63",
    _MODEL_NAME: "a name without / : ? # % @ \\ [ ], and without a space or a dot at either end",
    _DOTTED_NAME: "a full dotted name, such as sklearn.linear_model.LogisticRegression",
    _CANDIDATE_NAME: "letters, digits, _ and -, starting with a letter, at most 40",
    _MEMORY: "bytes, or a number and one of b, k, m, g, such as 512m or 2g",
    _ABSOLUTE: "an absolute path, starting with /",
    _EXPECTATION: "an expectation's name, such as expect_column_values_to_be_between",
    _LABEL: "letters, digits and _, not starting with a digit, at most 50",
}
Finite = Annotated[float, Field(allow_inf_nan=False)]
#: Of moments. A span before or after one of them is a moment that tables can hold: their nanoseconds end in 2262.
YEARS = range(1900, 2150)
#: A length of time, of a hundred years at most.
Span = Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=36_525))]


def _within_years(moment: datetime) -> datetime:
    if moment.year not in YEARS:
        raise ValueError(f"expected a moment from {YEARS[0]} to {YEARS[-1]}, got {moment.isoformat()}")
    return moment


Moment = Annotated[datetime, AfterValidator(_within_years)]


class Frozen(BaseModel):
    """A value that never changes and has no key that we do not know."""

    # Deferred: of most sections only the pipeline that holds them is asked, by each process that parses DAGs.
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)
