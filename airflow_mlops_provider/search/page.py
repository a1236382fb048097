"""A search to look at: a table, parallel coordinates, importance; static, self-contained, without script."""

from __future__ import annotations

import csv
import io
import json
from html import escape
from typing import TYPE_CHECKING

from airflow_mlops_provider.reports import Cell, page, table
from airflow_mlops_provider.search.report import position
from airflow_mlops_provider.spec.search import Range

if TYPE_CHECKING:
    from airflow_mlops_provider.search.report import SearchReport
    from airflow_mlops_provider.search.trials import Trial

_WIDTH, _HEIGHT, _TOP, _SIDE, _BOTTOM = 900, 340, 34, 60, 30
_BAR, _LABEL = 26, 250
#: A drawing stands alone, so it brings its colours: legible on white and on black.
_STYLE = (
    "<style>svg text{font:12px system-ui,sans-serif;fill:#777}svg .axis{stroke:#999}svg rect{fill:#3b76af}"
    "svg path{fill:none;stroke-width:1.2;opacity:.55}svg .kept{stroke-width:3;opacity:1}</style>"
)


def files_of(report: SearchReport) -> dict[str, str]:
    """Return the files of a search, by name."""
    drawings = {
        "parallel_coordinates.svg": parallel_coordinates(report),
        **({"importance.svg": importances(report)} if report.importance else {}),
    }
    return {"trials.csv": trials_csv(report), "search.html": html(report, list(drawings.values())), **drawings}


