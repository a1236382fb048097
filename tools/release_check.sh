#!/usr/bin/env bash
# What a user of the package gets: builds the wheel, installs it alone into an empty environment, and takes a data file to
# a champion with it, in an Airflow that knows no clone. Needs uv; some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
project=$PWD
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
uv build --quiet --wheel --out-dir "$place/dist"
uv venv --quiet "$place/venv"
uv pip install --quiet --compile-bytecode --python "$place/venv/bin/python" --constraint constraints.txt \
    "$place"/dist/*.whl mypy
export PATH="$place/venv/bin:$PATH" AIRFLOW_HOME="$place/airflow" AIRFLOW__CORE__LOAD_EXAMPLES=False
cd "$place"

echo "1. The provider is known, and its types are"
airflow providers list -o plain | grep airflow-mlops-provider
cat >outside.py <<'PYTHON'
from datetime import datetime

from airflow.sdk import DAG

from airflow_mlops_provider.operators import TrainModelOperator
from airflow_mlops_provider.sensors import ChampionSensor

with DAG("outside", schedule=None, start_date=datetime(2026, 1, 1)):
    wait = ChampionSensor(task_id="wait", model="churn")
    train = TrainModelOperator(
        task_id="train", candidate={"name": "logistic", "estimator": "sklearn.linear_model.LogisticRegression"},
        dataset="{{ ti.xcom_pull('ingest') }}", split="{{ ti.xcom_pull('prepare') }}", pipeline="churn",
    )
PYTHON
mypy --strict --follow-imports=silent outside.py

echo "2. The examples"
airflow mlops examples examples
export AIRFLOW__CORE__DAGS_FOLDER="$place/examples/dags" AIRFLOW__CORE__PLUGINS_FOLDER="$place/examples/plugins"
export AIRFLOW__MLOPS__PIPELINES_FOLDER="$place/examples/pipelines"
export AIRFLOW__MLOPS__ARTIFACTS_URI="file://$place/artifacts"
export AIRFLOW_CONN_MLFLOW_DEFAULT='{"conn_type": "mlflow", "host": "sqlite:///'$place'/mlflow.db"}'

echo "3. A pipeline file from a data file, checked"
python - <<'PYTHON'
from sklearn.datasets import load_breast_cancer

frame = load_breast_cancer(as_frame=True).frame
frame.columns = [name.replace(" ", "_") for name in frame.columns]
frame.to_csv("tumours.csv", index_label="tumour")
PYTHON
rm examples/pipelines/flight_delays.yaml  # its data is an extra
airflow mlops init tumours.csv --target target
airflow db migrate >migrate.log 2>&1 || { tail -20 migrate.log; exit 1; }
airflow mlops check

echo "4. A champion"
airflow dags test tumours_training >training.log 2>&1 || { tail -40 training.log; exit 1; }
airflow mlops status tumours
airflow mlops history tumours -o plain | grep -q promote
echo "The wheel does what the docs say ($project)."
