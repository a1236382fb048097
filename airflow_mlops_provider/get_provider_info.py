"""The description of this provider for Airflow."""

from __future__ import annotations

from typing import Any

_INTEGRATION = "MLOps"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, checked in the tests against Airflow's own schema."""
    return {
        "package-name": "airflow-mlops-provider",
        "name": "MLOps",
        "description": "Runs the whole life of a model: validate, train, gate, promote, monitor, roll back.",
        "integrations": [{"integration-name": _INTEGRATION, "tags": ["service"]}],
        "operators": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "airflow_mlops_provider.operators.data",
                    "airflow_mlops_provider.operators.search",
                    "airflow_mlops_provider.operators.training",
                    "airflow_mlops_provider.operators.gates",
                    "airflow_mlops_provider.operators.refit",
                    "airflow_mlops_provider.operators.publishing",
                    "airflow_mlops_provider.operators.tracking",
                    "airflow_mlops_provider.operators.promotion",
                    "airflow_mlops_provider.operators.approval",
                    "airflow_mlops_provider.operators.scoring",
                    "airflow_mlops_provider.operators.rollback",
                    "airflow_mlops_provider.operators.monitoring",
                    "airflow_mlops_provider.operators.decisions",
                    "airflow_mlops_provider.operators.watching",
                    "airflow_mlops_provider.operators.notify",
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "airflow_mlops_provider.sensors.data",
                    "airflow_mlops_provider.sensors.champion",
                    "airflow_mlops_provider.sensors.drift",
                ],
            }
        ],
        "triggers": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "airflow_mlops_provider.triggers.arrival",
                    "airflow_mlops_provider.triggers.champion",
                    "airflow_mlops_provider.triggers.decision",
                ],
            }
        ],
        "hooks": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "airflow_mlops_provider.hooks.mlflow",
                    "airflow_mlops_provider.hooks.object_storage",
                    "airflow_mlops_provider.hooks.sql",
                ],
            }
        ],
        "connection-types": [
            {
                "connection-type": "mlflow",
                "hook-class-name": "airflow_mlops_provider.hooks.mlflow.MlflowHook",
                "hook-name": "MLflow",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "port"],
                    "relabeling": {"host": "Tracking URI", "login": "Username"},
                    "placeholders": {"host": "https://mlflow.example.org or sqlite:////data/mlflow.db"},
                },
                "conn-fields": {
                    "registry_uri": {
                        "label": "Registry URI",
                        "description": "Address of the model registry. Defaults to the tracking URI.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "artifact_root": {
                        "label": "Artifact root",
                        "description": "Where the files of models are stored when the tracking URI is a database. By "
                        "default, they lie in `mlartifacts` beside a SQLite file. A server has a place of its own.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "ui_url": {
                        "label": "Address of the MLflow UI",
                        "description": "Address for links to the MLflow UI. Defaults to the tracking URI.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "ca_bundle": {
                        "label": "Authority",
                        "description": "PEM file of the authority that signed the server's certificate, on every "
                        "worker. Only needed for a private authority.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "client_cert": {
                        "label": "Client certificate",
                        "description": "PEM file with both key and certificate, on every worker. Only needed for a "
                        "server that requires a client certificate.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "verify": {
                        "label": "Check the server's certificate",
                        "description": "The server's certificate is checked unless this is `false`. No environment "
                        "variable turns the check off.",
                        # Not a switch: a form saves one that nobody touched as off.
                        "schema": {"type": ["string", "null"], "enum": ["true", "false"]},
                    },
                    "timeout": {
                        "label": "Timeout",
                        "description": "Seconds after which a server that does not answer counts as away. Defaults to "
                        "30. It is never more than a quarter of the task's execution_timeout.",
                        "schema": {"type": ["integer", "null"]},
                    },
                    "aws_conn_id": {
                        "label": "Connection to S3",
                        "description": "Airflow connection of type `aws`, for a server whose clients access the files "
                        "of models on S3 themselves. By default, MLflow takes the keys from the environment.",
                        "schema": {"type": ["string", "null"]},
                    },
                },
            }
        ],
        "extra-links": [
            "airflow_mlops_provider.links.MlflowRunLink",
            "airflow_mlops_provider.links.MlflowVersionLink",
        ],
        "asset-uris": [{"schemes": ["mlops"], "handler": None}],
        "cli": ["airflow_mlops_provider.commands.mlops_commands"],
        "config": {
            "mlops": {
                "description": "Settings of airflow-mlops-provider.",
                "options": {
                    "pipelines_folder": {
                        "description": "Folder of the pipeline files. When empty, it is `config/pipelines` beside the "
                        "DAGs folder.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/config/pipelines",
                        "default": "",
                    },
                    "artifacts_uri": {
                        "description": "Where artifacts and receipts are stored: `file:///folder` or "
                        "`s3://bucket/prefix`. When empty, it is the folder `mlops` in AIRFLOW_HOME.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://models/mlops",
                        "default": "",
                    },
                    "artifacts_conn_id": {
                        "description": "Connection of type `aws` for artifacts and sources on S3. When empty, botocore "
                        "looks for keys in its own chain (environment, profile, role).",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "aws_default",
                        "default": "",
                    },
                    "signing_conn_id": {
                        "description": "Connection whose password signs receipts. A receipt without this signature "
                        "does not count, and its step runs again. When empty, receipts are not signed.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "mlops_signing",
                        "default": "",
                    },
                    "allowed_modules": {
                        "description": "Comma-separated list of the top-level modules, besides scikit-learn and the "
                        "plugins folder, whose classes and functions pipeline files may name.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "xgboost,lightgbm,acme_features",
                        "default": "xgboost,lightgbm",
                    },
                    "approve_on_command_line": {
                        "description": "Whether `airflow mlops promote --approve-as NAME` may approve where a pipeline "
                        "has `promotion.approval: human`. Airflow does not know who runs the command, so the ledger "
                        "records NAME and the user of the operating system.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                    "docker_images": {
                        "description": "Comma-separated patterns, with `*` and `?`, of the Docker images that a "
                        "pipeline file may name. When empty, it may name any image.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "registry.example.org/mlops/*",
                        "default": "",
                    },
                    "docker_users": {
                        "description": "Comma-separated list of the users, as `user:group`, that a pipeline file may "
                        "name for its containers. When empty, it may name only the worker's own user, and not root.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "50000:50000",
                        "default": "",
                    },
                    "docker_networks": {
                        "description": "Comma-separated list of the networks that a pipeline file may name as "
                        "`network_mode`, besides `none`. `host` and `container:…` open up the Docker host itself.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "store",
                        "default": "",
                    },
                    "docker_mounts": {
                        "description": "Comma-separated list of what a pipeline file may mount: `folder[:target][:rw]` "
                        "with all folders below it, at the same path without a target, or `volume:target[:rw]`. A "
                        "mount is read-only without `:rw`. When empty, it may mount nothing.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/data,/srv/plugins:/opt/airflow/plugins,scratch:/tmp:rw",
                        "default": "",
                    },
                    "docker_urls": {
                        "description": "Comma-separated list of the Docker engines that a pipeline file may name as "
                        "`docker_url`. They receive the keys to the artifact store. When empty, only the worker's own "
                        "engine is allowed.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "tcp://engine.example.org:2376",
                        "default": "",
                    },
                    "docker_conn_ids": {
                        "description": "Comma-separated list of the registry connections that a pipeline file may name "
                        "as `docker_conn_id`. When empty, it may name none.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "docker_default",
                        "default": "",
                    },
                    "docker_max_memory": {
                        "description": "Largest memory of a container, such as `8g`, also for a pipeline file that "
                        "sets no limit. When empty, there is no limit.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "8g",
                        "default": "",
                    },
                    "docker_max_cpus": {
                        "description": "Largest number of processors of a container, also for a pipeline file that "
                        "sets no limit. When empty, there is no limit.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "4",
                        "default": "",
                    },
                    "docker_max_gpus": {
                        "description": "Largest number of GPUs that a pipeline file may request. `all` allows any "
                        "number.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "1",
                        "default": "0",
                    },
                    "warm_imports": {
                        "description": "Whether the scheduler imports the ML libraries and this package before it "
                        "forks its workers, so that tasks start faster. It works only on Linux with LocalExecutor, and "
                        "takes about 200 MB in the scheduler.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                },
            }
        },
    }
