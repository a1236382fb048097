from __future__ import annotations

import io
import json
import subprocess
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.exceptions import ArtifactError, ModelError
from airflow_mlops_provider.modeling.model_archive import canonical_digest, write_canonical
from airflow_mlops_provider.modeling.model_file import TRUSTED_TYPES, load_model, save_model
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from airflow_mlops_provider.results import ArtifactRef

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"))


def fitted(**params: Any) -> Any:
    return make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=1, **params)).fit(X, Y)


def stored(store: ArtifactStore, pipeline: Any, allow_list: AllowList | None = None) -> ArtifactRef:
    with store.workspace() as folder:
        path = folder / "model.skops"
        save_model(pipeline, path, allow_list)
        return store.add(path, ".skops")


def forged(store: ArtifactStore, pipeline: Any) -> ArtifactRef:
    """Store what skops writes, whatever it holds."""
    return store.add_bytes(skops.io.dumps(pipeline), ".skops")


def test_a_model_comes_back_as_it_was(store: ArtifactStore) -> None:
    model = fitted()

    again = load_model(store, stored(store, model))

    assert (again.predict_proba(X) == model.predict_proba(X)).all()


def test_saving_names_what_has_to_be_trusted(tmp_path: Path) -> None:
    assert save_model(fitted(), tmp_path / "model.skops") == ["sklearn.tree._tree.Tree"]


def test_equal_models_are_equal_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_model(fitted(), tmp_path / name)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_digest_is_that_of_the_model_not_of_the_archive(tmp_path: Path) -> None:
    save_model(fitted(), tmp_path / "canonical")
    for name in ("one", "two"):
        skops.io.dump(fitted(), tmp_path / name)
    loaded = skops.io.load(tmp_path / "one", trusted=list(TRUSTED_TYPES))
    skops.io.dump(loaded, tmp_path / "again")

    digests = {canonical_digest(tmp_path / name) for name in ("canonical", "one", "two", "again")}

    assert len(digests) == 1
    assert (tmp_path / "one").read_bytes() != (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    "change",
    [{"max_depth": 3}, {"random_state": 2}, {"n_estimators": 6}, {"min_samples_leaf": 2}],
)
def test_another_model_has_another_digest(change: dict[str, Any], tmp_path: Path) -> None:
    for name, params in {"one": {}, "two": change}.items():
        model = make_pipeline(RandomForestClassifier(**{"n_estimators": 5, "random_state": 1} | params)).fit(X, Y)
        save_model(model, tmp_path / name)

    assert canonical_digest(tmp_path / "one") != canonical_digest(tmp_path / "two")


def test_other_data_has_another_digest(tmp_path: Path) -> None:
    save_model(fitted(), tmp_path / "one")
    save_model(fitted().fit(X[1:], Y[1:]), tmp_path / "two")

    assert canonical_digest(tmp_path / "one") != canonical_digest(tmp_path / "two")


def test_the_number_of_cores_is_no_part_of_the_identity(tmp_path: Path) -> None:
    nested = [
        StackingClassifier([("forest", RandomForestClassifier(3, random_state=0, n_jobs=jobs))], cv=2, n_jobs=jobs)
        for jobs in (None, 1, 2)
    ]
    for jobs, model in enumerate(nested):
        save_model(model.fit(X, Y), tmp_path / str(jobs))

    assert len({canonical_digest(tmp_path / str(jobs)) for jobs in range(3)}) == 1


def test_shared_objects_stay_shared(store: ArtifactStore) -> None:
    model = StackingClassifier([("one", LogisticRegression())], cv=2).fit(X, Y)

    again = load_model(store, stored(store, model))

    assert again.named_estimators_["one"] is again.estimators_[0]


