"""Small drawings, each with what it shows in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from airflow_mlops_provider.as_of import as_of_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.monitoring.governor import Decision
    from airflow_mlops_provider.overview import Measure

_WIDTH, _HEIGHT, _GAP = 120, 28, 1
#: A drawing has room for so many windows at the least: two do not fill it.
_WINDOWS = 30


def drift_trend(decisions: Sequence[Decision]) -> Markup:
    """Return one bar a window: how many columns drifted; windows that were bad stand out.

    >>> from datetime import UTC, datetime
    >>> from airflow_mlops_provider.monitoring.governor import Decision
    >>> calm = Decision(as_of=datetime(2026, 3, 1, tzinfo=UTC), action="keep", rule="healthy", reasons=["no drift"])
    >>> print(drift_trend([calm]).partition("aria-label=")[2].partition(">")[0])
    "Of 1 window, 0 were bad; the latest: 0 columns drifted."
    """
    bad = sum(decision.bad for decision in decisions)
    last = len(decisions[-1].columns) if decisions else 0
    words = (
        f"Of {len(decisions)} window{'s' * (len(decisions) != 1)}, {bad} {'was' if bad == 1 else 'were'} bad; "
        f"the latest: {last} column{'s' * (last != 1)} drifted."
    )
    bars = [
        (
            len(decision.columns),
            "bad"
            if decision.bad or decision.action == "incident"
            else "unknown"
            if decision.rule == "nothing_new"
            else "calm",
            f"{as_of_text(decision.as_of)}: {len(decision.columns)} drifted, {decision.action.replace('_', ' ')}",
        )
        for decision in decisions
    ]
    return _bars(bars, words, _WIDTH, _HEIGHT, "spark")


def volume(windows: Sequence[tuple[str, int, str]]) -> Markup:
    """Return one bar a window, how many rows were predicted, with what it shows in words; nothing without a window.

    :param windows: name, rows and what a pointer over the bar says, oldest first.
    """
    rows = [count for _, count, _ in windows]
    if not rows:
        return Markup()
    least, most, first, last = min(rows), max(rows), windows[0][0], windows[-1][0]
    many = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    words = f"{many} rows in the window of {first}." if first == last else f"{many} rows per window, {first} to {last}."
    drawn = _bars([(count, "calm", caption) for _, count, caption in windows], words, 640, 80, "volume")
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(drawn, words)


def intervals(measures: Sequence[Measure | None]) -> Markup:
    """Return each version's value with its interval, on one scale; the latter stands out."""
    known = [measure for measure in measures if measure is not None and measure.value is not None]
    ends = [end for one in known for end in (one.value, one.low, one.high) if end is not None]
    if not ends:
        return Markup()
    low, span = min(ends), (max(ends) - min(ends)) or 1.0

    def x(value: float) -> float:
        return 6 + (_WIDTH - 12) * (value - low) / span

    drawn, words = [], []
    for index, one in enumerate(known):
        y, value = 7 + 12 * index, one.value or 0.0
        line = ""
        if one.low is not None and one.high is not None:
            line = f'<line x1="{x(one.low):.1f}" x2="{x(one.high):.1f}" y1="{y}" y2="{y}"/>'
            words.append(f"{value:.4g}, between {one.low:.4g} and {one.high:.4g}")
        else:
            words.append(f"{value:.4g}")
        latter = ' class="now"' if index == len(known) - 1 else ""
        drawn.append(f'<g{latter}>{line}<circle cx="{x(value):.1f}" cy="{y}" r="4"/></g>')
    tall = 14 + 12 * (len(known) - 1)
    return Markup(
        f'<svg class="interval" viewBox="0 0 {_WIDTH} {tall}" width="{_WIDTH}" height="{tall}" role="img" '
        f'aria-label="{escape("; ".join(words))}">{"".join(drawn)}</svg>'
    )


def _bars(bars: Sequence[tuple[int, str, str]], words: str, width: int, height: int, kind: str) -> Markup:
    top = max((size for size, _, _ in bars), default=0) or 1
    step = width / max(len(bars), _WINDOWS)
    drawn = []
    for index, (size, state, caption) in enumerate(bars):
        # Nothing is shown as a line on the ground: it was looked at.
        tall = max(2.0, (height - 2) * size / top)
        drawn.append(
            f'<rect class="{escape(state)}" x="{index * step:.1f}" y="{height - tall:.1f}" '
            f'width="{max(1.0, step - _GAP):.1f}" height="{tall:.1f}"><title>{escape(caption)}</title></rect>'
        )
    return Markup(
        f'<svg class="{escape(kind)}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(words)}">{"".join(drawn)}</svg>'
    )