def trials_csv(report: SearchReport) -> str:
    """Return one line a trial, the default first."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = list(report.search.space)
    writer.writerow(["trial", "shard", *names, report.metric, "seconds", "share_of_rows", "kept", "why"])
    for trial in report.trials:
        values = [_text(trial.params[name]) if name in trial.params else "" for name in names]
        chosen = "yes" if trial.number == report.chosen else ""
        score = "" if trial.score is None else trial.score
        writer.writerow(
            [trial.number, trial.shard, *values, score, trial.seconds, trial.share, chosen, trial.why or ""]
        )
    return out.getvalue()


def html(report: SearchReport, drawings: list[str]) -> str:
    """Return the page: what was found and why it ended, the drawings, every trial, best first."""
    found = report.facts()
    embargo = f" with an embargo of {report.embargo}" if report.embargo else ""
    lines = [
        Cell(f"{report.reason[0].upper()}{report.reason[1:]}.", "good" if report.chosen else ""),
        Cell(
            f"{found['method']}, {found['trials']} trials in {len(report.stopped)} shards, {found['failed']} of them "
            f"failed; {found['seconds']} s of fitting and measuring; {report.search.cv} folds by {report.splitter}"
            f"{embargo} of {report.rows:,} training rows. The holdout was not used."
        ),
    ]
    headers = ["trial", *report.search.space, report.metric, "seconds", "share of rows", "remark"]
    titles = ["Parallel coordinates", "Importance of the parameters"]
    figures = [f"<h2>{title}</h2>{drawing}" for title, drawing in zip(titles, drawings, strict=False)]
    return page(
        f"Search of {report.candidate}",
        lines,
        [*figures, table("Trials", headers, [_row(report, trial) for trial in _ranked(report)])],
        "Importance: mean decrease in impurity of a forest fitted to the trials (Breiman 2001).",
    )


def parallel_coordinates(report: SearchReport) -> str:
    """Return a drawing with an axis for each parameter and one for the metric, and a line for each trial."""
    names = list(report.search.space)
    trials = [trial for trial in report.trials[1:] if trial.score is not None]
    scores = [trial.score or 0.0 for trial in trials]
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    step = (_WIDTH - 2 * _SIDE) / len(names)

    def height(share: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * share

    def line(trial: Trial) -> str:
        share = ((trial.score or 0.0) - low) / ((high - low) or 1.0)
        places = [*(position(report.search, name, trial.params[name]) for name in names), share]
        points = "L".join(f"{_SIDE + step * index:.1f} {height(place):.1f}" for index, place in enumerate(places))
        goodness = 1 - share if report.less_is_better else share
        kind = ' class="kept"' if trial.number == report.chosen else ""
        title = escape(f"trial {trial.number}: {report.metric} {trial.score:.5g} {json.dumps(trial.params)}")
        return f'<path{kind} d="M{points}" style="stroke:{_colour(goodness)}"><title>{title}</title></path>'

    axes = [
        _axis(_SIDE + step * index, name, *_ends(report, name), height(0), height(1))
        for index, name in enumerate(names)
    ]
    axes.append(_axis(_SIDE + step * len(names), report.metric, f"{low:.4g}", f"{high:.4g}", height(0), height(1)))
    # The chosen one on top of the others.
    lines = [line(trial) for trial in sorted(trials, key=lambda trial: trial.number == report.chosen)]
    return _drawing(f"Trials of {report.candidate} as lines over their parameters", _HEIGHT, [*lines, *axes])


def importances(report: SearchReport) -> str:
    """Return a drawing with a bar for each parameter."""
    parts = []
    for index, (name, share) in enumerate(sorted(report.importance.items(), key=lambda item: -item[1])):
        top = 6 + index * _BAR
        width = max(1.0, (_WIDTH - _LABEL - 70) * share)
        parts.append(
            f'<text x="{_LABEL - 8}" y="{top + 15}" text-anchor="end">{escape(_short(name, 36))}</text>'
            f'<rect x="{_LABEL}" y="{top}" width="{width:.1f}" height="{_BAR - 7}"/>'
            f'<text x="{_LABEL + width + 6:.1f}" y="{top + 15}">{share:.0%}</text>'
        )
    return _drawing(f"Importance of the parameters of {report.candidate}", 12 + _BAR * len(parts), parts)


def _drawing(title: str, height: int, parts: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" viewBox="0 0 {_WIDTH} {height}" role="img">'
        f"<title>{escape(title)}</title>{_STYLE}{''.join(parts)}</svg>"
    )


def _axis(x: float, name: str, low: str, high: str, bottom: float, top: float) -> str:
    texts = [(top - 20, name), (top - 6, high), (bottom + 16, low)]
    labels = "".join(
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(_short(text, 18))}</text>' for y, text in texts
    )
    return f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>{labels}'


def _ends(report: SearchReport, name: str) -> tuple[str, str]:
    values = report.search.space[name]
    if isinstance(values, Range):
        return f"{values.low:g}", f"{values.high:g}" + (" (log)" if values.log else "")
    return _text(values[0]), _text(values[-1])


def _colour(goodness: float) -> str:
    """Return grey for the worst, blue for the best."""
    shades = zip((170, 170, 170), (0, 90, 200), strict=True)
    return "#" + "".join(f"{round(worst + (best - worst) * goodness):02x}" for worst, best in shades)


def _ranked(report: SearchReport) -> list[Trial]:
    sign = 1 if report.less_is_better else -1

    def rank(trial: Trial) -> tuple[bool, bool, float, int]:
        return trial.score is None, trial.share < 1, sign * (trial.score or 0.0), trial.number

    return sorted(report.trials, key=rank)


def _row(report: SearchReport, trial: Trial) -> list[Cell]:
    texts = [_text(trial.params[name]) if name in trial.params else "" for name in report.search.space]
    remarks = [
        "the configured params" if trial.number == 0 else "",
        "chosen" if trial.number == report.chosen else "",
        "dropped by halving" if trial.share < 1 and trial.score is not None else "",
        trial.why or "",
    ]
    return [
        Cell(str(trial.number), "number"),
        *(Cell(_short(text, 60)) for text in texts),
        Cell("failed" if trial.score is None else f"{trial.score:.6g}", "bad" if trial.score is None else "number"),
        Cell(f"{trial.seconds:.2f}", "number"),
        Cell(f"{trial.share:.0%}", "number"),
        Cell(", ".join(filter(None, remarks)), "good" if trial.number == report.chosen else ""),
    ]


def _text(value: object) -> str:
    return value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


def _short(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"
