"""The recipe of a model: what it is made by, apart from the data."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from airflow_mlops_provider.modeling.fitting import names_of

if TYPE_CHECKING:
    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.modeling.splits import SplitPlan
    from airflow_mlops_provider.spec import Candidate

#: Settings of a search that say where its trials run, not which there are.
_NOT_OF_THE_RECIPE = {"search": {"shards"}}


def recipe_of(candidate: Candidate, plan: SplitPlan, allow_list: AllowList) -> str:
    """Return the digest of a candidate as the pipeline file asks for it, with the features that it is fitted on.

    Not of it: what depends on the data alone (rows, parameters that a search has found, the threshold), the seed, and
    the libraries' releases. Of plugins the code counts: there an estimator is what its file says.

    :param plan: its columns and task.
    :return: sha256 in hexadecimal digits.
    """
    code = {name: allow_list.fingerprint(name) for name in names_of(candidate) if allow_list.is_plugin(name)}
    made_by = {
        "candidate": candidate.model_dump(mode="json", exclude_defaults=True, exclude=_NOT_OF_THE_RECIPE),
        "code": code,
        "task": plan.task,
        "target": plan.columns.target,
        "numeric": sorted(plan.columns.numeric),
        "categorical": sorted(plan.columns.categorical),
    }
    return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()
