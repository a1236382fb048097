"""Features that together determine the target: none of them was known before it.

Looked for on a bounded sample, exactly enough that an honest feature is not suspected:

- *sums*, by least squares: casual + registered = count; 60·hours + minutes = duration;
- *products*, by least squares of logarithms: price · quantity = revenue, also with 1 - discount;
- *pairs*, whose difference or ratio tells the target as no feature alone may: actual - planned > 0 is late;
- *flags*, each of which means a class, and which together cover it: a failure and its failure modes.

What least squares find is judged on rows that it was not fitted to, so that many features find nothing by chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.modeling.exact_sums import MIN_ROWS, exact_sum, whole_numbers
from airflow_mlops_provider.modeling.leakage import sample_rows, strength_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

#: Rows that sums and products are looked for in, and those that a pair is tried on first.
PARTS_ROWS, _TRIED = 5_000, 500
#: Features that pairs are made of: 780 pairs, each with a handful of formulas; and where classes are compared in pairs.
_PAIRED, _PAIRED_OF_CLASSES = 40, 15
_EXACT_PAIR = 0.9999
#: A feature with more missing is no part of a target that is always there.
_MAX_MISSING = 0.05
#: Of the rows with a flag, those of its class; of the rows of the class, those with some flag.
_PURE, _COVERED = 0.999, 0.95
#: How improbable it is that a flag met one class alone by chance.
_CHANCE = 1e-6
_MOST_GROUPS = 10

_FORMULAS: dict[str, Callable[[Any, Any], Any]] = {
    "{} + {}": lambda one, other: one + other,
    "{} - {}": lambda one, other: one - other,
    "|{} - {}|": lambda one, other: abs(one - other),
    "{} · {}": lambda one, other: one * other,
    "{} / {}": lambda one, other: one / other,
}


@dataclass(frozen=True)
class Parts:
    """Features that make up the target.

    :param formula: how, in words.
    :param figure: how well that tells the target.
    :param certain: by a formula that people write down, not by any coefficients.
    """

    names: tuple[str, ...]
    formula: str
    figure: str
    certain: bool = True

    def words(self, target: str) -> str:
        """Return what was found, as a sentence without a full stop."""
        return f"{' and '.join(self.names)} together determine the target: {target} is {self.formula} ({self.figure})"


def parts_of_target(
    features: Mapping[str, NDArray[np.float64]], target: NDArray[np.float64], *, classes: int
) -> list[Parts]:
    """Return every group of features that makes up the target.

    :param features: numbers, and the codes of categories of two values; NaN for what is missing.
    :param target: class indices for `classes` > 0, else the numbers of a regression.
    """
    left = {name: values for name, values in features.items() if _usable(values)}
    found: list[Parts] = []
    while len(left) > 1 and len(found) < _MOST_GROUPS:
        group = _group(left, target, classes)
        if group is None:
            break
        found.append(group)
        left = {name: values for name, values in left.items() if name not in group.names}
    return found


def as_numbers(codes: NDArray[np.integer]) -> NDArray[np.float64] | None:
    """Return a category of two values as numbers; None of any other.

    :param codes: one integer a category; negative for a missing one.
    """
    import numpy as np

    return np.where(codes < 0, np.nan, codes) if len(np.unique(codes[codes >= 0])) == 2 else None


def _usable(values: NDArray[np.float64]) -> bool:
    import numpy as np

    known = values[np.isfinite(values)]
    return len(known) >= max(MIN_ROWS, (1 - _MAX_MISSING) * len(values)) and bool(np.ptp(known) > 0)


def _group(features: Mapping[str, NDArray[Any]], target: NDArray[Any], classes: int) -> Parts | None:
    if classes == 2 and (flags := _flags(features, target)) is not None:
        return flags
    rows = sample_rows(len(target), PARTS_ROWS)
    sampled, truth = {name: values[rows] for name, values in features.items()}, target[rows]
    found: list[Parts] = []
    if not classes:
        found = [one for one in (_sum(sampled, truth), _product(sampled, truth)) if one is not None]
    certain = [one for one in found if one.certain]
    return next(iter(certain), None) or _pair(sampled, truth, classes) or next(iter(found), None)


# ---------------------------------------------------------------- sums and products


def _sum(features: Mapping[str, NDArray[Any]], target: NDArray[Any]) -> Parts | None:
    solved = exact_sum(features, target)
    if solved is None:
        return None
    coefficients, r2 = solved
    whole = whole_numbers(list(coefficients.values()))
    figures: Sequence[float] = list(coefficients.values()) if whole is None else whole
    signed = sorted(zip(figures, coefficients, strict=True), key=lambda pair: pair[0] < 0)
    terms = " + ".join(_term(figure, name) for figure, name in signed)
    scaled = whole is not None and not math.isclose(next(iter(coefficients.values())), whole[0], rel_tol=0.01)
    formula = f"a multiple of {terms}" if scaled else terms
    return Parts(tuple(coefficients), formula.replace("+ -", "- "), f"R² {r2:.6f}", certain=whole is not None)


def _product(features: Mapping[str, NDArray[Any]], target: NDArray[Any]) -> Parts | None:
    """Return the features whose product, with whole exponents, is the target up to a constant."""
    import numpy as np

    rows = np.flatnonzero(target)
    if len(rows) < MIN_ROWS:
        return None
    factors: dict[str, NDArray[Any]] = {}
    names: dict[str, str] = {}
    for name, values in features.items():
        share = values[rows]
        shown = {name: share}
        if np.nanmin(share) >= 0 and np.nanmax(share) < 1:  # such as a discount, or a tax rate
            shown |= {f"(1 - {name})": 1 - share, f"(1 + {name})": 1 + share}
        for word, factor in shown.items():
            if np.isfinite(factor).all() and factor.all():
                factors[word], names[word] = np.log(np.abs(factor)), name
    solved = exact_sum(factors, np.log(np.abs(target[rows])))
    if solved is None or (powers := whole_numbers(list(solved[0].values()), multipliers=(1,), scaled=False)) is None:
        return None
    words = [word if power == 1 else f"{word}^{power}" for power, word in zip(powers, solved[0], strict=True)]
    parts = tuple(dict.fromkeys(names[word] for word in solved[0]))
    return Parts(parts, " · ".join(words), f"R² {solved[1]:.6f} of the logarithm") if len(parts) > 1 else None


def _term(coefficient: float, name: str) -> str:
    if coefficient in (1, -1):
        return name if coefficient > 0 else f"-{name}"
    return f"{coefficient:.4g}·{name}"


# ---------------------------------------------------------------- pairs and flags


def _pair(features: Mapping[str, NDArray[Any]], target: NDArray[Any], classes: int) -> Parts | None:
    """Return the two features of which a formula tells the target, when neither of them does nearly as well."""
    import numpy as np

    tried = sample_rows(len(target), _TRIED)
    first = {name: _told_by(values[tried], target[tried], classes) for name, values in features.items()}
    names = sorted(first, key=lambda name: -first[name])[: _PAIRED_OF_CLASSES if classes > 2 else _PAIRED]
    alone = {name: _told_by(features[name], target, classes) for name in names}
    with np.errstate(all="ignore"):
        for one, other in combinations(names, 2):
            for formula, combined in _FORMULAS.items():
                if (
                    _told_by(combined(features[one][tried], features[other][tried]), target[tried], classes)
                    < _EXACT_PAIR
                ):
                    continue
                strength = _told_by(combined(features[one], features[other]), target, classes)
                if strength > _EXACT_PAIR and 1 - strength < (1 - max(alone[one], alone[other])) / 5:
                    measure = "AUC" if classes else "|rank correlation|"
                    return Parts(
                        (one, other), f"determined by {formula.format(one, other)}", f"{measure} {strength:.4f}"
                    )
    return None


def _told_by(values: NDArray[Any], target: NDArray[Any], classes: int) -> float:
    import numpy as np

    known = np.isfinite(values)
    return (
        strength_of(values[known], target[known], classes) if known.sum() >= (1 - _MAX_MISSING) * len(values) else 0.0
    )


def _flags(features: Mapping[str, NDArray[Any]], target: NDArray[Any]) -> Parts | None:
    """Return the features of two values that each mean one class, and that together cover it."""
    import numpy as np

    for label in (1, 0):
        inside = target == label
        rate = inside.mean()
        marks = {}
        for name, values in features.items():
            known = np.unique(values[np.isfinite(values)])
            for value in known if len(known) == 2 else ():
                flagged = values == value
                rows = int(flagged.sum())
                improbable = rows * np.log(max(rate, np.finfo(float).tiny)) < np.log(_CHANCE)
                if improbable and inside[flagged].mean() >= _PURE:
                    marks[name] = flagged
        covered = float(np.any(list(marks.values()), axis=0)[inside].mean()) if len(marks) > 1 else 0.0
        if covered >= _COVERED:
            formula = f"determined by any of {', '.join(marks)}"
            return Parts(tuple(marks), formula, f"{covered:.1%} of the rows of one class, and hardly any other")
    return None
