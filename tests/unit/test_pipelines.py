from __future__ import annotations

import copy
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_mlops_provider.as_of import as_of_text, render_as_of
from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.pipelines import load_pipeline, parse_pipeline, pipeline_files
from airflow_mlops_provider.spec import Monitoring, Pipeline, Validation

FOLDER = Path(__file__).parents[2] / "config/pipelines"
FILES = pipeline_files(FOLDER)
TIMELESS = {"source": {"uri": "flights.csv"}, "columns": {"target": "late", "numeric": ["x"], "categorical": ["c"]}}


def minimal(**changes: Any) -> dict[str, Any]:
    return {
        "name": "flights",
        "task": "binary",
        "data": {
            "source": {"uri": "flights.csv"},
            "columns": {"target": "late", "timestamp": "at", "numeric": ["x"], "categorical": ["c"]},
        },
        "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
        **changes,
    }


def changed(path: str, value: Any) -> dict[str, Any]:
    raw: Any = copy.deepcopy(minimal())
    *parents, last = path.split(".")
    place = raw
    for key in parents:
        place = place.setdefault(key, {})
    place[last] = value
    return dict(raw)


def problems(raw: dict[str, Any]) -> str:
    with pytest.raises(SpecError) as caught:
        parse_pipeline(raw, where="flights.yaml")
    assert "flights.yaml" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        (["profit.worth"], "the name 'worth' does not say whether more or less is better"),
        ([{"function": "profit.worth", "name": "roc_auc"}], "roc_auc is a metric of the package"),
        (["profit.a_score", {"function": "other.a_score"}], r"names \['a_score'\] twice"),
        ([{"function": "profit.a_score", "columns": ["amount"]}], "gets column 'amount', which is not a feature, key"),
        ([{"function": "profit.a_score", "columns": ["late"]}], "gets column 'late', which is not a feature, key"),
        ([{"function": "profit.a_score", "params": {"frame": 1}}], "params.frame is passed to every metric"),
        (["sklearn.datasets.load_score"], "is not allowed here"),
        (["sklearn.metrics._ranking.x_score"], "is not allowed here"),
        (
            [{"function": "profit.a_score", "param": {}}],
            r"metrics\.0\.param: .* did you mean 'params'",
        ),
    ],
    ids=[
        "no direction",
        "a name of ours",
        "twice",
        "no such column",
        "the target",
        "a name that is taken",
        "no metric",
        "private",
        "a key",
    ],
)
def test_what_is_wrong_with_a_metric_of_the_users_is_one_clear_error(metrics: list[Any], says: str) -> None:
    message = problems(changed("evaluation.metrics", metrics))
    assert re.search(says, message, re.IGNORECASE), message


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("gates", [{"kind": "absolute", "metric": "roc_auc", "mim": 1}], "gates.0.mim: unknown key"),
        ("scoring.sinks", [{"kind": "sql", "conn_id": "x", "tabel": "y"}], "scoring.sinks.0.tabel: unknown key"),
        ("runtime", {"kind": "docker", "imag": "x"}, "runtime.imag: unknown key 'imag'; did you mean 'image'"),
        ("gates", [{"kind": "baseline", "champion": 1}], "gates.0.champion: unknown key 'champion'"),
        ("runtime", {"kind": "docker", "image": "x", "docker": 1}, "runtime.docker: unknown key 'docker'"),
        ("<your_setting>", 1, "<your_setting>: unknown key"),
        ("training.candidates", {"sql": {"estimator": "a.b", "parms": {}}}, "training.candidates.sql.parms: unknown"),
    ],
)
def test_the_place_of_an_error_is_that_of_the_file(path: str, value: Any, says: str) -> None:
    assert says in problems(changed(path, value))


