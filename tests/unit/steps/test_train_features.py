"""Features that a candidate makes from its columns, by transformers of scikit-learn and of the user."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from candidates_to_train import LOGISTIC, RANDOM, ROLES, TREE, features, info_of, table

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.exceptions import ModelError, NotAllowedError, SpecError
from airflow_mlops_provider.modeling.model_file import load_model
from airflow_mlops_provider.modeling.predictions import feature_frame, predict
from airflow_mlops_provider.spec import Columns

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

GUIDE = Path(__file__).parents[3] / "docs" / "features.md"
RATIO = {"transformer": "ratios.Ratio", "columns": ["a", "b"]}
TARGET = {"transformer": "sklearn.preprocessing.TargetEncoder", "columns": ["kind"]}


def ratio_table() -> pd.DataFrame:
    """Return rows whose target is told by a ratio, and by neither of its parts."""
    frame = table(600)
    rng = np.random.default_rng(3)
    frame["b"] = np.exp(rng.normal(0, 1, 600))
    frame["a"] = frame["b"] * np.exp(rng.normal(0, 1, 600))
    frame["y"] = (frame["a"] / frame["b"] > 1).astype(int)
    return frame


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugins folder with the guide's transformer."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    [code] = re.findall(r"<!-- example: ratios.py -->\n```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    (folder / "ratios.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "ratios", raising=False)
    return folder


@pytest.fixture
def train(ingested: Callable[..., StepResult], step: Callable[..., StepResult]) -> Callable[..., StepResult]:
    def run(candidate: dict[str, Any], frame: pd.DataFrame, plugins: Path | None = None) -> StepResult:
        dataset = ingested(frame, **ROLES)
        split = step("prepare", RANDOM, dataset=dataset)
        folder = None if plugins is None else str(plugins)
        section = {"name": "one", "candidate": candidate}
        return step("train", section, plugins=folder, dataset=dataset, split=split)

    return run


def test_a_transformer_of_the_user_makes_what_no_column_tells(
    train: Callable[..., StepResult], store: ArtifactStore, plugins: Path
) -> None:
    frame = ratio_table()
    stump = {**TREE, "params": {"max_depth": 1}}
    found = {}
    for name, candidate in {"without": stump, "with": {**stump, "features": [RATIO]}}.items():
        model = load_model(
            store, train(candidate, frame, plugins).artifacts["model"], AllowList(plugins_folder=str(plugins))
        )
        found[name] = (model.predict(features(frame)) == frame["y"]).mean()
    assert found["with"] > 0.97 > 0.85 > found["without"]


def test_the_model_needs_the_code_and_says_so(
    train: Callable[..., StepResult], store: ArtifactStore, plugins: Path
) -> None:
    result = train({**LOGISTIC, "features": [RATIO]}, ratio_table(), plugins)
    with pytest.raises(ModelError, match=r"contains types that are not trusted: got .*ratios\.Ratio"):
        load_model(store, result.artifacts["model"], AllowList())


def test_scikit_learns_own_transformers_need_nothing(train: Callable[..., StepResult], store: ArtifactStore) -> None:
    poly = {"transformer": "sklearn.preprocessing.PolynomialFeatures", "columns": ["a", "b"], "impute": True}
    frame = table()
    result = train({**LOGISTIC, "features": [TARGET, poly]}, frame)
    model = load_model(store, result.artifacts["model"], AllowList())
    inputs = model["preprocess"].transform(features(frame)).shape[1]
    assert inputs == 2 + 4 + 1 + 6, "numbers, categories with the missing one, the encoded one, the products"
    assert np.isfinite(model.predict_proba(features(frame))).all()
    assert [one.name for one in info_of(store, result).features] == ["a", "b", "kind"], "what rows must have"


def test_equal_settings_give_an_equal_model_and_another_code_another(
    train: Callable[..., StepResult], plugins: Path
) -> None:
    frame, candidate = ratio_table(), {**LOGISTIC, "features": [RATIO]}
    first = train(candidate, frame, plugins)
    assert train(candidate, frame, plugins).cached
    file = plugins / "ratios.py"
    file.write_text(file.read_text() + "\n")
    again = train(candidate, frame, plugins)
    assert not again.cached
    assert again.artifacts["model"].sha256 == first.artifacts["model"].sha256
    assert again.facts["recipe"] != first.facts["recipe"]


@pytest.mark.parametrize(
    ("features", "error", "words"),
    [
        ([{"transformer": "os.path", "columns": ["a"]}], NotAllowedError, "outside the allow-list"),
        ([{**RATIO, "transformer": "sklearn.tree.DecisionTreeClassifier"}], SpecError, "has no method transform"),
        ([{**RATIO, "transformer": "sklearn.preprocessing.FunctionTransformer", "params": {"func": "os.system"}}],
         SpecError, "func"),
        ([{**RATIO, "transformer": "sklearn.preprocessing.KBinsDiscretizer", "params": {"n_bin": 3}}],
         SpecError, "did you mean 'n_bins'"),
        ([{**TARGET, "columns": ["a", "c"]}], SpecError, "makes features from 'c', which is no longer a feature"),
        ([{**TARGET, "columns": []}], SpecError, "at least 1 item"),
        ([{"transformer": "sklearn.preprocessing.PolynomialFeatures", "columns": ["kind"]}], ModelError,
         "Correct its parameters, or its features"),
    ],
    ids=["not allowed", "an estimator", "a function", "a misspelt parameter", "no column", "no columns", "text"],
)  # fmt: skip
def test_what_makes_no_features_is_one_error(
    train: Callable[..., StepResult], features: list[dict[str, Any]], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=re.escape(words)):
        train({**LOGISTIC, "features": features}, table())


def test_what_is_filled_in_first_comes_as_a_frame_all_the_same(
    train: Callable[..., StepResult], store: ArtifactStore, plugins: Path
) -> None:
    result = train({**LOGISTIC, "features": [{**RATIO, "impute": True}]}, ratio_table(), plugins)
    assert load_model(store, result.artifacts["model"], AllowList(plugins_folder=str(plugins)))


def test_a_champion_whose_code_fails_is_one_error_of_its_model(
    train: Callable[..., StepResult], store: ArtifactStore, plugins: Path
) -> None:
    frame = ratio_table()
    result = train({**LOGISTIC, "features": [RATIO]}, frame, plugins)
    model = load_model(store, result.artifacts["model"], AllowList(plugins_folder=str(plugins)))
    del model["preprocess"].named_transformers_["features_0"]["transform"].limit
    with pytest.raises(ModelError, match="the model cannot predict these rows: got AttributeError"):
        predict(model, features(frame), "binary")


def test_categories_come_as_text_whichever_rows_are_at_hand() -> None:
    dataset = pa.table({"kind": pa.array(["b", "a", None, "c", "b"]).dictionary_encode()})
    roles = Columns(target="y", categorical=["kind"])
    for part in (dataset, dataset.slice(0, 2), dataset.slice(2, 3)):
        taken = feature_frame(part.to_pandas(), roles)["kind"]
        assert taken.dtype == object, "codes would be those of the rows at hand"
        assert [None if one is np.nan else one for one in taken] == part["kind"].to_pylist()


def test_a_plugin_that_a_plugin_imports_is_part_of_its_code(plugins: Path) -> None:
    file, helper = plugins / "ratios.py", plugins / "limits.py"
    allowed = AllowList(plugins_folder=str(plugins))
    alone = allowed.fingerprint("ratios.Ratio")
    helper.write_text("LIMIT = 1\n")
    assert allowed.fingerprint("ratios.Ratio") == alone, "it imports none"
    file.write_text("from limits import LIMIT\n" + file.read_text())
    first = allowed.fingerprint("ratios.Ratio")
    helper.write_text("import ratios\nLIMIT = 2\n")
    assert len({alone, first, allowed.fingerprint("ratios.Ratio")}) == 3


@pytest.mark.parametrize(
    "made",
    [
        {"transformer": "sklearn.preprocessing.OneHotEncoder", "columns": ["kind"]},
        {
            "transformer": "sklearn.preprocessing.KBinsDiscretizer", "columns": ["b"],
            "params": {"encode": "onehot-dense", "quantile_method": "averaged_inverted_cdf"},
        },
    ],
    ids=["one-hot", "bins"],
)  # fmt: skip
def test_what_would_be_sparse_is_scaled_all_the_same(
    train: Callable[..., StepResult], store: ArtifactStore, made: dict[str, Any]
) -> None:
    model = load_model(store, train({**LOGISTIC, "features": [made]}, table()).artifacts["model"], AllowList())
    assert np.isfinite(model.predict_proba(features(table()))).all()
