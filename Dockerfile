# Images of this project. Targets: `airflow` (every part of Airflow) and `mlflow` (the tracking server), both for
# docker-compose.yaml; `step` (compute steps alone), for `runtime: {kind: docker}`. Where packages come from an index
# of one's own: --build-arg PIP_INDEX_URL=...
#
# A tag may be moved to another image, a digest not. Look it up where you build, and give it with its `@`:
#   docker buildx imagetools inspect python:3.11.14-slim-bookworm --format '{{.Manifest.Digest}}'
#   --build-arg PYTHON_DIGEST=@sha256:...     (make image PYTHON_DIGEST=..., compose: PYTHON_DIGEST in .env)
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
ARG PYTHON_DIGEST=

FROM ${PYTHON_IMAGE}${PYTHON_DIGEST} AS wheel
ARG PIP_INDEX_URL
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY airflow_mlops_provider ./airflow_mlops_provider
RUN python3 -m pip wheel --quiet --no-cache-dir --no-deps --wheel-dir /wheels .

# No Airflow, no MLflow: a step reads an order, computes, and writes to the artifact store.
FROM ${PYTHON_IMAGE}${PYTHON_DIGEST} AS step
ARG PIP_INDEX_URL
COPY constraints-step.txt /tmp/constraints-step.txt
RUN python3 -m pip install --quiet --no-cache-dir --no-deps --require-hashes --requirement /tmp/constraints-step.txt
COPY --from=wheel /wheels /wheels
RUN python3 -m pip install --quiet --no-cache-dir --no-deps /wheels/*.whl && python3 -m airflow_mlops_provider --help
# The runtime starts it as the worker's user, on a root file system that is read-only.
USER 65534:65534
ENTRYPOINT ["python3", "-m", "airflow_mlops_provider"]

# The versions are those of constraints.txt, which the tests run with, and not those of Apache's own image.
FROM ${PYTHON_IMAGE}${PYTHON_DIGEST} AS airflow
ARG PIP_INDEX_URL
COPY constraints-airflow.txt /tmp/constraints-airflow.txt
RUN python3 -m pip install --quiet --no-cache-dir --no-deps --require-hashes --requirement /tmp/constraints-airflow.txt
COPY --from=wheel /wheels /wheels
RUN python3 -m pip install --quiet --no-cache-dir --no-deps /wheels/*.whl && python3 -m pip check
# Volumes take their owner from these folders.
RUN useradd --uid 50000 --gid 0 --home-dir /opt/airflow --create-home airflow \
    && mkdir -p /opt/airflow/logs /opt/airflow/dags /opt/airflow/config /opt/airflow/plugins \
    && chown -R airflow:root /opt/airflow
ENV AIRFLOW_HOME=/opt/airflow PYTHONUNBUFFERED=1 MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=1
WORKDIR /opt/airflow
USER airflow
CMD ["airflow", "version"]

FROM ${PYTHON_IMAGE}${PYTHON_DIGEST} AS mlflow
ARG PIP_INDEX_URL
COPY constraints-mlflow.txt /tmp/constraints-mlflow.txt
RUN python3 -m pip install --quiet --no-cache-dir --no-deps --require-hashes --requirement /tmp/constraints-mlflow.txt \
    && python3 -m pip check
RUN useradd --uid 50001 --gid 0 --create-home mlflow
ENV PYTHONUNBUFFERED=1 MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=1
WORKDIR /home/mlflow
USER mlflow
