#!/bin/sh
# Makes or updates Airflow's database and its first user; safe to repeat.
set -eu
airflow db migrate
airflow users create --role Admin --username admin --password "$AIRFLOW_ADMIN_PASSWORD" \
    --firstname Airflow --lastname Admin --email admin@example.org