def test_a_metric_of_the_users_goes_by_its_name_everywhere() -> None:
    raw = changed("evaluation.metrics", ["roc_auc", {"function": "profit.worth", "name": "worth_gain"}])
    raw["gates"] = [{"kind": "absolute", "metric": "worth_gain", "min": 1}]
    raw["scoring"] = {}
    raw["monitoring"] = {"live": {"metric": "worth_gain"}, "estimated": {}}
    raw["training"]["candidates"]["logistic"]["search"] = {
        "method": "grid",
        "space": {"C": [1, 2]},
        "metric": "worth_gain",
    }
    pipeline = parse_pipeline(raw, where="flights.yaml")
    assert pipeline.metrics == ["roc_auc", "worth_gain"]
    search = pipeline.candidates["logistic"].search
    assert search is not None
    assert search.metric == pipeline.measured[1]
    searched = raw["training"]["candidates"]["logistic"]["search"]
    searched["metric"] = {"function": "other.worth", "name": "worth_gain"}
    assert "name different metrics 'worth_gain'" in problems(raw)
    searched["metric"] = {"function": "other.a_cost", "columns": ["nope"]}
    assert "metric 'a_cost' gets column 'nope'" in problems(raw)
    searched["metric"] = "worth_gain"
    raw["data"]["privacy"] = {"drop": ["x"]}
    raw["evaluation"]["metrics"][1] = {"function": "profit.worth", "name": "worth_gain", "columns": ["x"]}
    assert "gets column 'x', which data.privacy drops" in problems(raw)
    raw["evaluation"]["metrics"][1].pop("columns")
    raw["monitoring"]["estimated"] = {"metric": "worth_gain"}
    assert "set monitoring.estimated.metric to one of them" in problems(raw)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_pipelines_that_come_along_are_valid(file: Path) -> None:
    pipeline = load_pipeline(file)
    assert pipeline.name == file.stem
    assert pipeline.metrics


def test_three_pipelines_come_along_one_for_each_task() -> None:
    tasks = [load_pipeline(file).task for file in FILES]
    assert sorted(tasks) == ["binary", "multiclass", "regression"]


def test_the_least_that_a_pipeline_needs_is_enough() -> None:
    pipeline = parse_pipeline(minimal(), where="flights.yaml")
    assert pipeline.model_name == "flights"
    assert pipeline.metrics[0] == "roc_auc"
    assert pipeline.validation == Validation()


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("validaton", {}, ("validaton: unknown key 'validaton'", "did you mean 'validation'?")),
        ("validation.min_row", 3, ("validation.min_row: unknown key", "did you mean 'min_rows'?")),
        ("data.source.urii", "x", ("data.source.urii", "did you mean 'uri'?")),
        ("data.columns.numerical", [], ("data.columns.numerical", "did you mean 'numeric'?")),
        ("training.candidates.logistic.parms", {}, ("training.candidates.logistic.parms", "did you mean 'params'?")),
        ("preparation.split.zzz", 1, ("preparation.split.zzz", "known: by, embargo, folds, group, holdout, kind")),
        ("gates", [{"kind": "absolute", "metric": "roc_auc", "mim": 1}], ("gates.0.mim", "did you mean 'min'?")),
        ("gates", [{"kind": "absolut"}], ("gates.0", "absolut")),
        ("task", "ranking", ("task:", "got 'ranking'")),
        ("name", "Flight Delays", ("name:", "got 'Flight Delays'")),
        ("seed", -1, ("seed:", "got -1")),
        ("data.label_delay", "soon", ("data.label_delay", "got 'soon'")),
        ("data.window", "-P1D", ("data.window", "greater than")),
        ("data.source", {}, ("data.source", "exactly one of reader, uri, sql; got none")),
        ("data.source", {"uri": "a", "reader": "b.c"}, ("exactly one of", "['reader', 'uri']")),
        ("data.source", {"sql": "select 1"}, ("sql needs conn_id",)),
        ("data.source", {"reader": "read"}, ("data.source.reader", "got 'read'")),
        ("data.source", {"reader": "os;system.x"}, ("data.source.reader",)),
        ("data.columns", {"target": "late"}, ("at least one numeric or categorical feature",)),
        ("data.columns", {"target": "late", "numeric": ["late"]}, ("'late' cannot be a feature",)),
        ("data.columns", {"target": "late", "numeric": ["x"], "keys": ["x"]}, ("'x' cannot be a feature",)),
        ("data.columns", {"target": "late", "numeric": ["x", "x"]}, ("features named twice: ['x']",)),
        ("data.columns", {"target": "late", "numeric": ["x"]}, ("a split by time needs data.columns.timestamp",)),
        ("preparation.split", {"kind": "stratified"}, ("kind stratified is for a cross-validation; by is time",)),
        ("preparation.split", {"by": "random", "embargo": "PT1H"}, ("embargo is for a split by time",)),
        ("preparation.split", {"by": "cross_validation", "kind": "grouped"}, ("kind grouped needs group",)),
        ("preparation.split", {"by": "cross_validation", "group": "carrier"}, ("kind k_fold splits groups",)),
        ("preparation.split", {"by": "random", "group": "x"}, ("preparation.split.group is 'x', not among",)),
        ("data", {**TIMELESS, "label_delay": "P1D"}, ("data: label_delay needs columns.timestamp",)),
        ("data", {**TIMELESS, "window": "P1D"}, ("data: window needs columns.timestamp",)),
        ("evaluation.metrics", ["rmse"], ("evaluation.metrics names ['rmse']", "a binary pipeline")),
        ("evaluation.slices", ["x"], ("evaluation.slices names ['x']",)),
        ("gates", [{"kind": "absolute", "metric": "f1", "min": 0.5}], ("gates use ['f1']",)),
        ("gates", [{"kind": "absolute", "metric": "roc_auc"}], ("gates.0", "set min or max")),
        ("gates", [{"kind": "absolute", "metric": "roc_auc", "min": float("nan")}], ("gates.0.min",)),
        (
            "gates",
            [{"kind": "worst_slice", "metric": "log_loss", "max": 1, "judged_by": "high"}],
            (
                "gate 'worst_slice' judges log_loss of slices by high",
                "roc_auc, has intervals for slices; use that one, or judge by point",
            ),
        ),
        ("gates", [{"kind": "latency"}, {"kind": "latency"}], ("gates with the same name: ['latency']",)),
        ("monitoring", {}, ("needs a section scoring",)),
        ("training.candidates", {}, ("training.candidates",)),
        ("training.candidates", {"a b": {"estimator": "sklearn.x.Y"}}, ("training.candidates",)),
        ("validation.expectations", [{"type": "values_in_set"}], ("validation.expectations.0.type",)),
        ("description", "{{ ds }}", ("template variables that do not exist", "description: {{ ds }}")),
        ("data.source.uri", "{{ as_of }}/{% raw %}", ("data.source.uri: {%",)),
        ("data.source.uri", "{{\nvar.value.secret\n}}", ("data.source.uri: {{\nvar.value.secret\n}}",)),
        ("data.source.uri", "{{ as_of }}/{{", ("data.source.uri: {{",)),
        ("data.source.uri", "{# a comment", ("data.source.uri: {#",)),
        ("data.source", {"reader": "a.b", "params": {"x": ["{{ macros.x }}"]}}, ("data.source.params.x.0",)),
    ],
)
def test_a_wrong_setting_names_its_path_and_what_would_be_right(path: str, value: Any, says: tuple[str, ...]) -> None:
    text = problems(changed(path, value))
    for part in says:
        assert part in text


