"""MLflow's model directory, built around a `model.skops` that stays as it is.

`mlflow.sklearn.save_model` would serialise again, and a skops archive is never the same twice: the
ledger's sha256 would not be that of the uploaded file. The layout follows `save_model` of MLflow 3.17
(mlflow/sklearn/__init__.py); nothing of the model is loaded or run.
"""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import yaml

from airflow_mlops_provider.exceptions import ArtifactError
from airflow_mlops_provider.storage.disk_errors import explained

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature

    from airflow_mlops_provider.registry.publication import PublishedModel

MODEL_FILE = "model.skops"
_CHUNK = 1 << 20


def write_model_directory(
    folder: Path, info: PublishedModel, model_file: Path, *, model_id: str, location: str, run_id: str
) -> None:
    """Fill `folder` with MLmodel, the model's own bytes, signature, example and requirements.

    :param model_id: MLflow's id of the logged model that the folder is uploaded to, at `location`.
    :raises ArtifactError: `model_file` is not the file whose sha256 the ledger will hold.
    """
    from mlflow.models import Model

    _copy_checked(model_file, folder / MODEL_FILE, info.sha256)
    requirements = _with_mlflow(info.requirements)
    model = Model(artifact_path=location, run_id=run_id, model_uuid=model_id, model_id=model_id)
    model.signature = _signature(info)
    _write_example(folder, info, model)
    # What pyfunc.add_to_model would write; importing mlflow.pyfunc brings its agents and their warnings.
    model.add_flavor(
        "python_function",
        loader_module="mlflow.sklearn",
        model_path=MODEL_FILE,
        python_version=platform.python_version(),
        env={"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        predict_fn=info.predict_function,
    )
    model.add_flavor(
        "sklearn",
        pickled_model=MODEL_FILE,
        sklearn_version=_pinned(info.requirements, "scikit-learn"),
        serialization_format="skops",
        code=None,
        skops_trusted_types=list(info.trusted_types),
    )
    model.metadata = {"mlops.digest": info.digest, "mlops.sha256": info.sha256}
    model.model_size_bytes = sum(path.stat().st_size for path in folder.iterdir())
    model.save(str(folder / "MLmodel"))
    _write_environment(folder, requirements)


def _copy_checked(source: Path, target: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with explained("copied", source), source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)
    if digest.hexdigest() != sha256:
        raise ArtifactError(
            f"the model file {source} is not the file that was evaluated",
            got=f"sha256 {digest.hexdigest()}",
            expected=sha256,
            hint="Clear the training task to store it again.",
        )


def _signature(info: PublishedModel) -> ModelSignature:
    import numpy as np
    from mlflow.models.signature import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    # MLflow takes no whole number of 64 bits for a double, though a CSV file that was trained on reads as such.
    inputs = [ColSpec(AnyType(), name) for name in info.numeric]
    inputs += [ColSpec(DataType.string, name) for name in info.categorical]
    if info.predict_function == "predict_proba":
        outputs = Schema([TensorSpec(np.dtype("float64"), (-1, -1))])
    else:
        outputs = Schema([ColSpec(DataType[info.target_type], info.target)])
    return ModelSignature(inputs=Schema(inputs), outputs=outputs)


def _write_example(folder: Path, info: PublishedModel, model: Model) -> None:
    columns = [name for name in [*info.numeric, *info.categorical] if name in info.input_example]
    if not columns:
        return
    rows = [list(row) for row in zip(*(info.input_example[name] for name in columns), strict=True)]
    split: dict[str, Any] = {"columns": columns, "data": rows}
    (folder / "input_example.json").write_text(json.dumps(split))
    (folder / "serving_input_example.json").write_text(json.dumps({"dataframe_split": split}, indent=2))
    model.saved_input_example_info = {
        "artifact_path": "input_example.json",
        "type": "dataframe",
        "pandas_orient": "split",
        "serving_input_path": "serving_input_example.json",
    }


def _write_environment(folder: Path, requirements: list[str]) -> None:
    python = platform.python_version()
    build = [f"{name}=={found}" for name in ("pip", "setuptools", "wheel") if (found := _installed(name))]
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": requirements}],
    }
    environment = {
        "python": python,
        "build_dependencies": build or ["pip"],
        "dependencies": ["-r requirements.txt"],
    }
    (folder / "requirements.txt").write_text("\n".join(requirements))
    (folder / "conda.yaml").write_text(yaml.safe_dump(conda, sort_keys=False))
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment, sort_keys=False))


def _with_mlflow(requirements: list[str]) -> list[str]:
    # Whoever loads the model needs MLflow; training did not, so it may not have named it.
    named = any(line.startswith(("mlflow==", "mlflow-skinny==", "mlflow>", "mlflow<")) for line in requirements)
    return list(requirements) if named else [f"mlflow=={version('mlflow')}", *requirements]


def _pinned(requirements: list[str], package: str) -> str | None:
    for line in requirements:
        name, _, pinned = line.partition("==")
        if name.strip() == package:
            return pinned.strip()
    return _installed(package)


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
