"""Drawings as inline SVG, each with what it shows in words."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _EDGE = 900, 300, 80, 30, 12
_TICKS = 5
#: Room below the numbers for the name of an axis.
_NAME = 28


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


def difference_bar(value: float, low: float, high: float, reach: float, title: str) -> str:
    """Return a small drawing of a difference with its interval, on both sides of an upright line at nothing.

    :param reach: the difference at the end of either side.
    :param title: what a screen reader says.
    """
    width, height = 150, 14

    def x(difference: float) -> float:
        return width / 2 + (width / 2 - 4) * min(max(difference / (reach or 1.0), -1.0), 1.0)

    return (
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">'
        f'<title>{escape(title)}</title><line class="mark" x1="{width / 2}" x2="{width / 2}" y1="0" y2="{height}"/>'
        f'<line class="span" x1="{x(low):.1f}" x2="{x(high):.1f}" y1="7" y2="7"/>'
        f'<circle class="dot" cx="{x(value):.1f}" cy="7" r="4"/></svg>'
    )


@dataclass(frozen=True)
class _Plane:
    """Where values lie in a drawing."""

    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _EDGE) * (value - self.left) / ((self.right - self.left) or 1.0)

    def y(self, value: float) -> float:
        return _EDGE + (_HEIGHT - _BOTTOM - _EDGE) * (self.high - value) / (self.high - self.low)

    @property
    def grid(self) -> list[str]:
        """Lines across, each with its value."""
        values = _spread(self.low, self.high)
        lines = zip(map(self.y, values), _numbers(values), strict=True)
        return [
            f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _EDGE}" y1="{height:.1f}" y2="{height:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{caption}</text>'
            for height, caption in lines
        ]

    def upright(self, value: float, caption: str) -> str:
        x = self.x(value)
        return (
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_EDGE}" y2="{_HEIGHT - _BOTTOM}">'
            f"<title>{escape(caption)}</title></line>"
        )


def line_chart(
    heading: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    main: str | None = None,
    marks: Mapping[str, str] | None = None,
    marked: str = "",
) -> str:
    """Return a section with a drawing of up to three lines over the same positions; a None leaves a gap.

    :param labels: names of the positions, from left to right.
    :param main: the line that the drawing is about: it stands out.
    :param marks: upright lines, by the label that they stand at, with what a pointer over them says.
    :param marked: what the upright lines are.

    >>> line_chart("Loss", ["a", "b"], {"<x>": [1.0, 2.0]}).count("&lt;x&gt;")
    1
    """
    values = [value for line in series.values() for value in line if value is not None]
    if not values:
        return f"<h2>{escape(heading)}</h2><p>No values to draw.</p>"
    plane = _Plane(0, max(1, len(labels) - 1), *_room(min(values), max(values)))
    last = len(labels) - 1
    names = [
        _below(plane.x(index), index / (last or 1), labels[index])
        for index in sorted({round(place) for place in _spread(0, last)})
    ]
    uprights = [
        plane.upright(labels.index(label), caption) for label, caption in (marks or {}).items() if label in labels
    ]
    kinds = _kinds(series, main)
    lines = [
        _line([None if y is None else f"{plane.x(at):.1f} {plane.y(y):.1f}" for at, y in enumerate(line)], kinds[name])
        for name, line in series.items()
    ]
    keys = _keys(kinds, dashed=[marked] if marks and marked else [])
    return f"<h2>{escape(heading)}</h2>{keys}{_drawing(heading, [*plane.grid, *names, *uprights, *lines])}"


def xy_chart(
    heading: str,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    *,
    across: str,
    up: str,
    band: tuple[str, Sequence[tuple[float, float, float]]] | None = None,
    diagonal: str = "",
    ends: tuple[float, float] | None = None,
    level: tuple[float, str] | None = None,
) -> str:
    """Return a section with a drawing of up to three curves, with a dot at each of their points.

    :param curves: points of each, from left to right.
    :param across: what lies along the axis, and `up` what along the other.
    :param band: what lies behind the curves, with its name: by position its lower and upper end.
    :param diagonal: name of the line where both axes are equal; no line when empty.
    :param ends: of both axes; what there is when left out.
    :param level: a line across, with what it means.
    """
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return f"<h2>{escape(heading)}</h2><p>No values to draw.</p>"
    sides = [x for x, _ in points]
    heights = [y for _, y in points] + [end for _, *ends in (band[1] if band else ()) for end in ends]
    heights += [level[0]] if level else []
    if diagonal:
        sides = heights = [*sides, *heights]
    plane = _Plane(min(sides), max(sides), *_room(min(heights), max(heights))) if ends is None else _Plane(*ends, *ends)
    parts = [*plane.grid, *_ticks(plane, across)]
    if band:
        parts.append(_band(plane, band[1]))
    if diagonal:
        parts.append(_mark(plane, plane.left, plane.left, plane.right, plane.right))
    if level:
        parts.append(_mark(plane, plane.left, level[0], plane.right, level[0]))
    kinds = _kinds(curves)
    for name, curve in curves.items():
        places = [f"{plane.x(x):.1f} {plane.y(y):.1f}" for x, y in curve]
        parts.append(_line(places, kinds[name]))
        parts += [_dot(plane, x, y, kinds[name]) for x, y in curve]
    dashed = [name for name in (diagonal, level[1] if level else "") if name]
    caption = f"{heading}: {up} by {across}"
    keys = _keys(kinds, dashed=dashed, filled=[band[0]] if band else [])
    drawn = _drawing(caption, parts, _HEIGHT + _NAME)
    return f"<h2>{escape(heading)}</h2>{keys}{drawn}<p>Vertical axis: {escape(up)}.</p>"


def histogram(heading: str, edges: Sequence[float], counts: Sequence[int], *, across: str) -> str:
    """Return a section with a bar for each bin, and an upright line at nothing where that is among them.

    :param edges: one more than there are counts.
    """
    plane = _Plane(edges[0], edges[-1], 0.0, float(max([*counts, 1])))
    bars = []
    for left, right, count in zip(edges, edges[1:], counts, strict=False):
        x, y = plane.x(left), plane.y(count)
        caption = f"{left:.4g} to {right:.4g}: {count:,} rows"
        bars.append(
            f'<rect class="before" x="{x:.1f}" y="{y:.1f}" width="{max(plane.x(right) - x - 1, 0.5):.1f}" '
            f'height="{plane.y(0) - y:.1f}"><title>{escape(caption)}</title></rect>'
        )
    middle = [plane.upright(0.0, "nothing")] if edges[0] < 0 < edges[-1] else []
    parts = [*plane.grid, *_ticks(plane, across), *bars, *middle]
    return f"<h2>{escape(heading)}</h2>{_drawing(f'{heading}: rows by {across}', parts, _HEIGHT + _NAME)}"


def _room(low: float, high: float) -> tuple[float, float]:
    """Return ends with some room; what is never negative gets no scale below nothing."""
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return (max(0.0, low - room) if low >= 0 else low - room), high + room


def _spread(low: float, high: float) -> list[float]:
    return [low + (high - low) * number / (_TICKS - 1) for number in range(_TICKS)]


def _numbers(values: Sequence[float]) -> list[str]:
    """Return numbers in as few digits as tell them apart.

    >>> _numbers([0.25, 0.5]), _numbers([0.73514, 0.73522])
    (['0.25', '0.5'], ['0.7351', '0.7352'])
    """
    for digits in (3, 4, 5, 17):
        caption = [f"{value:.{digits}g}" for value in values]
        if len(set(caption)) == len(values):
            break
    return caption


def _drawing(caption: str, parts: Sequence[str], height: int = _HEIGHT) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img"><title>{escape(caption)}</title>'
        f"{''.join(parts)}</svg>"
    )


def _ticks(plane: _Plane, across: str) -> list[str]:
    """Return the values along the axis, and its name below them."""
    values = _spread(plane.left, plane.right)
    numbers = [
        _below(plane.x(value), index / (_TICKS - 1), caption)
        for index, (value, caption) in enumerate(zip(values, _numbers(values), strict=True))
    ]
    middle = (_LEFT + _WIDTH) / 2
    return [*numbers, f'<text x="{middle}" y="{_HEIGHT + _NAME - 4}" text-anchor="middle">{escape(across)}</text>']


def _below(x: float, share: float, caption: str) -> str:
    anchor = "start" if share == 0 else "end" if share == 1 else "middle"
    return f'<text x="{x:.1f}" y="{_HEIGHT - 4}" text-anchor="{anchor}">{escape(caption)}</text>'


def _kinds(names: Iterable[str], main: str | None = None) -> dict[str, str]:
    """Return how each line looks."""
    return {name: "main" if name == main else f"s{number}" for number, name in enumerate(names)}


def _keys(kinds: Mapping[str, str], dashed: Sequence[str] = (), filled: Sequence[str] = ()) -> str:
    """Return which line is what."""
    drawn = [(f'<path class="series {kind}" d="M0 5H24"/>', name) for name, kind in kinds.items()]
    drawn += [('<path class="mark" d="M0 5H24"/>', name) for name in dashed]
    drawn += [('<rect class="before" width="24" height="10"/>', name) for name in filled]
    keys = "".join(
        f'<svg width="24" height="10" style="display:inline" aria-hidden="true">{shape}</svg> {escape(name)} &emsp;'
        for shape, name in drawn
    )
    return f"<p>{keys}</p>"


def _line(points: Sequence[str | None], kind: str) -> str:
    return f'<path class="series {kind}" d="{_path(points)}"/>'


def _dot(plane: _Plane, x: float, y: float, kind: str) -> str:
    caption = f"{x:.4g}: {y:.4g}"
    return (
        f'<circle class="series {kind}" cx="{plane.x(x):.1f}" cy="{plane.y(y):.1f}" r="3">'
        f"<title>{caption}</title></circle>"
    )


def _mark(plane: _Plane, x1: float, y1: float, x2: float, y2: float) -> str:
    ends = f'x1="{plane.x(x1):.1f}" y1="{plane.y(y1):.1f}" x2="{plane.x(x2):.1f}" y2="{plane.y(y2):.1f}"'
    return f'<line class="mark" {ends}/>'


def _band(plane: _Plane, ends: Sequence[tuple[float, float, float]]) -> str:
    def edge(of: Callable[[tuple[float, float, float]], float], places: Sequence[tuple[float, float, float]]) -> str:
        return "L".join(f"{plane.x(place[0]):.1f} {plane.y(of(place)):.1f}" for place in places)

    below, above = edge(lambda place: place[1], ends), edge(lambda place: place[2], ends[::-1])
    return f'<path class="before" d="M{below}L{above}Z"/>'


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
