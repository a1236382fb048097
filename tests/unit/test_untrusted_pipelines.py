"""Pipeline files that try to run code, read files or never end: each is refused, and nothing of it runs."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.modeling.estimators import build_pipeline
from airflow_mlops_provider.modeling.fitting import names_of
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.spec.expectations import ARGUMENTS, Expectation
from airflow_mlops_provider.spec.parameters import BOOSTERS, SKLEARN_PACKAGES
from airflow_mlops_provider.validation.expectations import configured

if TYPE_CHECKING:
    from pathlib import Path

BASE: dict[str, Any] = {
    "name": "attack",
    "task": "binary",
    "data": {"source": {"uri": "rows.csv"}, "columns": {"target": "y", "numeric": ["x"], "categorical": ["c"]}},
    "preparation": {"split": {"by": "random"}},
    "training": {"candidates": {"one": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
}
MARK = "open('MARKER', 'w')"
SYSTEM = "@pd.io.common.os.system('touch MARKER')"
BETWEEN = "expect_column_values_to_be_between"
REGRESSION = "sklearn.linear_model.LogisticRegression"
SCHEMA = "expect_column_values_to_match_json_schema"
REGEX = "expect_column_values_to_match_regex"
SMTP = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"
FOLDER = {"memory": "FOLDER"}
PASSED_ON = {"type": "pass_through", "pass_through_filter": SYSTEM}
PIPELINE = "sklearn.pipeline.Pipeline"


def expecting(type: str, **kwargs: Any) -> dict[str, Any]:
    return {"validation": {"expectations": [{"type": type, "kwargs": {"column": "x", **kwargs}}]}}


def conditional(condition: Any, **kwargs: Any) -> dict[str, Any]:
    return expecting(BETWEEN, min_value=0, row_condition=condition, **kwargs)


def estimator(name: str, search: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"estimator": name, "params": params}
    if search is not None:
        candidate["search"] = {"method": "grid", "space": search}
    return {"training": {"candidates": {"one": candidate}}}


def nested(name: str, **params: Any) -> dict[str, Any]:
    return {"estimator": name, "params": params}


def compared(**more: Any) -> dict[str, Any]:
    return {"type": "comparison", "column": {"name": "x"}, "operator": ">", "parameter": 1, **more}


def deep(levels: int) -> dict[str, Any]:
    condition = compared()
    for _ in range(levels):
        condition = {"type": "and", "conditions": [condition]}
    return condition


LOGISTIC = nested(REGRESSION)
LGBM, XGB = "lightgbm.LGBMClassifier", "xgboost.XGBClassifier"

#: What is merged into the file, and what the refusal says.
ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "a condition as text": (conditional(SYSTEM, condition_parser="pandas"), "condition_parser|row_condition is a text"),
    "a condition as text without a parser": (conditional(SYSTEM), "row_condition is a text"),
    "a harmless condition as text": (conditional("x > 1"), "a mapping as Great Expectations"),
    "a parser alone": (expecting(BETWEEN, min_value=0, condition_parser="python"), "condition_parser"),
    "a condition that passes text on": (
        conditional(PASSED_ON),
        "pass_through contains a text",
    ),
    "text inside of and": (
        conditional({"type": "and", "conditions": [compared(), PASSED_ON]}),
        "row_condition.and.conditions.1",
    ),
    "text inside of or": (conditional({"type": "or", "conditions": [SYSTEM]}), "row_condition.or.conditions.0"),
    "a list of texts as a condition": (conditional([SYSTEM]), "row_condition"),
    "a condition without a type": (conditional({"column": {"name": "x"}}), "row_condition"),
    "an operator of its own": (conditional(compared(operator=f"; {MARK} #")), "row_condition.comparison.operator"),
    "a parameter that is a mapping": (conditional(compared(parameter={"__class__": "os"})), "row_condition"),
    "ten thousand conditions": (conditional({"type": "or", "conditions": [compared()] * 10_000}), "at most 100"),
    "conditions nested 20 deep": (conditional(deep(20)), "nested more than 16 deep"),
    "a suite parameter": (expecting(BETWEEN, min_value={"$PARAMETER": "now() - timedelta(days=1)"}), "min_value"),
    "a suite parameter in a list": (
        expecting("expect_column_values_to_be_in_set", value_set=[{"$PARAMETER": MARK}]),
        "PARAMETER",
    ),
    "a result format": (expecting(BETWEEN, result_format={"result_format": "COMPLETE"}), "unknown argument"),
    "a renderer": (expecting(BETWEEN, rendered_content=[{"name": "x"}]), "unknown argument 'rendered_content'"),
    "meta": (expecting(BETWEEN, meta={"class_name": "x"}), "unknown argument 'meta'"),
    "windows": (expecting(BETWEEN, windows=[{"parameter_name": "x"}]), "unknown argument 'windows'"),
    "a batch of its own": (expecting(BETWEEN, batch_id="x"), "unknown argument 'batch_id'"),
    "a query": (
        expecting("expect_query_results_to_match_comparison", base_query="ATTACH 'MARKER' AS a"),
        "unknown argument 'base_query'",
    ),
    "another table": (
        expecting("expect_table_row_count_to_equal_other_table", other_table_name="secrets"),
        "unknown argument 'other_table_name'",
    ),
    "rows by a query": (
        expecting("unexpected_rows_expectation", unexpected_rows_query="SELECT load_extension('x')"),
        "an expectation's name",
    ),
    "a schema from a server": (expecting(SCHEMA, json_schema={"$ref": "http://127.0.0.1:1/a"}), "fetch"),
    "a schema from a file": (
        expecting(SCHEMA, json_schema={"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
        "fetch",
    ),
    "a schema that refers to itself": (expecting(SCHEMA, json_schema={"allOf": [{"$ref": "#"}] * 9}), "fetch"),
    "a schema with a bomb": (
        expecting(SCHEMA, json_schema={"properties": {"a": {"pattern": "(a+)+$"}}}),
        "whose time is bounded",
    ),
    "a schema with bombs for names": (
        expecting(SCHEMA, json_schema={"patternProperties": {"(a+)+$": {}}}),
        "whose time is bounded",
    ),
    "a pattern that looks back": (expecting(REGEX, regex=r"(a+)\1+$"), "invalid escape|Invalid regular"),
    "a pattern that looks around": (expecting(REGEX, regex=r"^(?=(a+))b"), "Invalid regular"),
    "a pattern too large": (expecting(REGEX, regex="((a{1000}){1000}){9}"), "Invalid regular|too large"),
    "a pattern of 100,000 letters": (expecting(REGEX, regex="a?" * 3000), "6000 characters"),
    "a pattern that is no text": (expecting(f"{REGEX}_list", regex_list=[["a"]]), "regex_list"),
    "a type that is more than a name": (
        expecting("expect_column_values_to_be_of_type", type_="f8,(99999999,)f8"),
        "the name of a type",
    ),
    "a type by path": (
        expecting("expect_column_values_to_be_in_type_list", type_list=["io.common.os/system"]),
        "the name of a type",
    ),
    "a very long text": (expecting("expect_column_values_to_be_in_set", value_set=["a" * 900_000]), "characters"),
    "pickles in a folder": (estimator(PIPELINE, steps=[["m", LOGISTIC]], **FOLDER), "must not read or write files"),
    "pickles in a folder, nested": (
        estimator("sklearn.ensemble.VotingClassifier", voting="soft",
                  estimators=[["a", nested(PIPELINE, steps=[["m", LOGISTIC]], **FOLDER)]]),
        "estimators.0.1.params.memory",
    ),
    "pickles in a folder, by search": (
        estimator(PIPELINE, steps=[["m", LOGISTIC]], search={"memory": ["FOLDER"]}),
        "search.space.memory",
    ),
    "pickles in a folder, by a nested search": (
        estimator("sklearn.ensemble.BaggingClassifier", estimator=nested(PIPELINE, steps=[["m", LOGISTIC]]),
                  search={"estimator__memory": ["FOLDER", None]}),
        "must not read or write files",
    ),
    "pickles in a folder, by the grid of a grid": (
        estimator("sklearn.model_selection.GridSearchCV", estimator=nested(PIPELINE, steps=[["m", LOGISTIC]]),
                  param_grid={"memory": ["FOLDER"]}),
        "must not read or write files",
    ),
    "pickles in a folder, in an estimator of a space": (
        estimator(PIPELINE, steps=[["m", LOGISTIC]],
                  search={"steps": [[["m", nested(PIPELINE, steps=[["m", LOGISTIC]], **FOLDER)]]]}),
        "search.space.steps",
    ),
    "pickles by an estimator": (
        estimator(PIPELINE, steps=[["m", LOGISTIC]], memory=nested("sklearn.tree.DecisionTreeClassifier")),
        "must not read or write files",
    ),
    "an expression for joblib": (
        estimator("sklearn.model_selection.GridSearchCV", estimator=LOGISTIC, param_grid={"C": [1]},
                  pre_dispatch=f"__import__('os') or {MARK}"),
        "a text would be evaluated",
    ),
    "a format for names": (
        estimator(PIPELINE, steps=[["p", nested("sklearn.compose.ColumnTransformer", transformers=[],
                                                verbose_feature_names_out="{a.__class__}")], ["m", LOGISTIC]]),
        "a text would be evaluated",
    ),
    "a function by name": (
        estimator(PIPELINE, steps=[["f", nested("sklearn.preprocessing.FunctionTransformer", func="os.system")],
                                   ["m", LOGISTIC]]),
        "takes a function",
    ),
    "an inverse function by name": (
        estimator("sklearn.compose.TransformedTargetRegressor", inverse_func="os.system", regressor=LOGISTIC),
        "takes a function",
    ),
    "a function for scores": (
        estimator(PIPELINE, steps=[["s", nested("sklearn.feature_selection.SelectKBest", score_func="os.system")],
                                   ["m", LOGISTIC]]),
        "takes a function",
    ),
    "a function for distances": (
        estimator("sklearn.neighbors.KNeighborsClassifier", metric="pyfunc", metric_params={"func": "os.system"}),
        "takes a function",
    ),
    "an attribute of everything": (
        estimator("sklearn.feature_selection.RFE", estimator=LOGISTIC, importance_getter="__init__.__globals__"),
        "an internal of Python",
    ),
    "files named in the data": (
        estimator(PIPELINE, steps=[["t", nested("sklearn.feature_extraction.text.CountVectorizer", input="filename")],
                                   ["m", LOGISTIC]]),
        "would read files",
    ),
    "a private module": (estimator("sklearn.utils._testing.MinimalClassifier"), "is private to scikit-learn"),
    "a private module of an open package": (estimator("sklearn.svm._classes.SVC"), "is private to scikit-learn"),
    "a download": (estimator("sklearn.datasets.fetch_openml"), "not a scikit-learn estimator"),
    "a loader of files": (
        estimator("sklearn.datasets.load_files", container_path="/etc"),
        "not a scikit-learn estimator",
    ),
    "what scikit-learn ships of others": (
        estimator("sklearn.externals.array_api_compat.numpy"),
        "not a scikit-learn estimator",
    ),
    "a test of scikit-learn": (estimator("sklearn.svm.tests.test_svm.Thing"), "not a scikit-learn estimator"),
    "a checker of estimators": (
        estimator("sklearn.utils.estimator_checks.check_estimator"),
        "not a scikit-learn estimator",
    ),
    "a function that scikit-learn imports": (estimator("sklearn.linear_model.np"), "has no 'np'"),
    "a nested private estimator": (
        estimator("sklearn.ensemble.BaggingClassifier", estimator=nested("sklearn.utils._mocking.CheckingClassifier")),
        "is private to scikit-learn",
    ),
    "a module of Python": (estimator("subprocess.Popen", args="touch MARKER", shell=True), "outside the allow-list"),
    "an estimator of this package": (estimator("airflow_mlops_provider.failpoints.failpoint"), "the allow-list"),
    "a booster's data file": (estimator(LGBM, data="/etc/passwd"), "does not get 'data'"),
    "a booster's model file": (estimator(LGBM, input_model="/tmp/x"), "does not get 'input_model'"),
    "a booster's output": (estimator(LGBM, output_model="MARKER"), "does not get 'output_model'"),
    "a booster's configuration": (estimator(LGBM, config="/etc/passwd"), "does not get 'config'"),
    "a booster's splits": (estimator(LGBM, forcedsplits_filename="/x"), "does not get 'forcedsplits_filename'"),
    "a booster's bins by an alias": (estimator(LGBM, forcedbins_filename="/x"), "does not get"),
    "a booster's machines": (estimator(LGBM, machines="10.0.0.1:1", num_machines=2), "does not get 'machines'"),
    "a booster's parameter within another": (
        estimator(LGBM, metric="auc forcedsplits_filename=/etc/passwd"),
        "as more than a value of metric",
    ),
    "a booster's parameter within a list": (
        estimator(LGBM, metric=["auc", "x\noutput_model=MARKER"]),
        "as more than a value of metric",
    ),
    "a booster's file by search": (estimator(LGBM, search={"input_model": ["/tmp/x"]}), "search.space.input_model"),
    "a booster's callbacks": (estimator(XGB, callbacks=["os.system"]), "does not get 'callbacks'"),
    "a booster's own keyword arguments": (estimator(XGB, kwargs={"model_file": "/x"}), "does not get 'kwargs'"),
    "a nested booster's file": (
        estimator("sklearn.ensemble.BaggingClassifier", estimator=nested(LGBM, save_binary="MARKER")),
        "does not get 'save_binary'",
    ),
    "a reader of scikit-learn": (
        {"data": {"source": {"uri": None, "reader": "sklearn.datasets.dump_svmlight_file", "params": {"f": "MARKER"}}}},
        "is not a reader",
    ),
    "a reader of a booster": ({"data": {"source": {"uri": None, "reader": "lightgbm.Booster"}}}, "is not a reader"),
    "a reader of Python": ({"data": {"source": {"uri": None, "reader": "os.system"}}}, "outside the allow-list"),
    "a reader of a plugin named like Python's": (
        {"data": {"source": {"uri": None, "reader": "code.interact"}}},
        "a module of Python itself",
    ),
    "a reader that a plugin imports": (
        {"data": {"source": {"uri": None, "reader": "readers.check_output"}}},
        "only imports it",
    ),
    "a module that a plugin imports": (
        {"data": {"source": {"uri": None, "reader": "readers.subprocess"}}},
        "only imports it",
    ),
    "a reader hidden by an installed package": (
        {"data": {"source": {"uri": None, "reader": "yaml.read"}}},
        "is shadowed by another module",
    ),
    "a file by mail": (
        {"notifications": {"on_failure": [{"notifier": SMTP, "params": {"to": "x", "files": ["/etc/passwd"]}}]}},
        "would send files of the worker",
    ),
    "a file as the text of a mail": (
        {"notifications": {"on_event": [{"notifier": SMTP, "params": {"to": "x", "template": "/etc/passwd"}}]}},
        "would send files of the worker",
    ),
    "a template in a set": (
        {"data": {"source": {"params": {"a": {"{{ conn.x.password }}"}}}}},
        "not plain data",
    ),
    "a template in bytes": (
        {"data": {"source": {"params": {"a": b"{{ conn.x.password }}"}}}},
        "not plain data",
    ),
    "a template in a key": (
        {"data": {"source": {"params": {"{{ conn.x.password }}": 1}}}},
        "template variables that do not exist",
    ),
}  # fmt: skip


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(base)
    for key, value in more.items():
        made[key] = merged(made[key], value) if isinstance(value, dict) and isinstance(made.get(key), dict) else value
    return made


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "readers.py").write_text("import subprocess\nfrom subprocess import check_output\ndef read(): ...\n")
    for name in ("code.py", "yaml.py"):
        (folder / name).write_text("def read(): ...\ndef interact(): ...\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])  # as Airflow does
    return folder


def check(file: Path, plugins: Path) -> None:
    """Do with a file what `airflow mlops check` and the first tasks do, up to the data."""
    pipeline = load_pipeline(file)
    allowed = AllowList(modules=("xgboost", "lightgbm"), plugins_folder=str(plugins))
    for candidate in pipeline.candidates.values():
        for name in names_of(candidate):
            allowed.load(name)
        build_pipeline(candidate, pipeline.data.columns, task=pipeline.task, seed=0, allow_list=allowed)
    if pipeline.data.source.reader is not None:
        allowed.load(pipeline.data.source.reader)
    configured(pipeline.validation.expectations, pipeline.data.columns.all)


def written(folder: Path, more: dict[str, Any]) -> Path:
    text = yaml.dump(merged(BASE, more), Dumper=yaml.SafeDumper)
    text = text.replace("MARKER", str(folder / "marker")).replace("FOLDER", str(folder / "joblib"))
    (folder / "attack.yaml").write_text(text)
    return folder / "attack.yaml"


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_by_a_pipeline_file_is_refused(name: str, tmp_path: Path, plugins: Path) -> None:
    more, message = ATTACKS[name]
    file = written(tmp_path, more)

    with pytest.raises(SpecError, match=f"(?s){message}"):
        check(file, plugins)

    assert not (tmp_path / "marker").exists()
    assert not (tmp_path / "joblib").exists()


@pytest.mark.parametrize(
    "more",
    [
        {},
        conditional(compared()),
        conditional({"type": "or", "conditions": [{"type": "and", "conditions": [compared()]}, compared()]}),
        conditional({"type": "nullity", "column": {"name": "c"}, "is_null": False}),
        conditional({**compared(), "operator": "IN", "parameter": [1, 2.5]}),
        expecting(REGEX, regex=r"^(?P<a>\d{3})-[a-z]+$"),
        expecting("expect_column_values_to_be_of_type", type_="datetime64[ns, UTC]"),
        expecting(SCHEMA, json_schema={"properties": {"pattern": {"type": "string", "enum": ["a"]}}}),
        estimator("sklearn.svm.SVC", probability=True, class_weight={"memory": 1, "1": 2}),
        estimator(PIPELINE, steps=[["m", LOGISTIC]], memory=None, verbose=True),
        estimator(LGBM, n_estimators=5, metric=["auc", "binary_logloss"], monotone_constraints=[1, 0]),
        estimator(XGB, n_estimators=5, interaction_constraints=[["x"]], eval_metric="logloss"),
        estimator(LGBM, search={"num_leaves": [3, 5], "boosting_type": ["gbdt", "dart"]}),
        {"data": {"source": {"uri": None, "reader": "readers.read", "params": {"path": "/data/in"}}}},
    ],
    ids=str,
)
def test_what_people_write_is_taken(more: dict[str, Any], tmp_path: Path, plugins: Path) -> None:
    check(written(tmp_path, more), plugins)


@pytest.mark.parametrize("regex", ["(a+)+$", "(a|a)+$", "(a|aa)+$", "([a-z]+)*@", "a*a*a*a*a*a*a*a*a*a*b", "(.*a){12}"])
def test_no_pattern_takes_long(regex: str) -> None:
    import time

    import pandas as pd

    from airflow_mlops_provider.validation.expectations import _context, _validate, _validator

    expectation = Expectation(type=REGEX, kwargs={"column": "c", "regex": regex})
    [configuration] = configured([expectation], ["c"])
    validator = _validator(_context(), pd.DataFrame({"c": ["a" * 40 + "!"] * 20}))
    started = time.perf_counter()

    outcome = _validate(validator, configuration, "BASIC")

    assert time.perf_counter() - started < 20  # by backtracking, one value alone takes minutes
    assert outcome.result["unexpected_count"] == (0 if regex == "(.*a){12}" else 20)


def test_a_plugin_named_like_an_installed_package_is_not_executed(tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "skops.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\ndef read(): ...\n")
    code = (
        f"import sys; sys.path.append({str(folder)!r})\n"
        "from airflow_mlops_provider.allow_list import AllowList\n"
        "from airflow_mlops_provider.exceptions import NotAllowedError\n"
        f"try: AllowList(plugins_folder={str(folder)!r}).load('skops.read')\n"
        "except NotAllowedError as error: print('skops' in sys.modules, 'is shadowed' in str(error))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "False True"
    assert not (tmp_path / "marker").exists()


def test_every_argument_of_great_expectations_has_been_looked_at() -> None:
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    configured([], [])
    every = {
        name for each in list_registered_expectation_implementations() for name in get_expectation_impl(each).__fields__
    }

    # What it calls, renders, asks another table or database, or takes from its own cloud.
    refused = {
        "base_query", "batch_id", "catch_exceptions", "comparison_data_source_name", "comparison_query",
        "condition_parser", "description", "id", "library_metadata", "meta", "notes", "other_table_name",
        "rendered_content", "result_format", "severity", "unexpected_rows_query", "windows",
    }  # fmt: skip
    assert every == ARGUMENTS | refused


def test_every_package_of_estimators_has_been_looked_at() -> None:
    from sklearn.utils import all_estimators

    assert {cls.__module__.split(".")[1] for _, cls in all_estimators()} == SKLEARN_PACKAGES


def test_every_parameter_of_lightgbm_has_been_looked_at() -> None:
    import inspect

    from lightgbm import LGBMModel
    from lightgbm.basic import _ConfigAliases

    every = set(_ConfigAliases._get_all_param_aliases()) | set(inspect.signature(LGBMModel).parameters)

    # Files, machines, other devices' numbers, and what only its command line does.
    refused = {
        "config", "convert_model", "convert_model_language", "data", "early_stopping_min_delta",
        "early_stopping_round", "eval_at", "first_metric_only", "forcedbins_filename", "forcedsplits_filename",
        "gpu_device_id", "gpu_device_id_list", "gpu_platform_id", "gpu_use_dp", "group_column", "header",
        "ignore_column", "input_model", "is_provide_training_metric", "kwargs", "label_column", "label_gain",
        "lambdarank_norm", "lambdarank_position_bias_regularization", "lambdarank_truncation_level",
        "local_listen_port", "machine_list_filename", "machines", "metric_freq", "multi_error_top_k", "num_gpu",
        "num_iteration_predict", "num_machines", "output_model", "output_result", "parser_config_file",
        "pre_partition", "precise_float_parser", "pred_early_stop", "pred_early_stop_freq", "pred_early_stop_margin",
        "predict_contrib", "predict_disable_shape_check", "predict_leaf_index", "predict_raw_score",
        "refit_decay_rate", "save_binary", "saved_feature_importance_type", "snapshot_freq",
        "start_iteration_predict", "task", "time_out", "top_k", "tree_learner", "two_round", "valid",
        "weight_column",
    }  # fmt: skip
    assert every - BOOSTERS["lightgbm"] == refused


def test_every_argument_of_xgboost_is_known() -> None:
    import inspect

    from xgboost import XGBModel

    assert set(inspect.signature(XGBModel).parameters) - BOOSTERS["xgboost"] == {"callbacks", "kwargs"}


def test_an_expectation_of_a_column_named_like_code_runs_none(tmp_path: Path) -> None:
    import pandas as pd

    from airflow_mlops_provider.validation.conditions import rows_where

    name = f"x` + @pd.io.common.os.system('touch {tmp_path / 'marker'}') + `x"
    expectation = Expectation(
        type=BETWEEN, kwargs={"column": name, "row_condition": compared(column={"name": name}, parameter=1)}
    )
    assert expectation.condition is not None

    stored = rows_where(pd.DataFrame({name: [0, 1, 2, None]}), expectation.condition)

    assert stored.index.tolist() == [2]
    assert not (tmp_path / "marker").exists()
