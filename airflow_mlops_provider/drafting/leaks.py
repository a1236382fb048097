"""Takes the role from features that hold the target: alone, as preparation would refuse them, or together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import DataError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from airflow_mlops_provider.drafting.roles import Roles
    from airflow_mlops_provider.modeling.targets import Target


def leave_out_leaks(roles: Roles, frame: pd.DataFrame) -> None:
    """Take the role from features that tell the target, alone or together; each gets the figure as its reason.

    :raises DataError: no feature is left.
    """
    from airflow_mlops_provider.modeling.leakage import sample_rows
    from airflow_mlops_provider.modeling.targets import target_of

    target = target_of(frame[roles.target], roles.task)
    sample = sample_rows(len(frame))
    sampled = frame[roles.features].iloc[sample]
    _alone(roles, sampled, target, target.values[sample])
    if roles.features:
        _together(roles, sampled, target, target.values[sample])
    if not roles.features:
        raise DataError(
            "no column is left to use as a feature",
            got=roles.left_out,
            hint="If they are known before the target is, write the pipeline file by hand.",
        )


def _alone(roles: Roles, frame: pd.DataFrame, target: Target, truth: NDArray[Any]) -> None:
    from airflow_mlops_provider.modeling.leakage import association_of_categories, association_of_numbers
    from airflow_mlops_provider.spec import Preparation

    limit = Preparation().max_target_association
    for name in frame.columns:
        if name in roles.numeric:
            strength = association_of_numbers(_numbers(frame[name]), truth, classes=target.class_count)
        else:
            strength = association_of_categories(_codes(frame[name]), truth, classes=target.class_count)
        if strength > limit:
            roles.leave_out(name, f"predicts the target alone ({strength:.4f}): it was probably not known in advance")


def _together(roles: Roles, frame: pd.DataFrame, target: Target, truth: NDArray[Any]) -> None:
    from airflow_mlops_provider.modeling.parts import as_numbers, parts_of_target

    flags = {name: as_numbers(_codes(frame[name])) for name in roles.categorical}
    features = {name: _numbers(frame[name]) for name in roles.numeric}
    features |= {name: values for name, values in flags.items() if values is not None}
    for parts in parts_of_target(features, truth, classes=target.class_count):
        if parts.certain:
            for name in parts.names:
                roles.leave_out(name, f"{parts.words(roles.target)}: probably not known in advance")


def _numbers(column: pd.Series[Any]) -> NDArray[Any]:
    import numpy as np

    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _codes(column: pd.Series[Any]) -> NDArray[Any]:
    return column.astype("category").cat.codes.to_numpy()
