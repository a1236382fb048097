"""How far two samples of a column lie apart, by Evidently: the only module that imports it.

Numbers by the Wasserstein distance over the standard deviation of the reference, categories by the Jensen-Shannon
distance (natural logarithm: 0 to 0.83). Both are effect sizes: they do not grow with the number of rows, as the
significance of a difference does.
"""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from numpy.typing import NDArray

Method = Literal["wasserstein", "jensenshannon"]

#: Evidently divides by no standard deviation below this: all that happens in a column of smaller numbers is lost.
_LEAST_SD = 0.001
#: Standard deviations of the reference beyond which a number is as far away as can be.
_FARTHEST = 1e6
_DECIMALS = 6
#: Resamples behind `noise`, and how many of their standard deviations it lies above their mean: with a window a day
#: and many columns, chance alone passes the 99th percentile every week.
_RESAMPLES = 60
_DEVIATIONS = 4
#: Rows of a resample of numbers; the distance of larger ones follows from its rate.
_RESAMPLED_ROWS = 1000


@dataclass(frozen=True)
class Pair:
    """Two samples of one column without missing or infinite values: float64, or text.

    :param reference: for `wasserstein`, not all the same.
    """

    name: str
    method: Method
    threshold: float
    reference: NDArray[Any]
    current: NDArray[Any]


def distances(pairs: Sequence[Pair], *, with_page: bool = False) -> tuple[list[float], bytes | None]:
    """Return the distance of each pair, and Evidently's own HTML page when it is asked for.

    Names and categories reach the page escaped: a `</script>` among them would end its script.
    """
    with _calm():
        from evidently.legacy.calculations import stattests
        from evidently.legacy.core import ColumnType

        # What its reports call for a column, without the four plots that they draw of each.
        measures = {
            "wasserstein": (stattests.wasserstein_stat_test, ColumnType.Numerical),
            "jensenshannon": (stattests.jensenshannon_stat_test, ColumnType.Categorical),
        }
        found = []
        for pair in pairs:
            measure, kind = measures[pair.method]
            found.append(float(measure(*_series(pair), kind, pair.threshold).drift_score))
        return found, _page(pairs) if with_page and pairs else None


def _page(pairs: Sequence[Pair]) -> bytes:
    """Return Evidently's report on some columns as HTML."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    named = {escape(pair.name): pair for pair in pairs}
    definition = DataDefinition(
        numerical_columns=[name for name, pair in named.items() if pair.method == "wasserstein"],
        categorical_columns=[name for name, pair in named.items() if pair.method == "jensenshannon"],
    )
    # A shorter column ends in missing values, which Evidently leaves out.
    shown = {name: _series(pair) for name, pair in named.items()}
    before, after = (pd.DataFrame({name: sides[place] for name, sides in shown.items()}) for place in (0, 1))
    reference, current = (Dataset.from_pandas(side, data_definition=definition) for side in (before, after))
    metrics = [ValueDrift(column=name, method=pair.method, threshold=pair.threshold) for name, pair in named.items()]
    page: str = Report(metrics).run(current, reference).get_html_str(as_iframe=False)
    return page.encode()


def noise(pair: Pair, seed: int) -> float:
    """Return the distance that two samples of these sizes may show though nothing has changed.

    By resampling. Of numbers both sides are drawn from the reference; of categories from both samples together, since
    the rare ones are what makes the distance of small samples large.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    drawn = _resampled_numbers(pair, rng) if pair.method == "wasserstein" else _resampled_categories(pair, rng)
    return float(np.mean(drawn) + _DEVIATIONS * np.std(drawn))


def _resampled_numbers(pair: Pair, rng: Any) -> list[float]:
    from scipy.stats import wasserstein_distance

    reference, _ = _standardised(pair.reference, pair.current)
    sizes = [min(len(side), _RESAMPLED_ROWS) for side in (pair.reference, pair.current)]
    # The distance of empirical distributions from their common origin falls with the root of their size.
    wanted = 1 / len(pair.reference) + 1 / len(pair.current)
    unit = float((wanted / sum(1 / size for size in sizes)) ** 0.5 / reference.std())
    return [
        unit * float(wasserstein_distance(*(rng.choice(reference, size) for size in sizes))) for _ in range(_RESAMPLES)
    ]


def _resampled_categories(pair: Pair, rng: Any) -> list[float]:
    import numpy as np
    from scipy.spatial.distance import jensenshannon

    sizes = [len(pair.reference), len(pair.current)]
    _, counts = np.unique(np.concatenate([pair.reference, pair.current]).astype(str), return_counts=True)
    shares = counts / counts.sum()
    # Of equal shares, rounding may leave the root of less than nothing.
    return [
        float(np.nan_to_num(jensenshannon(*(rng.multinomial(size, shares) / size for size in sizes))))
        for _ in range(_RESAMPLES)
    ]


def _series(pair: Pair) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """Return both sides as Evidently takes them."""
    import pandas as pd

    prepared = _standardised if pair.method == "wasserstein" else _as_shown
    before, after = prepared(pair.reference, pair.current)
    return pd.Series(before), pd.Series(after)


def _as_shown(reference: NDArray[Any], current: NDArray[Any]) -> tuple[Any, Any]:
    """Return categories escaped, and the same ones known on both sides.

    Evidently adds those that a side lacks one by one, in a time that grows with their square.
    """
    import pandas as pd

    names = {name: escape(name) for name in sorted({*reference, *current})}
    known = pd.CategoricalDtype(list(names.values()))
    before, after = (pd.Categorical([names[name] for name in side], dtype=known) for side in (reference, current))
    return before, after


def _standardised(reference: NDArray[Any], current: NDArray[Any]) -> tuple[Any, Any]:
    """Return numbers as they are, or in standard deviations of the reference where Evidently's arithmetic ends.

    The normed distance is the same in any unit.
    """
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        if _is_tame(reference, current):
            return reference, current
        centre = float(np.median(reference)) / 2
        scale = float(np.abs(reference / 2 - centre).max()) or 1.0  # less than any float can tell
        sides = [(side / 2 - centre) / scale for side in (reference, current)]
        spread = float(np.std(sides[0])) or 1.0
        before, after = (np.clip(side / spread, -_FARTHEST, _FARTHEST).round(_DECIMALS) for side in sides)
    return before, after


def _is_tame(reference: NDArray[Any], current: NDArray[Any]) -> bool:
    """Return whether Evidently can square the numbers, divide by their deviation and cut their range into bins."""
    import numpy as np

    sd = float(np.std(reference))
    if not (np.isfinite(sd) and sd >= _LEAST_SD):
        return False
    sides = (reference, current)
    widths = [float(side.max() - side.min()) for side in sides]
    return bool(
        max(float(np.abs(side).max()) for side in sides) <= _FARTHEST * sd
        and all(width == 0 or width >= sd / _FARTHEST for width in widths)
    )


@contextmanager
def _calm() -> Iterator[None]:
    """Keep Evidently from calling home, and leave out the warnings of its own code."""
    before = os.environ.get("DO_NOT_TRACK")
    os.environ["DO_NOT_TRACK"] = "1"  # asked whenever an event is about to be sent
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