def test_the_order_of_a_set_is_no_part_of_the_file(tmp_path: Path) -> None:
    def archive(order: list[str]) -> io.BytesIO:
        # Two equal models, whose processes iterate over a set in different order.
        nodes = [
            {
                "__class__": "str", "__module__": "builtins", "__loader__": "JsonNode",
                "content": json.dumps(name), "is_json": True, "__id__": 100 + index,
            }
            for index, name in enumerate(order)
        ]  # fmt: skip
        schema = {
            "__class__": "set", "__module__": "builtins", "__loader__": "SetNode", "content": nodes,
            "__id__": 99, "protocol": 2, "_skops_version": "0.16.0",
        }  # fmt: skip
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("schema.json", json.dumps(schema))
        return buffer

    write_canonical(archive(["a", "b", "c"]), tmp_path / "one")
    write_canonical(archive(["c", "a", "b"]), tmp_path / "two")

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert skops.io.load(tmp_path / "two") == {"a", "b", "c"}


def test_a_function_cannot_be_stored(store: ArtifactStore) -> None:
    model = make_pipeline(FunctionTransformer(np.abs), FunctionTransformer(subprocess.check_output))

    with pytest.raises(ModelError, match=r"not trusted: got \['subprocess.check_output'\]"):
        stored(store, model)


def test_a_lambda_cannot_be_stored(store: ArtifactStore) -> None:
    with pytest.raises(ModelError, match="test_model_file"):
        stored(store, make_pipeline(FunctionTransformer(lambda values: values)))


class Foreign(BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """Stands for an estimator of a package that nobody allowed."""


@pytest.mark.parametrize(
    ("forge", "named"),
    [
        (lambda: FunctionTransformer(subprocess.check_output), "subprocess.check_output"),
        (lambda: FunctionTransformer(Path.unlink), "pathlib.unlink"),
        (lambda: make_pipeline(Foreign()), "Foreign"),
    ],
)
def test_a_forged_model_is_refused_before_anything_of_it_runs(forge: Any, named: str, store: ArtifactStore) -> None:
    with pytest.raises(ModelError, match=f"(?s)contains types that are not trusted.*{named}"):
        load_model(store, forged(store, forge()))


def test_a_function_that_scikit_learn_imported_is_refused(store: ArtifactStore) -> None:
    # `sklearn.utils._testing.check_output` is subprocess's: a module's name says nothing of what is in it.
    raw = skops.io.dumps(FunctionTransformer(subprocess.check_output))
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        schema = archive.read("schema.json").replace(b'"subprocess"', b'"sklearn.utils._testing"')
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("schema.json", schema)

    with pytest.raises(ModelError, match="sklearn.utils._testing.check_output"):
        load_model(store, store.add_bytes(buffer.getvalue(), ".skops"), AllowList(modules=("sklearn",)))


def test_a_changed_file_is_refused(store: ArtifactStore) -> None:
    ref = stored(store, fitted())
    path = store.fetch(ref)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(ArtifactError, match="was changed"):
        load_model(ArtifactStore(store.root), ref)


@pytest.mark.parametrize("data", [b"", b"not a zip file", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_model_is_said_to_be_none(data: bytes, store: ArtifactStore, tmp_path: Path) -> None:
    ref = store.add_bytes(data, ".skops")

    with pytest.raises(ModelError, match="cannot be read"):
        load_model(store, ref)
    with pytest.raises(ModelError, match="is not a skops archive"):
        canonical_digest(store.fetch(ref))


PLUGIN = """
from subprocess import check_output

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression as Inherited


class Prior(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.shares_ = counts / counts.sum()
        return self

    def predict_proba(self, X):
        return np.tile(self.shares_, (len(X), 1))
"""


def test_an_estimator_of_a_plugin_is_trusted_and_what_it_imports_is_not(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "own_estimators.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(folder))
    allow_list = AllowList(plugins_folder=str(folder))
    import own_estimators

    ref = stored(store, make_pipeline(own_estimators.Prior()).fit(X, Y), allow_list)

    assert load_model(store, ref, allow_list).predict_proba(X[:1]).sum() == pytest.approx(1)
    with pytest.raises(ModelError, match="own_estimators.Prior"):
        load_model(store, ref)
    raw = skops.io.dumps(FunctionTransformer(subprocess.check_output))
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        schema = archive.read("schema.json").replace(b'"subprocess"', b'"own_estimators"')
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("schema.json", schema)
    with pytest.raises(ModelError, match="own_estimators.check_output"):
        load_model(store, store.add_bytes(buffer.getvalue(), ".skops"), allow_list)
