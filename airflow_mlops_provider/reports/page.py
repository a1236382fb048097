"""A page and its tables and lists: everything escaped, no script, nothing from elsewhere, readable when printed."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d5dae0;--soft:#f3f5f7;--good:#12713d;--bad:#b3261e;
--warn:#8a5a00;--heat:#7db4e8}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e4e8ec;--paper:#14181c;--line:#39424b;--soft:#1d2328;
--good:#6fd39b;--bad:#ff8f86;--warn:#f0bd5a;--heat:#23547f}}
body{margin:2rem auto;padding:0 1rem;max-width:68rem;font:15px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--paper)}
h1{font-size:1.5rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.3rem 0}
p,li{overflow-wrap:anywhere}ul{margin:.3rem 0;padding-left:1.2rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid var(--line);
overflow-wrap:anywhere}
th{background:var(--soft);font-weight:600;overflow-wrap:normal}td{min-width:4.5rem}td.number{white-space:nowrap}.number{text-align:right}
.facts th{width:11rem;overflow-wrap:anywhere}
.heat td,.heat th{text-align:center;overflow-wrap:anywhere;min-width:1.6rem;padding:.3rem .2rem}
.heat td{white-space:nowrap}.heat tr>:first-child{text-align:left;min-width:7rem}
td.text{min-width:12rem}.heat{width:auto}
.heat td{background:color-mix(in srgb,var(--heat) var(--share),transparent);-webkit-print-color-adjust:exact;
print-color-adjust:exact}.heat small{display:block}
.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}.good,.bad,.warn{font-weight:600}
.whole{white-space:nowrap}.wide{overflow-x:auto}svg{display:block}.before{fill:var(--ink);opacity:.22}.after{fill:none;stroke:var(--bad);
stroke-width:1.5}.chart{width:100%;height:auto;overflow:visible;font-size:12px}.chart text{fill:var(--ink)}
.axis{stroke:var(--line)}.mark{stroke:var(--warn);stroke-dasharray:3 3}.series{fill:none;stroke-width:1.8}
.s0{stroke:var(--bad)}.s1{stroke:var(--ink);opacity:.45}.s2{stroke:var(--good)}.main{stroke:var(--good);stroke-width:2.4}
.span{stroke:var(--ink);stroke-width:2}
.dot{fill:var(--ink)}footer{margin-top:2.5rem;opacity:.85;font-size:.85rem}
@media(max-width:40rem){.chart{font-size:25px}.facts th{width:7rem}}
@media print{body{margin:0;padding:0;max-width:none;font-size:11px}thead{display:table-header-group}
tr,svg,li{break-inside:avoid}h2{break-after:avoid}.wide{overflow:visible}td,td.text{min-width:0}td.number,.whole{white-space:normal}
.heat{font-size:9px}.heat td,.heat th{min-width:0;padding:2px 1px;white-space:normal}
.heat tr>:first-child{min-width:7em}}
"""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    :param kind: `good`, `bad` or `warn` colours the text, `number` sets it to the right, `whole` keeps it
        on one line, `text` gives sentences room.
    :param figure: a drawing above the text, made by a function of this module.
    """

    text: str
    kind: str = ""
    figure: str = ""


def page(title: str, lines: Iterable[Cell], sections: Iterable[str], footer: str = "") -> str:
    """Return a whole page.

    :param lines: what stands below the title.
    :param sections: HTML made by the functions of this package.
    """
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        + "".join(f'<p class="{escape(line.kind)}">{escape(line.text)}</p>' for line in lines)
        + "".join(sections)
        + f"</main><footer>{escape(footer)}</footer></body></html>\n"
    )


def with_headline(document: bytes, line: Cell) -> bytes:
    """Return a stored page with one more line, above all others: what came to be known after the page was made.

    >>> with_headline(b"<h1>Drift</h1><p>8 of 14 features drifted.</p>", Cell("Retrain.", "bad"))
    b'<h1>Drift</h1><p class="bad">Retrain.</p><p>8 of 14 features drifted.</p>'
    """
    added = f'</h1><p class="{escape(line.kind)}">{escape(line.text)}</p>'
    return document.replace(b"</h1>", added.encode(), 1)


def table(heading: str, headers: Sequence[str], rows: Iterable[Sequence[Cell]], note: str = "") -> str:
    """Return a section with a table.

    :param note: what stands below it.

    >>> ">&lt;3</td>" in table("Counts", ["n"], [[Cell("<3", "number")]])
    True
    """
    rows = list(rows)
    head = "".join(
        f'<th scope="col"{" class=number" * _is_numbers(row[index] for row in rows)}>{escape(header)}</th>'
        for index, header in enumerate(headers)
    )
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{escape(cell.kind)}">{cell.figure}{escape(cell.text)}</td>' for cell in row)
        + "</tr>"
        for row in rows
    )
    return (
        f"<h2>{escape(heading)}</h2>{_scrolling(heading)}<table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>{_note(note)}"
    )


def _is_numbers(column: Iterable[Cell]) -> bool:
    """Return whether a column holds numbers, and here and there nothing: its header stands above them, to the right."""
    return {cell.kind for cell in column if cell.text} == {"number"}


def facts(heading: str, pairs: Iterable[tuple[str, Cell | str | None]], note: str = "") -> str:
    """Return a section with a line for each thing that is known; those without a value are left out.

    >>> facts("Data", [("rows", "3"), ("window", None)]).count("<tr>")
    1
    """
    lines = []
    for name, value in pairs:
        if value is not None:
            cell = value if isinstance(value, Cell) else Cell(value)
            lines.append(
                f'<tr><th scope="row">{escape(name)}</th>'
                f'<td class="{escape(cell.kind)}">{cell.figure}{escape(cell.text)}</td></tr>'
            )
    return f'<h2>{escape(heading)}</h2><table class="facts"><tbody>{"".join(lines)}</tbody></table>{_note(note)}'


def points(heading: str, lines: Iterable[str], note: str = "") -> str:
    """Return a section with a list."""
    return f"<h2>{escape(heading)}</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>{_note(note)}"


def heat_table(
    heading: str, corner: str, headers: Sequence[str], rows: Sequence[tuple[str, Sequence[tuple[str, float]]]]
) -> str:
    """Return a section with a table whose cells are the darker the larger their share.

    :param corner: what the lines and the columns are.
    :param rows: by name the cells of a line, each a text (what stands below a line break is small) and a share of
        0 to 1.
    """
    head = "".join(f'<th scope="col">{escape(header)}</th>' for header in headers)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(_shaded(text, share) for text, share in row)}</tr>'
        for name, row in rows
    )
    return (
        f'<h2>{escape(heading)}</h2>{_scrolling(heading)}<table class="heat"><thead><tr><th scope="col">'
        f"{escape(corner)}</th>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def shown_of(items: Sequence[Item], limit: int, what: str, where: str) -> tuple[Sequence[Item], str]:
    """Return the first items and, when there are more, a sentence that says so.

    >>> shown_of([1, 2, 3], 2, "columns", "the artifact `evaluation`")
    ([1, 2], 'The first 2 of 3 columns; the artifact `evaluation` has all of them.')
    """
    if len(items) <= limit:
        return items, ""
    return items[:limit], f"The first {limit} of {len(items)} {what}; {where} has all of them."


def _scrolling(name: str) -> str:
    """Return the beginning of what scrolls sideways on a narrow screen, by keyboard too."""
    return f'<div class="wide" role="region" aria-label="{escape(name)}" tabindex="0">'


def _note(text: str) -> str:
    return f"<p>{escape(text)}</p>" if text else ""


def _shaded(text: str, share: float) -> str:
    first, _, small = text.partition("\n")
    below = f"<small>{escape(small)}</small>" if small else ""
    return f'<td style="--share:{100 * min(max(share, 0.0), 1.0):.0f}%">{escape(first)}{below}</td>'