def test_the_live_metric_is_one_that_evaluate_measures() -> None:
    watched = {"live": {"metric": "f1"}}
    assert "monitoring.live.metric is 'f1'" in problems(minimal(scoring={}, monitoring=watched))
    pipeline = parse_pipeline(minimal(scoring={}, monitoring={}), where="flights.yaml")
    assert pipeline.monitoring == Monitoring()


def test_what_drift_ignores_is_a_feature() -> None:
    watched = {"drift": {"ignore": ["month", "nothing"]}}
    text = problems(minimal(scoring={}, monitoring=watched))
    assert "monitoring.drift.ignore names ['month', 'nothing'], not among the features [" in text


def test_every_problem_is_told_at_once() -> None:
    raw = minimal(seed=-1, taks="binary")
    text = problems({**raw, "data": {**raw["data"], "labeldelay": 1}})
    assert "has 3 wrong settings" in text
    for part in ("seed:", "taks:", "data.labeldelay:"):
        assert part in text


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (
            "name",
            "Churn",
            "name: expected lowercase letters, digits and _, starting with a letter, at most 63, got 'Churn'",
        ),
        ("schedule", "daily", "schedule: expected keys with values, of catchup, cron, end"),
        ("training.candidates.logistic.estimator", "Ridge", "estimator: expected a full dotted name, such"),
    ],
)
def test_what_a_value_must_look_like_is_told_in_words(path: str, value: str, says: str) -> None:
    assert says in problems(changed(path, value))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"- a\n- b\n", "is not a mapping: got list"),
        (b"", "is not a mapping: got NoneType"),
        (b"name: [", "is not YAML"),
        (b"data:\n\tsource: x", r"flights.yaml, line 2, is not YAML: .*Indent with spaces: YAML does not allow tabs"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"a: !!python/object/apply:os.system ['true']", "is not YAML"),
        (b"a: !!str [1]", "line 1, is not YAML: found an invalid value of type str"),
        (b"a:\n  b: 2013-02-30", "line 2, is not YAML: found an invalid value of type timestamp: got b: 2013"),
        (b"a: !!int one", "line 1, is not YAML: found an invalid value of type int"),
        (b"a: " + b"[" * 5000 + b"]" * 5000, "line 1, is not YAML: found more than 50 lists and mappings"),
        (b"a: {{ as_of }}", "line 1, is not YAML: found a key that is not a plain value: .*begins with {{ in quotes"),
        (b"a:\n  b: 1\n  c: 2\n  b: 3", "line 4, is not YAML: found the key 'b' a second time; line 2 has it already"),
        (b"a: &a [1, *a]", "line 1, is not YAML: found a value that contains itself"),
        (b"<!DOCTYPE html>", "is not a mapping: got str"),
    ],
)
def test_a_file_that_is_no_pipeline_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "flights.yaml"
    file.write_bytes(content)
    with pytest.raises(SpecError, match=says) as caught:
        load_pipeline(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nothing\.yaml is missing"):
        load_pipeline(tmp_path / "nothing.yaml")


def test_only_pipeline_files_are_found_in_order(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.yaml.bak", "d.json", "e.yxml"):
        (tmp_path / name).touch()
    assert [file.name for file in pipeline_files(tmp_path)] == ["a.yml", "b.yaml"]


def test_a_relative_uri_is_relative_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "flights.yaml").write_text(yaml.safe_dump(minimal()))
    assert load_pipeline(tmp_path / "flights.yaml").data.source.uri == str(tmp_path / "flights.csv")
    for uri in ("/data/flights.csv", "file:///data/flights.csv", "s3://bucket/flights.csv"):
        (tmp_path / "flights.yaml").write_text(yaml.safe_dump(changed("data.source.uri", uri)))
        assert load_pipeline(tmp_path / "flights.yaml").data.source.uri == uri


def test_sections_do_not_change() -> None:
    pipeline = parse_pipeline(minimal(), where="flights.yaml")
    with pytest.raises(ValidationError, match="frozen"):
        pipeline.seed = 3  # type: ignore[misc]  # what mypy forbids is what is tried


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_pipeline_survives_json(file: Path) -> None:
    pipeline = load_pipeline(file)
    assert Pipeline.model_validate(json.loads(json.dumps(pipeline.model_dump(mode="json")))) == pipeline


NAMES = st.text("abcdefgh_", min_size=1, max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**6) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(list(Pipeline.model_fields)) | NAMES


@given(raw=st.dictionaries(KEYS, VALUES, max_size=6))
@settings(max_examples=150, deadline=None)
def test_any_mapping_is_a_pipeline_or_one_readable_error(raw: dict[str, Any]) -> None:
    message = ""
    try:
        parse_pipeline({**minimal(), **raw}, where="flights.yaml")
    except SpecError as error:
        message = str(error)
    assert message == "" or message.startswith("flights.yaml ")
    assert len(message) < 20_000


@given(raw=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_pipeline_or_one_readable_error(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    file.write_bytes(raw)
    with pytest.raises(SpecError):
        load_pipeline(file)


@given(
    seed=st.integers(0, 2**32 - 1),
    delay=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400)),
    share=st.floats(0, 1),
    rows=st.integers(1, 10**9),
    holdout=st.floats(0, 1, exclude_min=True, exclude_max=True),
)
@settings(max_examples=60, deadline=None)
def test_valid_settings_are_kept_exactly(seed: int, delay: timedelta, share: float, rows: int, holdout: float) -> None:
    raw = minimal(seed=seed, validation={"min_rows": rows})
    raw["data"] = {**raw["data"], "label_delay": delay}
    raw["preparation"] = {"missing": {"max_share": share}, "split": {"holdout": holdout}}
    pipeline = parse_pipeline(raw, where="x")
    again = Pipeline.model_validate_json(pipeline.model_dump_json())
    assert again == pipeline
    assert (pipeline.seed, pipeline.data.label_delay, pipeline.validation.min_rows) == (seed, delay, rows)
    assert (pipeline.preparation.missing.max_share, pipeline.preparation.split.holdout) == (share, holdout)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("2013-03-01T00:00:00+00:00", "2013-03-01"),
        ("2013-03-01T01:00:00+01:00", "2013-03-01"),
        ("2013-03-01T00:00:00", "2013-03-01"),
        ("2013-03-01T06:30:05+00:00", "2013-03-01T06:30:05Z"),
        ("2013-03-01T00:00:00+01:00", "2013-02-28T23:00:00Z"),
        ("2013-03-01T00:00:00.5+00:00", "2013-03-01T00:00:00Z"),
    ],
)
def test_as_of_is_a_date_at_midnight_and_a_moment_otherwise(moment: str, text: str) -> None:
    assert as_of_text(datetime.fromisoformat(moment)) == text


