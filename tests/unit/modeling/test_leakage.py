from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.datasets import load_iris, load_wine

from airflow_mlops_provider.modeling.leakage import association_of_categories, association_of_numbers

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_an_honest_feature_that_sets_one_class_apart_is_no_leak(load: Callable[[], Any]) -> None:
    data = load()
    target = data.target.astype(float)
    reported = [association_of_numbers(data.data[:, column], target, classes=3) for column in range(data.data.shape[1])]
    assert max(reported) < 0.999


def test_a_noisy_copy_of_several_classes_is_a_leak() -> None:
    target = load_iris().target.astype(float)
    noisy = target + np.random.default_rng(0).normal(0, 0.05, target.size)
    assert association_of_numbers(noisy, target, classes=3) > 0.999


def test_a_renamed_copy_of_several_classes_is_a_leak() -> None:
    target = load_iris().target
    renamed = np.array([1, 2, 0])[target]
    assert association_of_numbers(renamed.astype(float), target.astype(float), classes=3) > 0.999
    assert association_of_categories(renamed, target.astype(float), classes=3) > 0.999
