from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from airflow_mlops_provider.monitoring import evidently_page as module
from airflow_mlops_provider.monitoring.drift import Pair
from airflow_mlops_provider.monitoring.effect_sizes import categories, numbers
from airflow_mlops_provider.monitoring.evidently_page import evidently_page

RNG = np.random.default_rng(0)


def pair(reference: Any, current: Any) -> Pair:
    before, after = np.asarray(reference), np.asarray(current)
    scale = numbers(before) if before.dtype == float else categories(before, after)
    return Pair(scale, scale.codes(before), scale.codes(after), None, 0.1)


def test_evidently_shows_the_distances_that_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    with module._calm():
        from evidently import Report

    shown: list[float] = []
    run = Report.run

    def running(self: Any, *sides: Any) -> Any:
        snapshot = run(self, *sides)
        shown.extend(metric["value"] for metric in snapshot.dict()["metrics"])
        return snapshot

    monkeypatch.setattr(Report, "run", running)
    before = RNG.normal(size=500)
    pairs = {"x": pair(before, before[:90] * 2 + 1), "c": pair(list("aab") * 10, list("bc") * 10)}
    page = evidently_page(pairs)
    assert shown == pytest.approx([one.distance for one in pairs.values()])
    assert b"</html>" in page


def test_evidently_may_not_call_home_and_the_environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    seen = []
    monkeypatch.setattr(module, "_series", lambda _: seen.append(os.environ.get("DO_NOT_TRACK")) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evidently_page({"x": pair([0.0, 1.0], [0.0, 1.0])})
    assert seen == ["1"]
    assert "DO_NOT_TRACK" not in os.environ
