"""What Airflow is told about this provider."""

from __future__ import annotations

from typing import Any

_INTEGRATION = "MLOps"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description, checked in the tests against Airflow's own schema."""
    return {
        "package-name": "airflow-mlops-provider",
        "name": "MLOps",
        "description": "The whole life of a model: validate, train, gate, promote, monitor, roll back.",
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
                        "description": "Only when the model registry is not the tracking server.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "artifact_root": {
                        "label": "Artifact root",
                        "description": "For a bare database: where models' files are kept. A server has its own.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "ui_url": {
                        "label": "Address of the MLflow UI",
                        "description": "For links; the tracking URI when left out.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "ca_bundle": {
                        "label": "Authority",
                        "description": "PEM file on every worker: whose signature on the server's certificate counts, "
                        "where it is no public authority's.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "client_cert": {
                        "label": "Client certificate",
                        "description": "PEM file on every worker, key and certificate in one, for a server that wants "
                        "it.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "verify": {
                        "label": "Check the server's certificate",
                        "description": "Only the word `false` here turns it off; no environment variable does.",
                        # Not a switch: a form saves one that nobody touched as off.
                        "schema": {"type": ["string", "null"], "enum": ["true", "false"]},
                    },
                    "timeout": {
                        "label": "Timeout",
                        "description": "Seconds after which a silent server counts as away: 30 when left out, and "
                        "never more than a quarter of the task's execution_timeout.",
                        "schema": {"type": ["integer", "null"]},
                    },
                    "aws_conn_id": {
                        "label": "Connection to S3",
                        "description": "An `aws` connection, for a server that leaves models' files on S3 to its "
                        "clients; MLflow's own way, from the environment, when left out.",
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
                        "description": "Folder of the pipeline files. When empty: `config/pipelines` beside "
                        "the DAGs folder.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/opt/airflow/config/pipelines",
                        "default": "",
                    },
                    "artifacts_uri": {
                        "description": "Where artifacts and receipts are stored: `file:///folder` or "
                        "`s3://bucket/prefix`. When empty: `mlops` in AIRFLOW_HOME.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3://models/mlops",
                        "default": "",
                    },
                    "artifacts_conn_id": {
                        "description": "Connection of type `aws` by which S3 is reached, for artifacts and for "
                        "sources. When empty: botocore's own chain (environment, profile, role).",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "aws_default",
                        "default": "",
                    },
                    "signing_conn_id": {
                        "description": "Connection whose password signs receipts: one that is not signed so does not "
                        "count, and its step runs again. When empty, receipts are not signed.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "mlops_signing",
                        "default": "",
                    },
                    "allowed_modules": {
                        "description": "Top-level modules, besides scikit-learn and the plugins folder, whose classes "
                        "and functions pipeline files may name. Comma-separated.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "xgboost,lightgbm,acme_features",
                        "default": "xgboost,lightgbm",
                    },
                    "approve_on_command_line": {
                        "description": "Let `airflow mlops promote --approve-as NAME` approve, where a pipeline has "
                        "`promotion.approval: human`. Whoever runs the command is no user of Airflow: the ledger holds "
                        "the name that they give, and the system's user.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                    "docker_images": {
                        "description": "Patterns of the images that `runtime: {kind: docker}` of a pipeline file may "
                        "name, with `*` and `?`; any image when empty. Comma-separated.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "registry.example.org/mlops/*",
                        "default": "",
                    },
                    "docker_users": {
                        "description": "Users, as `user:group`, that a pipeline file may name for its containers. "
                        "Empty: the worker's own alone, and not root. Comma-separated.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "50000:50000",
                        "default": "",
                    },
                    "docker_networks": {
                        "description": "Networks that a pipeline file may name as `network_mode`, besides `none`. "
                        "`host` and `container:…` are as much as the engine's machine. Comma-separated.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "store",
                        "default": "",
                    },
                    "docker_mounts": {
                        "description": "What a pipeline file may mount, as `folder[:target][:rw]` or "
                        "`volume:target[:rw]`: also folders below it, at the same path or below the target, and only "
                        "read unless `:rw`. Empty: nothing. Comma-separated.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "/data,/srv/plugins:/opt/airflow/plugins,scratch:/tmp:rw",
                        "default": "",
                    },
                    "docker_urls": {
                        "description": "Engines that a pipeline file may name as `docker_url`: they are given the keys "
                        "to the artifact store. Empty: only the worker's own. Comma-separated.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "tcp://engine.example.org:2376",
                        "default": "",
                    },
                    "docker_conn_ids": {
                        "description": "Connections of registries that a pipeline file may name as `docker_conn_id`. "
                        "Empty: none. Comma-separated.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "docker_default",
                        "default": "",
                    },
                    "docker_max_memory": {
                        "description": "Most memory of a container, such as `8g`: a pipeline file may ask for less. "
                        "Empty: no limit.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "8g",
                        "default": "",
                    },
                    "docker_max_cpus": {
                        "description": "Most processors of a container: a pipeline file may ask for fewer. Empty: no "
                        "limit.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "4",
                        "default": "",
                    },
                    "docker_max_gpus": {
                        "description": "Most GPUs that a pipeline file may ask for; `all`: any number.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "1",
                        "default": "0",
                    },
                    "warm_imports": {
                        "description": "Import the ML libraries and this package in the scheduler before it forks its "
                        "workers, so that tasks do not pay for it. Linux and LocalExecutor only; costs the scheduler "
                        "about 200 MB.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "True",
                        "default": "False",
                    },
                },
            }
        },
    }
