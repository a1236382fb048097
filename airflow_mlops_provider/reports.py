"""Readable HTML: one self-contained page, everything escaped, no script, nothing from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d5dae0;--soft:#f3f5f7;--good:#12713d;--bad:#b3261e;
--warn:#8a5a00}
@media (prefers-color-scheme:dark){:root{--ink:#e4e8ec;--paper:#14181c;--line:#39424b;--soft:#1d2328;--good:#6fd39b;
--bad:#ff8f86;--warn:#f0bd5a}}
body{margin:2rem auto;padding:0 1rem;max-width:68rem;font:15px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--paper)}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.3rem 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid var(--line);
overflow-wrap:anywhere}
th{background:var(--soft);font-weight:600;overflow-wrap:normal}td{min-width:4.5rem}td.number{text-align:right;white-space:nowrap}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}.good,.bad,.warn{font-weight:600}
.whole{white-space:nowrap}.wide{overflow-x:auto}svg{display:block}.before{fill:var(--ink);opacity:.22}.after{fill:none;stroke:var(--bad);
stroke-width:1.5}.chart{width:100%;height:auto;font-size:12px}.chart text{fill:var(--ink)}
.axis{stroke:var(--line)}.mark{stroke:var(--warn);stroke-dasharray:3 3}.series{fill:none;stroke-width:1.8}
.s0{stroke:var(--bad)}.s1{stroke:var(--ink);opacity:.45}.s2{stroke:var(--good)}footer{margin-top:2.5rem;opacity:.75;font-size:.85rem}
@media print{body{margin:0;max-width:none}thead{display:table-header-group}tr{break-inside:avoid}}
"""


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    :param kind: `good`, `bad` or `warn` colours the text, `number` sets it to the right, `whole` keeps it
        on one line.
    :param figure: a drawing above the text, made by a function of this module.
    """

    text: str
    kind: str = ""
    figure: str = ""


def page(title: str, lines: Iterable[Cell], sections: Iterable[str], footer: str = "") -> str:
    """Return a whole page.

    :param lines: what stands below the title.
    :param sections: HTML made by the functions of this module.
    """
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        + "".join(f'<p class="{escape(line.kind)}">{escape(line.text)}</p>' for line in lines)
        + "".join(sections)
        + f"</main><footer>{escape(footer)}</footer></body></html>\n"
    )


def table(heading: str, headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a section with a table.

    >>> ">&lt;3</td>" in table("Counts", ["n"], [[Cell("<3", "number")]])
    True
    """
    head = "".join(f'<th scope="col">{escape(header)}</th>' for header in headers)
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{escape(cell.kind)}">{cell.figure}{escape(cell.text)}</td>' for cell in row)
        + "</tr>"
        for row in rows
    )
    return (
        f'<h2>{escape(heading)}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def two_histograms(before: Sequence[float], after: Sequence[float], title: str) -> str:
    """Return a small drawing of two distributions over the same bins: one filled, one as a line.

    :param title: what a screen reader says.
    """
    width, height = 150, 36
    top = max([*before, *after], default=0.0)
    if not top:
        return ""
    step = width / len(before)

    def outline(shares: Sequence[float]) -> str:
        points = [f"M0 {height}"]
        for index, share in enumerate(shares):
            points.append(f"V{height - height * share / top:.1f}H{step * (index + 1):.1f}")
        return "".join(points) + f"V{height}"

    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
        f'<title>{escape(title)}</title><path class="before" d="{outline(before)}Z"/>'
        f'<path class="after" d="{outline(after)}"/></svg>'
    )


def share_bar(share: float, title: str) -> str:
    """Return a small bar, as long as the share of its cell.

    :param title: what a screen reader says.
    """
    return (
        '<svg width="100" height="8" viewBox="0 0 100 8" role="img" style="float:left;margin-top:.45rem">'
        f'<title>{escape(title)}</title><rect class="before" width="{100 * min(max(share, 0.0), 1.0):.1f}" height="8"/>'
        "</svg>"
    )


_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 900, 300, 60, 22
_TICKS = 5


def line_chart(
    heading: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    marks: Mapping[str, str] | None = None,
) -> str:
    """Return a section with a drawing of up to three lines over the same positions; a None leaves a gap.

    :param labels: names of the positions, from left to right.
    :param marks: upright lines, by the label that they stand at, with what a pointer over them says.

    >>> line_chart("Loss", ["a", "b"], {"<x>": [1.0, 2.0]}).count("&lt;x&gt;")
    1
    """
    values = [value for line in series.values() for value in line if value is not None]
    if not values:
        return f"<h2>{escape(heading)}</h2><p>There is no value to draw.</p>"
    low, high = min(values), max(values)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    # A metric that is never negative gets no scale below nothing.
    low, high = (max(0.0, low - room) if low >= 0 else low - room), high + room

    def x(index: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - 8) * (index / max(1, len(labels) - 1))

    def y(value: float) -> float:
        return 8 + (_HEIGHT - _BOTTOM - 8) * (high - value) / (high - low)

    parts = [_grid(y(value), f"{value:.4g}") for value in _spread(low, high)]
    parts += [
        f'<text x="{x(index):.1f}" y="{_HEIGHT - 4}" text-anchor="{_anchor(index, len(labels))}">'
        f"{escape(labels[index])}</text>"
        for index in sorted({round(place) for place in _spread(0, len(labels) - 1)})
    ]
    parts += [
        f'<line class="mark" x1="{x(labels.index(label)):.1f}" x2="{x(labels.index(label)):.1f}" y1="8" '
        f'y2="{_HEIGHT - _BOTTOM}"><title>{escape(said)}</title></line>'
        for label, said in (marks or {}).items()
        if label in labels
    ]
    for number, line in enumerate(series.values()):
        points = [None if value is None else f"{x(index):.1f} {y(value):.1f}" for index, value in enumerate(line)]
        parts.append(f'<path class="series s{number}" d="{_path(points)}"/>')
    keys = "".join(
        f'<svg width="24" height="10" style="display:inline" aria-hidden="true"><path class="series s{number}" '
        f'd="M0 5H24"/></svg> {escape(name)} &emsp;'
        for number, name in enumerate(series)
    )
    return (
        f'<h2>{escape(heading)}</h2><p>{keys}</p><svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"<title>{escape(heading)}</title>{''.join(parts)}</svg>"
    )


def _spread(low: float, high: float) -> list[float]:
    return [low + (high - low) * number / (_TICKS - 1) for number in range(_TICKS)]


def _anchor(index: int, size: int) -> str:
    return "start" if index == 0 else "end" if index == size - 1 else "middle"


def _grid(height: float, said: str) -> str:
    return (
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{height:.1f}" y2="{height:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{said}</text>'
    )


def _path(points: Sequence[str | None]) -> str:
    """Return the drawing of a line with gaps; a point between two gaps is a dot's length.

    >>> _path(["0 1", "2 3", None, "4 5"])
    'M0 1L2 3M4 5h.5'
    """
    drawn = []
    for index, point in enumerate(points):
        if point is None:
            continue
        fresh = index == 0 or points[index - 1] is None
        alone = fresh and (index + 1 == len(points) or points[index + 1] is None)
        drawn.append(f"{'M' if fresh else 'L'}{point}{'h.5' if alone else ''}")
    return "".join(drawn)
