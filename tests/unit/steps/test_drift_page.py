from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pandas as pd
from drift_windows import Window, frame

from airflow_mlops_provider.results import MAX_XCOM_BYTES, StepResult

SCRIPT = "</script><script>alert(1)</script>"


def wide(window: Window, columns: int, rows: int = 300) -> StepResult:
    names = [f"{SCRIPT}ж{index}" for index in range(columns)]
    window.columns = {"target": "late", "numeric": names[: columns // 2], "categorical": names[columns // 2 :]}
    window.importance = dict.fromkeys(names, 0.1)

    def data(seed: int, shift: float) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        numbers = {name: rng.normal(shift, 1, rows) for name in window.columns["numeric"]}
        texts = {name: rng.choice([SCRIPT, "b", "c"], rows) for name in window.columns["categorical"]}
        return pd.concat([frame(rows, seed=seed)[["late", "p_1", "prediction"]], pd.DataFrame(numbers | texts)], axis=1)

    return window.run(data(0, 9.0), data(1, 0.0), keep_evidently=columns < 10)


def test_the_page_and_the_facts_stay_small_with_300_columns(window: Window) -> None:
    result = wide(window, 300)
    assert len(json.dumps(result.xcom())) <= MAX_XCOM_BYTES
    assert result.facts["drifted_columns"] == 150
    named: Any = result.facts["columns"]
    assert 0 < len(named) < 20
    assert result.artifacts["report"].size < 1_000_000
    page = window.store.fetch(result.artifacts["report"]).read_text()
    assert page.count("<svg") == 303
    assert "<script" not in page


def test_evidently_keeps_its_own_page_when_asked_and_names_cannot_break_out_of_it(window: Window) -> None:
    assert "evidently" not in window.run(frame()).artifacts
    result = wide(window, 4)
    page = gzip.decompress(window.store.fetch(result.artifacts["evidently"]).read_bytes()).decode()
    assert "alert(1)" in page
    assert "<script>alert(1)" not in page
    assert result.artifacts["evidently"].size < 2_500_000


def test_a_window_below_the_limit_in_which_features_drifted_is_not_green(window: Window) -> None:
    calm, moved = frame(), frame(seed=1)
    moved["y"] += 3
    pages = [window.store.fetch(window.run(rows).artifacts["report"]).read_text() for rows in (calm, moved)]
    assert '<p class="good">No drift: none of 3 features drifted.</p>' in pages[0]
    assert '<p class="warn">Drift below the limit: 1 of 3 features drifted, such as &#x27;y&#x27;' in pages[1]


def test_the_page_shows_the_verdict_and_what_matters_first(window: Window) -> None:
    page = window.store.fetch(window.run(frame(shift=1)).artifacts["report"]).read_text()
    assert "Drift: 1 of 3 features drifted, such as &#x27;x&#x27;; they hold 60% of the importance" in page
    assert page.index('<td class="">x</td>') < page.index('<td class="">y</td>')
