"""NannyML's CBPE beside ours on the same frames: same reference, same windows, same model's scores.

    python benchmarks/estimated_performance.py --frames /tmp/frames
    uv venv /tmp/nannyml && uv pip install --python /tmp/nannyml/bin/python nannyml
    /tmp/nannyml/bin/python benchmarks/estimated_performance_nannyml.py /tmp/frames

NannyML pins other versions than this project does, so it has an environment of its own and is no dependency.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

METRICS = ["roc_auc", "average_precision", "accuracy", "f1"]


def main() -> None:
    """Print, for each metric, how far the two estimates lie apart, and how near to the labels each of them."""
    warnings.simplefilter("ignore")
    days = pd.concat([beside(file) for file in sorted(Path(sys.argv[1]).glob("reference_*.parquet"))])
    print("| Metric | Days | Mean distance | Largest | Correlation | Error, NannyML | Error, ours | Inside NannyML's |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in METRICS:
        theirs, ours, truth, low, high = (days[(name, what)] for what in ("value", "ours", "truth", "low", "high"))
        apart = (theirs - ours).abs()
        print(
            f"| {name} | {len(days)} | {apart.mean():.4f} | {apart.max():.4f} | {theirs.corr(ours):.4f} | "
            f"{(theirs - truth).abs().mean():.4f} | {(ours - truth).abs().mean():.4f} | "
            f"{((low <= truth) & (truth <= high)).mean():.1%} |"
        )


def beside(file: Path) -> pd.DataFrame:
    """Return both estimates of each day of a month, and what the labels say."""
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # it would tell its makers
    import nannyml

    reference = pd.read_parquet(file)
    window = pd.read_parquet(file.with_name(file.name.replace("reference", "window")))
    window["at"] = window["day"].dt.tz_localize(None) - pd.Timedelta(hours=12)
    # The reference is in its order of time; NannyML wants a time to cut it into chunks by.
    reference["at"] = window["at"].min() - pd.Timedelta(days=20) * np.linspace(1, 0.05, len(reference))
    estimator = nannyml.CBPE(
        problem_type="classification_binary",
        y_true="y_true",
        y_pred="y_pred",
        y_pred_proba="y_pred_proba",
        timestamp_column_name="at",
        metrics=METRICS,
        chunk_period="D",
    )
    found = (
        estimator.fit(reference).estimate(window[["at", "y_pred", "y_pred_proba"]]).filter(period="analysis").to_df()
    )
    days = window.groupby("day")
    columns: dict[tuple[str, str], object] = {}
    for name in METRICS:
        columns[(name, "value")] = found[(name, "value")].to_numpy()
        columns[(name, "low")] = found[(name, "lower_confidence_boundary")].to_numpy()
        columns[(name, "high")] = found[(name, "upper_confidence_boundary")].to_numpy()
        columns[(name, "ours")] = days[name].first().to_numpy()
        columns[(name, "truth")] = [measured(name, rows) for _, rows in days]
    return pd.DataFrame(columns)


def measured(name: str, rows: pd.DataFrame) -> float:
    """Return a metric by the labels."""
    from sklearn import metrics

    column = rows["y_pred_proba" if name in ("roc_auc", "average_precision") else "y_pred"]
    return float(getattr(metrics, f"{name}_score")(rows["y_true"], column))


if __name__ == "__main__":
    main()
