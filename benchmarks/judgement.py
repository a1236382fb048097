"""How often the package's decisions are wrong, in worlds whose truth is known.

    python benchmarks/judgement.py [--quick] [--repetitions N] [--decisions NAME ...] [--out FILE]

prints the tables of `docs/how-sure.md`, which `tools/write_docs.py` makes of the file. What judges in them is the
package's own, never a copy.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from judging import challenges, decay, drift, gates, probation
from judging.rates import table

if TYPE_CHECKING:
    from collections.abc import Callable

    from judging.rates import Rate

#: How each decision is measured, and how many repetitions the full form takes.
DECISIONS: dict[str, tuple[Callable[[int, int], list[Rate]], int]] = {
    "drift": (drift.rates, 100),
    "gates": (gates.rates, 4000),
    "challenges": (challenges.rates, 1000),
    "probation": (probation.rates, 1000),
    "decay": (decay.rates, 100),
}
_QUICK = 10


def main() -> None:
    """Print the rates of every decision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", nargs="*", default=list(DECISIONS), choices=list(DECISIONS))
    parser.add_argument("--repetitions", type=int, help="of each decision; its own number when left out")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK} repetitions: does it run at all?")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="in it, decisions that are not measured stay as they are")
    given = parser.parse_args()
    measured: list[Rate] = []
    for name in given.decisions:
        rates, usual = DECISIONS[name]
        started = time.perf_counter()
        found = rates(_QUICK if given.quick else given.repetitions or usual, given.seed)
        print(f"**{name}**\n\n{table(found)}\n\n{name}: {time.perf_counter() - started:.0f} s\n")
        sys.stdout.flush()
        measured += found
    if given.out is not None:
        before = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else []
        rates = [one for one in before if one["decision"] not in given.decisions]
        rates += [{**rate.stored(), "seed": given.seed} for rate in measured]
        rates.sort(key=lambda one: list(DECISIONS).index(one["decision"]))
        given.out.write_text(json.dumps(rates, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
