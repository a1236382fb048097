"""Evidently's own page of what was compared: the only module that imports it."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_mlops_provider.monitoring.drift import Pair


def evidently_page(pairs: Mapping[str, Pair]) -> bytes:
    """Return Evidently's report on some columns as HTML: categories, and numbers on the scale of their reference.

    Names and categories reach the page escaped: a `</script>` among them would end its script.
    """
    with _calm():
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.metrics import ValueDrift

        named = {escape(name): pair for name, pair in pairs.items()}
        definition = DataDefinition(
            numerical_columns=[name for name, pair in named.items() if pair.scale.method == "wasserstein"],
            categorical_columns=[name for name, pair in named.items() if pair.scale.method == "jensenshannon"],
        )
        # A shorter column ends in missing values, which Evidently leaves out.
        shown = {name: _series(pair) for name, pair in named.items()}
        before, after = (pd.DataFrame({name: sides[place] for name, sides in shown.items()}) for place in (0, 1))
        reference, current = (Dataset.from_pandas(side, data_definition=definition) for side in (before, after))
        metrics = [
            ValueDrift(column=name, method=pair.scale.method, threshold=pair.threshold) for name, pair in named.items()
        ]
        page: str = Report(metrics).run(current, reference).get_html_str(as_iframe=False)
        return page.encode()


def _series(pair: Pair) -> tuple[Any, Any]:
    """Return both sides as Evidently takes them.

    Categories are known on both sides: those that a side lacks it adds one by one, in a time that grows with their
    square.
    """
    import pandas as pd

    sides = (pair.reference, pair.current)
    if pair.scale.places is not None:
        before, after = (pd.Series(pair.scale.places[codes]) for codes in sides)
        return before, after
    known = pd.CategoricalDtype([escape(label) for label in pair.scale.labels])
    before, after = (pd.Series(pd.Categorical.from_codes(codes.tolist(), dtype=known)) for codes in sides)
    return before, after


@contextmanager
def _calm() -> Iterator[None]:
    """Keep Evidently from calling home, and leave out the warnings of its own code."""
    before = os.environ.get("DO_NOT_TRACK")
    os.environ["DO_NOT_TRACK"] = "1"  # read whenever an event is about to be sent
    try:
        with warnings.catch_warnings():
            # At import: Evidently 0.7 touches numpy.core, and its web server's framework its own deprecated names.
            warnings.filterwarnings("ignore", "numpy.core is deprecated", DeprecationWarning)
            warnings.filterwarnings("ignore", "Call to deprecated function 'Dependency'", DeprecationWarning)
            warnings.filterwarnings("ignore", "Use of deprecated class 'DependencyKwarg'", DeprecationWarning)
            yield
    finally:
        if before is None:
            del os.environ["DO_NOT_TRACK"]
        else:
            os.environ["DO_NOT_TRACK"] = before
