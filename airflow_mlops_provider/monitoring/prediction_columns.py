"""Predictions among the columns that are compared: a window's are those of the model that serves.

The judged model never saw the held-out rows, and the serving model was fitted on them: on average their predictions
differ. So the distance of a window's predictions is measured from both: from the judged model's predictions for rows
that it did not know, and from the serving model's for rows that it knows. Predictions drift when they lie unusually far
from either.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.reference import SERVING
from airflow_mlops_provider.monitoring.drift import Subject, pairs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.data.tables import TableInfo
    from airflow_mlops_provider.monitoring.drift import Pair
    from airflow_mlops_provider.monitoring.sampling import Kind, Survey
    from airflow_mlops_provider.monitoring.usual import Stretches
    from airflow_mlops_provider.spec.operations import Drift

_PROBABILITY = re.compile(r"p_\d+")


def prediction_kinds(info: TableInfo, present: Sequence[str]) -> dict[str, Kind]:
    """Return the columns of predictions; of two classes one probability says all."""
    taken = {*info.columns.all}
    if info.task == "regression":
        return {"prediction": "numeric"} if "prediction" not in taken else {}
    probabilities = [name for name in present if _PROBABILITY.fullmatch(name) and name not in taken]
    if info.task == "binary":
        probabilities = [name for name in probabilities if name == "p_1"]
    kinds: dict[str, Kind] = dict.fromkeys(probabilities, "numeric")
    if "prediction" not in taken:
        kinds["prediction"] = "categorical"
    return kinds


def with_serving(kinds: dict[str, Kind], info: TableInfo, present: Sequence[str]) -> dict[str, Kind]:
    """Return columns of predictions, and those of the serving model that a reference has beside them."""
    there, own = {name: kind for name, kind in kinds.items() if name in present}, {*present} - {*info.columns.all}
    return there | {SERVING + name: kind for name, kind in there.items() if SERVING + name in own}


def nearest(
    pairs: dict[str, Pair],
    subjects: Sequence[Subject],
    known: Survey,
    info: TableInfo,
    settings: Drift,
    stretches: Stretches | None,
    seed: int,
) -> dict[str, Pair]:
    """Return the pairs with predictions beside what they lie closer to, by what is usual of each."""
    beside = {name: one for name, one in known.columns.items() if name not in info.columns.all}
    of_serving = [
        Subject(one.name, one.role, one.kind, beside[SERVING + one.name], one.current, one.problem)
        for one in subjects
        if one.role == "prediction" and one.name in pairs and SERVING + one.name in beside
    ]
    others = pairs_of(of_serving, settings, stretches)
    return pairs | {name: other for name, other in others.items() if _ratio(other, seed) < _ratio(pairs[name], seed)}


def _ratio(pair: Pair, seed: int) -> float:
    return pair.distance / pair.usual(seed).bound
