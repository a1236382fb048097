"""A plugin of the tests: a classifier whose training lasts until a file is there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class WaitingClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """Says of every row what the training rows are on average.

    :param until: the file that training waits for.
    """

    def __init__(self, until: str = "") -> None:
        self.until = until

    def fit(self, rows: Any, target: Any) -> WaitingClassifier:
        """Wait, having said so, then count."""
        Path(f"{self.until}.reached").touch()
        deadline = time.monotonic() + 120
        while not Path(self.until).exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.classes_, counts = np.unique(target, return_counts=True)
        self.shares_ = counts / counts.sum()
        return self

    def predict_proba(self, rows: Any) -> Any:
        """Return the shares for each row."""
        return np.tile(self.shares_, (len(rows), 1))

    def predict(self, rows: Any) -> Any:
        """Return the more frequent class for each row."""
        return np.full(len(rows), self.classes_[self.shares_.argmax()])
