"""Features that make up the target together are found; those of ordinary data never are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn import datasets

from airflow_mlops_provider.modeling.parts import parts_of_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

ROWS = 3000


def columns(seed: int = 0, rows: int = ROWS) -> Columns:
    """Features that have nothing to do with any target."""
    chance = np.random.default_rng(seed)
    return {
        "temperature": chance.normal(15, 8, rows),
        "humidity": chance.integers(20, 100, rows).astype(float),
        "holiday": (chance.random(rows) < 0.03).astype(float),
        "gappy": np.where(chance.random(rows) < 0.1, np.nan, chance.normal(0, 1, rows)),
    }


def whole(seed: int, low: int, high: int) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(low, high, ROWS).astype(float)


def rare(seed: int, share: float) -> NDArray[Any]:
    return (np.random.default_rng(seed).random(ROWS) < share).astype(float)


def money(seed: int) -> NDArray[Any]:
    return np.round(np.random.default_rng(seed).lognormal(2, 1, ROWS), 2)


def minutes(seed: int) -> NDArray[Any]:
    return np.random.default_rng(seed).uniform(0, 1440, ROWS)


def gauss(seed: int, middle: float, spread: float) -> NDArray[Any]:
    return np.random.default_rng(seed).normal(middle, spread, ROWS)


MODES = {name: rare(seed, 0.02) for seed, name in enumerate(["TWF", "HDF", "PWF", "OSF", "RNF"], 1)}
FAILED = np.any([mode > 0 for mode in MODES.values()], axis=0)
FLOWS = {f"part{number}": gauss(number, number, 1 + number) for number in range(7)}

#: The features at fault, the target, its classes, and a formula that people understand.
MADE_UP: dict[str, tuple[Columns, NDArray[Any], int, str]] = {
    "two that add up": (
        {"casual": whole(1, 0, 300), "registered": whole(2, 0, 900)},
        whole(1, 0, 300) + whole(2, 0, 900),
        0,
        "y is casual + registered",
    ),
    "seven that add up": (FLOWS, np.sum(list(FLOWS.values()), axis=0), 0, " + part6"),
    "one less another": ({"a": money(1), "b": money(2)}, money(1) - money(2), 0, "y is a - b"),
    "start and end": ({"start": minutes(1), "end": minutes(1) + money(2)}, money(2), 0, "y is end - start"),
    "rounded percentages": (
        {"a": gauss(1, 50, 9), "b": gauss(2, 50, 9)},
        np.round(gauss(1, 50, 9) + gauss(2, 50, 9), 1),
        0,
        "y is a + b",
    ),
    "hours, minutes, seconds": (
        {"h": whole(1, 0, 10), "m": whole(2, 0, 60), "s": whole(3, 0, 60)},
        3600 * whole(1, 0, 10) + 60 * whole(2, 0, 60) + whole(3, 0, 60),
        0,
        "y is 3600·h + 60·m + s",
    ),
    "a weighted mark": (
        {"midterm": gauss(1, 60, 9), "final": gauss(2, 60, 9)},
        0.3 * gauss(1, 60, 9) + 0.7 * gauss(2, 60, 9),
        0,
        "y is a multiple of 3·midterm + 7·final",
    ),
    "price by quantity": (
        {"price": money(1), "quantity": whole(2, 1, 20)},
        np.round(money(1) * whole(2, 1, 20), 2),
        0,
        "y is price · quantity",
    ),
    "with returns": (
        {"price": money(1) + 1, "quantity": whole(2, -5, 20)},
        (money(1) + 1) * whole(2, -5, 20),
        0,
        "y is price · quantity",
    ),
    "with a discount": (
        {"price": money(1), "quantity": whole(2, 1, 20), "discount": whole(3, 0, 4) / 10},
        money(1) * whole(2, 1, 20) * (1 - whole(3, 0, 4) / 10),
        0,
        "y is price · quantity · (1 - discount)",
    ),
    "with a tax": (
        {"net": money(1), "rate": whole(3, 1, 4) / 10},
        money(1) * (1 + whole(3, 1, 4) / 10),
        0,
        "y is net · (1 + rate)",
    ),
    "a ratio": ({"income": money(1), "people": whole(2, 1, 9)}, money(1) / whole(2, 1, 9), 0, "people^-1"),
    "a body mass": (
        {"weight": gauss(1, 75, 12), "height": gauss(2, 1.7, 0.1)},
        gauss(1, 75, 12) / gauss(2, 1.7, 0.1) ** 2,
        0,
        "y is weight · height^-2",
    ),
    "a capped difference": (
        {"due": minutes(1), "done": minutes(1) + gauss(2, 0, 30)},
        np.exp((gauss(2, 0, 30)) / 20),
        0,
        "y is determined by ",
    ),
    "any of the failure modes": (MODES, FAILED, 2, "y is determined by any of TWF, HDF, PWF, OSF, RNF"),
    "failure modes, and some failures without": (MODES, FAILED | (rare(9, 0.003) > 0), 2, "determined by any of TWF"),
    "none of the defects": ({name: 1 - mode for name, mode in MODES.items()}, ~FAILED, 2, "determined by any of TWF"),
    "late by more than a quarter": (
        {"planned": minutes(1), "actual": minutes(1) + gauss(2, 0, 20)},
        gauss(2, 0, 20) > 15,
        2,
        "y is determined by ",
    ),
    "over the limit": ({"used": money(1), "granted": money(2)}, money(1) / money(2) > 1, 2, "y is determined by "),
}


@pytest.mark.parametrize("what", MADE_UP)
def test_what_makes_up_the_target_is_found_with_its_formula(what: str) -> None:
    guilty, target, classes, formula = MADE_UP[what]
    [found] = parts_of_target({**columns(), **guilty}, target.astype(float), classes=classes)
    assert set(found.names) == set(guilty)
    assert formula in found.words("y")
    assert found.certain


def test_two_groups_are_found_one_after_the_other() -> None:
    parts = {name: money(seed) for seed, name in enumerate(["cash", "card", "domestic", "abroad"], 1)}
    total = parts["cash"] + parts["card"]
    parts["abroad"] = total - parts["domestic"]
    found = parts_of_target({**columns(), **parts}, total, classes=0)
    assert sorted(sorted(one.names) for one in found) == [["abroad", "domestic"], ["card", "cash"]]


def test_of_a_thousand_features_those_that_add_up_are_found() -> None:
    noise = {f"x{number}": gauss(number, 0, 1) for number in range(1000)}
    [found] = parts_of_target(noise, noise["x5"] + noise["x500"] - noise["x990"], classes=0)
    assert found.names == ("x5", "x500", "x990")


def test_exact_but_by_any_coefficients_is_found_and_is_not_certain() -> None:
    features, target = datasets.make_regression(1000, 20, n_informative=4, random_state=0)
    [found] = parts_of_target({f"x{n}": features[:, n] for n in range(20)}, target, classes=0)
    assert (len(found.names), found.certain) == (4, False)


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes", "digits", "linnerud"])
def test_ordinary_data_has_no_suspects(name: str) -> None:
    data: Any = getattr(datasets, f"load_{name}")(as_frame=True)
    target = np.asarray(data.target, float)
    target = target[:, 0] if target.ndim > 1 else target
    classes = 0 if name in ("diabetes", "linnerud") else len(np.unique(target))
    assert parts_of_target({c: data.data[c].to_numpy(float) for c in data.data}, target, classes=classes) == []


def honest(seed: int) -> tuple[Columns, NDArray[Any], int]:
    """Return a world as people have it: features of all kinds, of which some bear on the target, with noise."""
    chance = np.random.default_rng(seed)
    rows, count = int(chance.integers(60, 3000)), int(chance.integers(2, 40))
    makers: list[Callable[[], NDArray[Any]]] = [
        lambda: chance.normal(0, 1, rows),
        lambda: chance.lognormal(2, 1, rows).round(2),
        lambda: chance.integers(0, 10, rows).astype(float),
        lambda: (chance.random(rows) < chance.uniform(0.02, 0.5)).astype(float),
        lambda: np.cumsum(chance.normal(0, 1, rows)),
    ]
    features = {f"x{n}": makers[int(chance.integers(len(makers)))]() for n in range(count)}
    table = np.column_stack(list(features.values()))
    scaled = (table - table.mean(axis=0)) / (table.std(axis=0) + 1e-9)
    weights = chance.integers(-2, 3, count) * (chance.random(count) < 0.5)
    signal = scaled @ weights + (scaled[:, 0] * scaled[:, 1] if seed % 2 else 0)
    target = signal + chance.normal(0, max(signal.std(), 1) * chance.choice([0.05, 0.3, 1, 3]), rows)
    classes = int(chance.choice([0, 2, 3]))
    if classes:
        target = np.searchsorted(np.quantile(target, np.linspace(0, 1, classes + 1)[1:-1]), target).astype(float)
    return features, target, classes


@pytest.mark.parametrize("seed", range(40))
def test_random_worlds_with_noise_have_no_suspects(seed: int) -> None:
    features, target, classes = honest(seed)
    assert parts_of_target(features, target, classes=classes) == []