def test_as_of_is_filled_in_everywhere_and_nothing_else_is_touched() -> None:
    value = {"uri": "/data/{{as_of}}/{{ as_of }}.csv", "params": [{"a": "{{  as_of  }}", "b": 3}, None, "{{ ds }}"]}
    assert render_as_of(value, datetime(2013, 3, 1, tzinfo=UTC)) == {
        "uri": "/data/2013-03-01/2013-03-01.csv",
        "params": [{"a": "2013-03-01", "b": 3}, None, "{{ ds }}"],
    }
    assert value["uri"] == "/data/{{as_of}}/{{ as_of }}.csv"


@given(st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)))
def test_as_of_never_leads_out_of_its_folder(moment: datetime) -> None:
    assert set(as_of_text(moment)) <= set("0123456789-:TZ")


@pytest.mark.parametrize(
    ("gate", "written", "margin", "contradicts"),
    [
        ({"rule": "not_worse", "margin": 0.005}, None, 0.005, False),
        ({"rule": "not_worse", "margin": 0.005}, 0.0, 0.0, True),
        ({"rule": "not_worse", "margin": 0.005}, 0.01, 0.01, False),
        ({"rule": "better", "margin": 0.005, "refresh": False}, None, 0.0, False),
        ({"rule": "better", "margin": 0.005}, None, 0.005, False),
        ({"rule": "better", "margin": 0.005}, 0.0, 0.0, True),
        ({"rule": "not_worse", "margin": 0.005, "metric": "log_loss"}, None, 0.0, False),
    ],
    ids=[
        "left out",
        "contradicts the gate",
        "wider",
        "a gain is required",
        "a refresh may lose it",
        "a refresh may lose",
        "another metric",
    ],
)
def test_probation_allows_what_the_gate_let_pass(
    gate: dict[str, Any], written: float | None, margin: float, contradicts: bool
) -> None:
    from airflow_mlops_provider.commands.check import contradictions

    raw = minimal(
        gates=[{"kind": "champion", **gate}],
        evaluation={"metrics": ["roc_auc", "log_loss"]},
        scoring={},
        monitoring={} if written is None else {"probation": {"margin": written}},
    )
    pipeline = parse_pipeline(raw, where="flights.yaml")
    assert pipeline.watched is not None
    assert pipeline.watched.probation.margin == margin
    assert bool(contradictions(pipeline)) == contradicts


@pytest.mark.parametrize(
    ("length", "delay", "cron", "words"),
    [
        ("7 days", "1 day", "@daily", []),
        ("7 days", "7 days", "@daily", ["a probation would end before the first label"]),
        ("3 days", "1 day", "@weekly", ["windows come every 7 days, 0:00:00: none would fall within"]),
        ("0 days", "7 days", "@weekly", []),
    ],
    ids=["long enough", "no label comes in time", "no window comes in time", "no probation"],
)
def test_a_probation_that_could_never_see_anything_is_named(
    length: str, delay: str, cron: str, words: list[str]
) -> None:
    from airflow_mlops_provider.commands.check import contradictions

    raw = minimal(scoring={}, schedule={"cron": cron}, monitoring={"probation": {"length": length}})
    raw["data"] = {**raw["data"], "label_delay": delay, "columns": {**raw["data"]["columns"], "timestamp": "at"}}
    found = contradictions(parse_pipeline(raw, where="flights.yaml"))
    assert len(found) == len(words)
    assert all(text in contradiction for text, contradiction in zip(words, found, strict=True))
