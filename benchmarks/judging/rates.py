"""A rate that was counted, with its Monte Carlo error and what it should be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Rate:
    """How often something happened in a world whose truth is known.

    :param rule: `now`, or `before` for what an earlier rule of the package did in the same world.
    :param happened: of `of` repetitions.
    :param at_most: what the rate may be; None where no such bound is stated.
    :param at_least: what the rate must reach; None where no such bound is stated.
    """

    decision: str
    world: str
    what: str
    happened: int
    of: int
    rule: str = "now"
    at_most: float | None = None
    at_least: float | None = None

    @property
    def rate(self) -> float:
        """The share of the repetitions; not a number when there was none."""
        return self.happened / self.of if self.of else math.nan

    @property
    def error(self) -> float:
        """The Monte Carlo standard error, by Agresti and Coull's estimate: 0 of few is no certainty."""
        likely = (self.happened + 2) / (self.of + 4)
        return math.sqrt(likely * (1 - likely) / (self.of + 4))

    @property
    def holds(self) -> bool:
        """Whether the bounds lie within two Monte Carlo errors of the rate; nothing that never was breaks one."""
        if not self.of:
            return True
        high = self.at_most is None or self.rate - 2 * self.error <= self.at_most
        return high and (self.at_least is None or self.rate + 2 * self.error >= self.at_least)

    @property
    def measured(self) -> str:
        """The rate with its error, as a table shows it."""
        return f"{self.rate:.1%} ± {self.error:.1%} of {self.of:,}" if self.of else "none given"

    @property
    def bound(self) -> str:
        """The bounds, as a table shows them."""
        bounds = [
            f"{sign} {bound:.1%}" for sign, bound in (("≤", self.at_most), ("≥", self.at_least)) if bound is not None
        ]
        return ", ".join(bounds) or "-"

    def stored(self) -> dict[str, Any]:
        """Return it as JSON keeps it."""
        return {
            "decision": self.decision,
            "world": self.world,
            "what": self.what,
            "rule": self.rule,
            "happened": self.happened,
            "rate": round(self.rate, 5) if self.of else None,
            "error": round(self.error, 5),
            "of": self.of,
            **({} if self.at_most is None else {"at_most": self.at_most}),
            **({} if self.at_least is None else {"at_least": self.at_least}),
            "holds": self.holds,
        }

    @classmethod
    def read(cls, stored: dict[str, Any]) -> Rate:
        """Return what was kept as JSON."""
        names = ("decision", "world", "what", "rule", "happened", "of", "at_most", "at_least")
        return cls(**{name: stored[name] for name in names if name in stored})


def table(rates: Sequence[Rate]) -> str:
    """Return the rates of a decision as they stand in the documentation."""
    lines = ["| World | What | Rule | Rate | Stated | |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {one.world} | {one.what} | {one.rule} | {one.measured} | {one.bound} | {'' if one.holds else 'missed'} |"
        for one in rates
    ]
    return "\n".join(lines)
