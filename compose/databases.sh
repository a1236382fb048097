#!/bin/bash
# Run by PostgreSQL's image once, on an empty volume: a database and an owner each for Airflow and MLflow.
set -euo pipefail

create() {
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" \
        --set name="$1" --set password="$2" <<'SQL'
CREATE USER :"name" PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
}

create airflow "$AIRFLOW_DB_PASSWORD"
create mlflow "$MLFLOW_DB_PASSWORD"
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" \
    --command 'CREATE DATABASE mlflow_auth OWNER mlflow'
