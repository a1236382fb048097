"""Readable HTML: one self-contained page, everything escaped, no script, nothing from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
.wide{overflow-x:auto}svg{display:block}.before{fill:var(--ink);opacity:.22}.after{fill:none;stroke:var(--bad);
stroke-width:1.5}footer{margin-top:2.5rem;opacity:.75;font-size:.85rem}
@media print{body{margin:0;max-width:none}thead{display:table-header-group}tr{break-inside:avoid}}
"""


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    :param kind: `good`, `bad` or `warn` colours the text, `number` sets it to the right.
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
