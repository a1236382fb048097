"""Two small data sets that come with scikit-learn: they keep the DAG templates honest about other tasks.

Neither has a time: their rows are the same at every as_of.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd


def read_diabetes(as_of: datetime, start: datetime | None) -> pd.DataFrame:
    """Return 442 patients and how far their diabetes has progressed after a year (Efron et al. 2004)."""
    from sklearn.datasets import load_diabetes

    frame: pd.DataFrame = load_diabetes(as_frame=True, scaled=False).frame
    names = {"s1": "tc", "s2": "ldl", "s3": "hdl", "s4": "tch", "s5": "ltg", "s6": "glu", "target": "progression"}
    frame = frame.rename(columns=names)
    return frame.assign(patient=range(len(frame)), sex=frame["sex"].map({1.0: "1", 2.0: "2"}))


def read_wine(as_of: datetime, start: datetime | None) -> pd.DataFrame:
    """Return 178 wines of one region, their chemical analysis, and which of three cultivars they were made of."""
    from sklearn.datasets import load_wine

    frame: pd.DataFrame = load_wine(as_frame=True).frame
    frame = frame.rename(columns={"target": "cultivar", "od280/od315_of_diluted_wines": "od280_od315"})
    return frame.assign(wine=range(len(frame)), cultivar=frame["cultivar"].map({0: "first", 1: "second", 2: "third"}))


def _fingerprint(**_: Any) -> str:
    return f"scikit-learn {metadata.version('scikit-learn')}"


#: What identifies the data without reading it. Read by the ingest step.
read_diabetes.fingerprint = _fingerprint  # type: ignore[attr-defined]  # functions may have them
read_wine.fingerprint = _fingerprint  # type: ignore[attr-defined]  # functions may have them
