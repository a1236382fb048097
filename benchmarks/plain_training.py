"""The flights training as one plain script: what a good engineer writes before there is a pipeline.

The same reader, expectations, split, preprocessing, estimators, gate and MLflow logging as
`config/pipelines/flight_delays.yaml`, in memory, in one process, one candidate after another.
Usage: plain_training.py FOLDER AS_OF
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "plugins"))


def main(folder: Path, as_of: datetime) -> None:
    import mlflow
    import pandas as pd
    import yaml
    from mlflow.models import infer_signature
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score
    from skops.io import dump, get_untrusted_types

    import flights

    spec = yaml.safe_load((PROJECT / "config" / "pipelines" / "flight_delays.yaml").read_text(encoding="utf-8"))
    columns = spec["data"]["columns"]
    features = [*columns["numeric"], *columns["categorical"]]

    read = flights.read_flights(as_of=as_of, start=None)
    data = read if isinstance(read, pd.DataFrame) else read.to_pandas()
    label_delay = timedelta(days=1)
    data = data[data["scheduled_departure"] < as_of - label_delay].sort_values("scheduled_departure")
    for name in columns["categorical"]:
        data[name] = data[name].astype("category")
    validate(data, spec["validation"]["expectations"])

    boundary = data["scheduled_departure"].iloc[int(len(data) * 0.8)]
    held = data["scheduled_departure"] >= boundary
    known = data["scheduled_departure"] < boundary - label_delay
    train, holdout = data[known], data[held]

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("flight_delays", artifact_location=(folder / "mlartifacts").as_uri())
    best: tuple[float, str, str] | None = None
    results: dict[str, Any] = {}
    for name, candidate in spec["training"]["candidates"].items():
        with mlflow.start_run(experiment_id=experiment, run_name=name) as run:
            model = build(candidate, columns, spec["seed"]).fit(train[features], train["late"])
            predicted = model.predict_proba(holdout[features])[:, 1]
            metrics = {
                "roc_auc": roc_auc_score(holdout["late"], predicted),
                "log_loss": log_loss(holdout["late"], predicted),
                "average_precision": average_precision_score(holdout["late"], predicted),
                "brier": brier_score_loss(holdout["late"], predicted),
            }
            mlflow.log_params({"estimator": candidate["estimator"], **candidate.get("params", {})})
            mlflow.log_metrics(metrics)
            dump(model, folder / f"{name}.skops")
            example = holdout[features].head(3).astype({column: str for column in columns["categorical"]})
            logged = mlflow.sklearn.log_model(
                model,
                name="model",
                serialization_format="skops",
                skops_trusted_types=get_untrusted_types(file=folder / f"{name}.skops"),
                signature=infer_signature(example, predicted[:3]),
                input_example=example,
            )
            results[name] = metrics
            if best is None or metrics["roc_auc"] > best[0]:
                best = metrics["roc_auc"], name, logged.model_uri
            del run
    if best is None or best[0] < 0.6:
        raise SystemExit("the gate refuses the best candidate")
    version = mlflow.register_model(best[2], "flight_delays")
    client.set_registered_model_alias("flight_delays", "champion", version.version)
    print(json.dumps({"winner": best[1], "rows": len(data), "metrics": results[best[1]]}))


def build(candidate: dict[str, Any], columns: dict[str, Any], seed: int) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    kinds = {
        kind.__name__: kind for kind in (LogisticRegression, RandomForestClassifier, HistGradientBoostingClassifier)
    }
    estimator = kinds[candidate["estimator"].rpartition(".")[2]](**candidate.get("params", {}), random_state=seed)
    numeric: list[Any] = []
    if candidate.get("impute_numeric", "median") != "none":
        numeric.append(SimpleImputer(strategy="median"))
    if candidate.get("scale", "standard") == "standard":
        numeric.append(StandardScaler())
    categorical = (
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        if candidate.get("encode") == "ordinal"
        else OneHotEncoder(handle_unknown="ignore")
    )
    preprocess = ColumnTransformer(
        [
            ("numeric", make_pipeline(*numeric) if numeric else "passthrough", columns["numeric"]),
            ("categorical", categorical, columns["categorical"]),
        ]
    )
    return make_pipeline(preprocess, estimator)


def validate(data: Any, expectations: list[dict[str, Any]]) -> None:
    import great_expectations as gx
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    suite = gx.ExpectationSuite("flights")
    for expectation in expectations:
        suite.add_expectation_configuration(ExpectationConfiguration(**expectation))
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("flights")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": data})
    result = batch.validate(suite)
    if not result.success:
        raise SystemExit(f"validation failed: {result}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]))
