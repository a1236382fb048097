#!/bin/sh
# Starts the MLflow server with basic authentication. Passwords come by the environment and go into no argument.
set -eu
umask 077
cat >/tmp/basic_auth.ini <<C
[mlflow]
default_permission = READ
database_uri = postgresql+psycopg2://mlflow:${MLFLOW_DB_PASSWORD}@postgres:5432/mlflow_auth
admin_username = admin
grant_default_workspace_access = true
auth_cache_ttl_seconds = 60
C
export MLFLOW_AUTH_CONFIG_PATH=/tmp/basic_auth.ini
export MLFLOW_BACKEND_STORE_URI="postgresql+psycopg2://mlflow:${MLFLOW_DB_PASSWORD}@postgres:5432/mlflow"
exec mlflow server --app-name basic-auth --host 0.0.0.0 --port 5000 --workers 2 \
    --allowed-hosts "mlflow:5000,localhost:5000,127.0.0.1:5000" \
    --serve-artifacts --artifacts-destination s3://mlflow
