"""How often drift is seen where nothing changed, and asks for a retraining; and how often a change is seen.

A history is a champion whose reference holds 300 days, and a year after it. Each retraining that is asked for is made,
and brings a new reference. The former rule held a distance, in standard deviations of all values, against what
independent rows show.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.signal import lfilter
from scipy.stats import wasserstein_distance

from airflow_mlops_provider.monitoring.drift_report import ColumnDrift
from airflow_mlops_provider.monitoring.effect_sizes import Scale, distance, numbers
from airflow_mlops_provider.monitoring.governor import Incumbent, Window, decide
from airflow_mlops_provider.monitoring.ranges import outside, range_of
from airflow_mlops_provider.monitoring.sampling import Observed
from airflow_mlops_provider.monitoring.usual import ALONE, AMONG_OTHERS, cut, usual_distance
from airflow_mlops_provider.monitoring.window_verdict import judge
from airflow_mlops_provider.spec.operations import Monitoring
from judging.rates import Rate

if TYPE_CHECKING:
    from airflow_mlops_provider.monitoring.usual import Usual

START, DAY = datetime(2020, 1, 1, tzinfo=UTC), timedelta(days=1)
KNOWN, YEAR, ROWS, FEATURES = 300, 364, 120, 6
#: The champion saw the labels of all days, and its predictions are of the last fifth.
HELD_OUT = 0.8
POLICY = Monitoring()
#: Days that are measured beside a new champion at first: most of the former rule were soon replaced.
_NEXT = 28


@dataclass(frozen=True)
class World:
    """Where days come from.

    :param share: of a column's variance that all rows of a day have in common.
    :param level: how that goes on from day to day: `independent`, `ar`, or `week` for a weekend in half of the columns.
    :param window: days.
    :param change: what happens to the columns in the year: none, or `grows`, `step`, `slow`.
    :param least: how often a column that moved by one standard deviation is to be flagged within three windows.
    """

    share: float = 0.0
    level: str = "independent"
    window: int = 1
    change: str | None = None
    least: float | None = None

    def draw(self, chance: np.random.Generator) -> np.ndarray:
        """Return rows: days, rows of a day, features and then the prediction."""
        days = KNOWN + YEAR
        own = chance.standard_normal((days, ROWS, FEATURES))
        rows = (1 - self.share) ** 0.5 * own + self._common(days, chance)[:, None] + self._moved(days)[:, None, None]
        mixed = rows.mean(axis=-1, keepdims=True) * FEATURES**0.5
        return np.concatenate([rows, mixed + 0.5 * chance.standard_normal(mixed.shape)], axis=-1)

    def _common(self, days: int, chance: np.random.Generator) -> np.ndarray:
        if self.level == "week":
            return np.outer(np.where(np.arange(days) % 7 >= 5, 0.5, 0.0), np.arange(FEATURES) < FEATURES // 2)
        free = chance.standard_normal((days + 200, FEATURES))
        level = lfilter([0.6], [1, -0.8], free, axis=0) if self.level == "ar" else free
        return self.share**0.5 * np.asarray(level)[200:]

    def _moved(self, days: int) -> np.ndarray:
        day = np.arange(days)
        if self.change == "grows":
            return day / 100
        since = np.maximum(day - KNOWN - 100, 0)
        if self.change == "step":
            return np.minimum(since, 1.0)
        return np.minimum(since / 180, 1.0) if self.change == "slow" else np.zeros(days)


STATIONARY = {
    "independent rows": World(least=0.95),
    "days, 5 % in common": World(0.05, least=0.95),
    "days, 20 % in common": World(0.2, least=0.95),
    "days, 20 % follow an AR(0.8)": World(0.2, "ar"),
    "the same, windows of 7 days": World(0.2, "ar", window=7, least=0.8),
    "a weekend of 0.5 sd in half of the columns": World(level="week", least=0.95),
    "the same week, windows of 7 days": World(level="week", window=7, least=0.95),
}
CHANGED = {
    "a level that grows by 1 sd in 100 days": World(0.05, change="grows"),
    "a step of 1 sd in all columns": World(0.05, change="step"),
    "a drift by 1 sd in 180 days": World(0.05, change="slow"),
}


class Champion:
    """A reference, and windows of some days after it measured beside it."""

    def __init__(self, world: World, rows: np.ndarray, now: int, rule: str, days: int = YEAR) -> None:
        self.world, self.rule, self.now = world, rule, now
        known = rows[now - KNOWN : now]
        later = rows[now : now + min(days, len(rows) - now) // world.window * world.window]
        self.scales, self.usual, found = [], [], []
        for column in range(FEATURES + 1):
            alone = column == FEATURES
            values = known[int(HELD_OUT * KNOWN) * alone :, :, column]
            scale = numbers(values.ravel()) if rule == "now" else by_values(values.ravel())
            self.scales.append(scale)
            codes = scale.codes(values.ravel())
            usual = self._usual(scale, codes, len(values), alone=alone)
            counts = self._counted(scale, later[:, :, column])
            found.append(distance(scale, scale.counts(codes), counts))
            self.usual.append(usual)
            if column == 0:
                moved = self._counted(scale, later[:, :, column] + values.std())
                self.moved = distance(scale, scale.counts(codes), moved) > usual.bound
        self.apart = np.array(found)

    def _usual(self, scale: Scale, codes: np.ndarray, days: int, *, alone: bool) -> Usual:
        moments = np.repeat(np.arange(self.now - days, self.now) * 86_400_000_000 + 1, ROWS)
        stretches = cut(moments + int(START.timestamp() * 1e6), START + self.now * DAY, self.world.window * DAY)
        return usual_distance(
            scale,
            codes,
            stretches.of if stretches is not None and self.rule == "now" else None,
            shares=scale.counts(codes) / len(codes),
            rows=ROWS * self.world.window,
            threshold=POLICY.drift.numeric_threshold,
            deviations=ALONE if alone else AMONG_OTHERS,
            seed=0,
        )

    def _counted(self, scale: Scale, later: np.ndarray) -> np.ndarray:
        codes = scale.codes(later.ravel()).reshape(len(later) // self.world.window, -1)
        return np.stack([scale.counts(one) for one in codes])

    def facts(self, window: int) -> dict[str, Any]:
        """Return what the drift step says of a window."""
        columns = [
            ColumnDrift(
                column=str(column),
                role="feature",
                kind="numeric",
                method="wasserstein",
                statistic=float(self.apart[column, window]),
                threshold=POLICY.drift.numeric_threshold,
                bound=self.usual[column].bound,
                drifted=bool(self.apart[column, window] > self.usual[column].bound),
                weight=1 / FEATURES,
            )
            for column in range(FEATURES)
        ]
        found = judge(POLICY.drift, columns, lambda name: self.usual[int(name)], ROWS, enough=True)
        predictions = bool(self.apart[FEATURES, window] > self.usual[FEATURES].bound)
        return {**found, "prediction_drift": predictions, "columns": []}


def by_values(values: np.ndarray) -> Scale:
    """Return the former scale: the values themselves, in standard deviations."""
    scale = numbers(values)
    codes = scale.codes(values)
    counts = np.maximum(scale.counts(codes), 1)
    places = np.bincount(codes, values, minlength=scale.bins) / counts
    places[::2] = np.maximum.accumulate(np.where(scale.counts(codes)[::2] > 0, places[::2], -np.inf))
    return replace(scale, places=np.maximum.accumulate(places) / values.std())


def history(world: World, rule: str, chance: np.random.Generator) -> dict[str, Any]:
    """Return what a year brings: requests, and what was flagged until the first of them."""
    rows = world.draw(chance)
    champion = Champion(world, rows, KNOWN, rule)
    first, made, requests, decisions = champion, KNOWN, [], []
    incumbent = Incumbent(seq=1, version=1, promoted_as_of=START, trained=START + made * DAY)
    drifted = []
    for end in range(KNOWN + world.window, KNOWN + YEAR + 1, world.window):
        number = (end - made) // world.window - 1
        if number >= champion.apart.shape[1]:
            champion = Champion(world, rows, made, rule)
        facts = champion.facts(number)
        drifted.append(facts["drifted"] or facts["prediction_drift"])
        as_of = START + end * DAY
        window = Window(as_of=as_of, start=as_of - world.window * DAY, rows=ROWS * world.window)
        decisions.append(decide(POLICY, window, drift=facts, live=None, champion=incumbent, history=decisions))
        if decisions[-1].requests_retraining:
            requests.append(end - KNOWN)
            made = end
            incumbent = Incumbent(seq=len(requests) + 1, version=len(requests) + 1, promoted_as_of=as_of, trained=as_of)
            if end + world.window <= KNOWN + YEAR:
                champion = Champion(world, rows, made, rule, _NEXT)
    bounds = np.array([usual.bound for usual in first.usual])[:, None]
    return {"requests": requests, "windows": drifted, "columns": (first.apart > bounds)[:-1], "moved": first.moved}


def rates(repetitions: int, seed: int) -> list[Rate]:
    """Return all rates. The former rule, which retrains each week, is measured on a fiftieth of the histories."""
    found = []
    for name, world in (STATIONARY | CHANGED).items():
        for rule in ("before", "now"):
            chance = np.random.default_rng(seed)
            size = repetitions if rule == "now" else max(1, repetitions // 50)
            found += _rates_of(name, world, rule, [history(world, rule, chance) for _ in range(size)])
    return found + _values(repetitions * 2, seed)


def _rates_of(name: str, world: World, rule: str, histories: list[dict[str, Any]]) -> list[Rate]:
    counted = partial(Rate, "drift", name, rule=rule)
    windows = YEAR // world.window
    requests = [one["requests"] for one in histories]
    size = len(histories)
    if world.change in ("step", "slow"):
        within = 14 if world.change == "step" else 264
        seen = sum(any(100 < day <= 100 + within for day in one) for one in requests)
        least = {"at_least": 0.95} if rule == "now" else {}
        return [counted(f"a retraining within {within} days of it", seen, size, **least)]
    columns = np.array([one["columns"] for one in histories])
    nominal = {"at_most": 1 / windows} if rule == "now" and world.change is None else {}
    rates = [
        counted("columns flagged", int(columns.sum()), columns.size),
        counted("windows that drift", sum(sum(one["windows"]) for one in histories), size * windows),
        counted(
            f"retrainings asked for, of {windows} windows a year", sum(map(len, requests)), size * windows, **nominal
        ),
    ]
    if world.change is None:
        moved = np.array([one["moved"] for one in histories])[:, : windows // 3 * 3].reshape(-1, 3).any(axis=1)
        least = {"at_least": world.least} if rule == "now" and world.least else {}
        rates.append(counted("1 sd flagged within three windows", int(moved.sum()), moved.size, **least))
    return rates


# ---------------------------------------------------------------- wild values, heavy tails, a broken sensor


def _values(repetitions: int, seed: int) -> list[Rate]:
    """Return rates of single windows of 2,000 independent rows beside a reference of 50,000."""
    chance = np.random.default_rng(seed)
    normal, wild, tail = (partial(chance.normal, 50, 10), _with(chance, 999_999.0), _with(chance, 1e6))
    heavy = partial(chance.lognormal, 0, 2)
    cases: dict[str, tuple[str, Any, Any, dict[str, float]]] = {
        "999999 in the reference": ("a shift by 3 sd is found", wild, lambda n: normal(n) + 30, {"at_least": 0.99}),
        "1e6 in the window": ("drift", normal, tail, {"at_most": 0.01}),
        "lognormal(2)": ("a factor of 1.5 is found", heavy, lambda n: 1.5 * heavy(n), {"at_least": 0.95}),
        "lognormal(2), nothing changed": ("drift", heavy, heavy, {"at_most": 0.01}),
        "a broken sensor": ("a stuck value is found", normal, lambda n: np.full(n, 50.0), {"at_least": 0.99}),
    }
    found = []
    for world, (what, before, after, nominal) in cases.items():
        old, new, reported = 0, 0, 0
        for number in range(repetitions):
            reference, window = before(50_000), after(2000)
            scale = numbers(reference)
            codes = scale.codes(reference)
            counts = scale.counts(codes)
            usual = partial(usual_distance, rows=2000, threshold=0.1, deviations=AMONG_OTHERS, seed=number)
            bound = usual(scale, codes, None, shares=counts / counts.sum()).bound
            new += float(distance(scale, counts, scale.counts(scale.codes(window)))) > bound
            old += wasserstein_distance(reference, window) / reference.std() > 0.1
            reported += _reported(reference, window)
        found.append(Rate("drift", world, what, int(old), repetitions, "before"))
        found.append(Rate("drift", world, what, int(new), repetitions, "now", **nominal))
        if world == "1e6 in the window":
            found.append(Rate("drift", world, "reported as out of range", reported, repetitions, at_least=0.99))
    return found


def _with(chance: np.random.Generator, value: float) -> Any:
    def draw(size: int) -> np.ndarray:
        return np.append(chance.normal(50, 10, size - 1), value)

    return draw


def _reported(reference: np.ndarray, window: np.ndarray) -> bool:
    def observed(values: np.ndarray) -> Observed:
        low, high = float(values.min()), float(values.max())
        return Observed("numeric", rows=len(values), low=low, high=high, sample=values)

    before, after = observed(reference), observed(window)
    bounds = range_of(before)
    if bounds is None:
        return False
    after.outside = int(((window < bounds.low) | (window > bounds.high)).sum())
    return outside(before, after) is not None
