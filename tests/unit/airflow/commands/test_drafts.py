"""`airflow mlops init` on data that it has never seen: what it writes trains to a champion without an edit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from data_files import write_data

from airflow_mlops_provider.drafting import draft_pipeline
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_mlops_provider.drafting import Draft


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes", "flights"])
def test_a_draft_trains_to_a_champion_without_an_edit(
    name: str, run: Callable[..., Any], train: Callable[..., Any], mlflow: str, pipelines: Path, tmp_path: Path
) -> None:
    data, target = write_data(name, tmp_path)
    code, out, err = run("init", str(data), "--target", target)
    assert (code, err) == (0, ""), err
    assert f"Written: {pipelines / f'{name}.yaml'}" in out
    code, out, _ = run("check", name, "--offline")
    assert code == 0, out
    ended = train(pipelines / f"{name}.yaml")
    assert ended["promote"].state == "success", ended["promote"].message
    head = Registry.connect(mlflow).head(name)
    assert head is not None
    assert head.version == 1
    assert head.gates is not None
    assert [gate[1] for gate in head.gates] == [True] * 5


def drafted(folder: Path, rows: dict[str, list[Any]], **requested: Any) -> Draft:
    import pandas as pd

    file = folder / "some data.jsonl"
    pd.DataFrame(rows).to_json(file, orient="records", lines=True)
    return draft_pipeline(file, **{"target": "y", **requested})


def world(rows: int = 300) -> dict[str, list[Any]]:
    """Columns of every kind, by which a row can be told, and what of them may not be used."""
    from random import Random

    chance = Random(1)
    good = [chance.random() < 0.4 for _ in range(rows)]
    return {
        "customer_id": [f"c{number}" for number in range(rows)],
        "seen": [f"2026-01-{1 + number * 28 // rows:02}T{number % 24:02}:00:00Z" for number in range(rows)],
        "size": [chance.gauss(2.0 * one, 1) for one in good],
        "colour": [chance.choice(["red", "green"]) for _ in range(rows)],
        "note": [f"call {number}" for number in range(rows)],
        "constant": [7] * rows,
        "sparse": [chance.random() if number % 3 else None for number in range(rows)],
        "outcome": [1 if one else 0 for one in good],
        "</script><script>\nalert: {{ x }}": [chance.choice("ab") for _ in range(rows)],
        "y": ["good" if one else "bad" for one in good],
    }


def test_each_column_gets_its_role_or_a_reason(tmp_path: Path) -> None:
    rows = world()
    odd = rows.pop("</script><script>\nalert: {{ x }}")
    draft = drafted(tmp_path, {**rows, "odd # name: [1\n2]": odd})
    columns = draft.pipeline.data.columns
    assert draft.pipeline.name == "some_data"
    assert draft.pipeline.task == "binary"
    assert (columns.timestamp, columns.keys) == ("seen", ["customer_id"])
    assert (columns.numeric, columns.categorical) == (["size"], ["colour", "odd # name: [1\n2]"])
    assert {name: why.split(":")[0] for name, why in draft.roles.left_out.items()} == {
        "note": "300 different texts in 300 rows are too many to learn from",
        "constant": "the same in every row",
        "sparse": "missing in 33% of the rows",
        "outcome": "predicts the target alone (1.0000)",
    }
    assert "#   outcome: predicts the target alone" in draft.text.replace("    #     ", "    #   ")
    assert draft.pipeline.preparation.split.by == "time"
    [classes] = [one for one in draft.pipeline.validation.expectations if one.kwargs["column"] == "y"]
    assert classes.kwargs["value_set"] == ["bad", "good"]
    assert yaml.safe_load(draft.text)["validation"]["required"] == columns.features


def rentals(rows: int = 260) -> dict[str, list[Any]]:
    """Counts of a day, of which two add up to the third."""
    from random import Random

    chance = Random(1)
    casual, registered = ([chance.randint(0, most) for _ in range(rows)] for most in (300, 900))
    return {
        "day": [f"2026-{1 + number // 28:02}-{1 + number % 28:02}" for number in range(rows)],
        "temp": [round(chance.gauss(15, 5), 1) for _ in range(rows)],
        "casual": casual,
        "registered": registered,
        "y": [sum(both) for both in zip(casual, registered, strict=True)],
    }


def failures(rows: int = 2000) -> dict[str, list[Any]]:
    """Machines, which fail by one of three modes: two told by a number, one by a word."""
    from random import Random

    chance = Random(1)
    heat, power, tool = ([chance.random() < 0.05 for _ in range(rows)] for _ in range(3))
    return {
        "speed": [chance.gauss(1500, 100) for _ in range(rows)],
        "heat": [int(one) for one in heat],
        "power": [int(one) for one in power],
        "tool": ["broken" if one else "whole" for one in tool],
        "y": [int(any(modes)) for modes in zip(heat, power, tool, strict=True)],
    }


@pytest.mark.parametrize(
    ("rows", "guilty", "why"),
    [
        (
            rentals(),
            {"casual", "registered"},
            "casual and registered together determine the target: y is casual + registered (R² 1.000000): probably "
            "not known in advance",
        ),
        (
            failures(),
            {"heat", "power", "tool"},
            "heat and power and tool together determine the target: y is determined by any of heat, power, tool "
            "(100.0% of the rows of one class, and hardly any other): probably not known in advance",
        ),
    ],
)
def test_features_that_make_up_the_target_are_left_out_with_the_figure(
    rows: dict[str, list[Any]], guilty: set[str], why: str, tmp_path: Path
) -> None:
    draft = drafted(tmp_path, rows)
    assert draft.roles.left_out == dict.fromkeys(guilty, why) | {
        name: reason for name, reason in draft.roles.left_out.items() if name not in guilty
    }
    assert guilty.isdisjoint(draft.pipeline.data.columns.features)
    assert "together determine the target" in " ".join(draft.text.split())


@pytest.mark.parametrize("name", ["wine", "breast_cancer", "diabetes", "flights"])
def test_ordinary_data_keeps_its_features(name: str, tmp_path: Path) -> None:
    data, target = write_data(name, tmp_path)
    draft = draft_pipeline(data, target=target)
    assert not [why for why in draft.roles.left_out.values() if "the target" in why], draft.roles.left_out


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("31.12.2025", "1.1.2026", "dates such as 31.12.2025, which data.source.csv.dates %d.%m.%Y reads"),
        ("12/31/2025 11:59 PM", "1/1/2026 12:00 AM", "dates such as 12/31/2025 11:59 PM, which"),
        ("31-Dec-2025", "1-Mar-2026", "dates such as 31-Dec-2025, which"),
        ("2/1/2026", "1/2/2026", "dates such as 2/1/2026, which data.source.csv.dates %m/%d/%Y or %d/%m/%Y reads"),
        ("31.12.2025", "soon", None),
        ("red, green", "7", None),
        ("10.0.0.1", "1-2", None),
    ],
)
def test_dates_and_numbers_of_a_local_form_are_no_categories(
    first: str, second: str, why: str | None, tmp_path: Path
) -> None:
    rows = {name: values for name, values in world().items() if name.isalnum()}
    draft = drafted(tmp_path, {**rows, "local": [second if n % 3 else first for n in range(300)]})
    if why is None:
        assert "local" in draft.pipeline.data.columns.categorical
    else:
        assert draft.roles.left_out["local"].startswith(why)


def test_numbers_of_a_local_form_are_numbers_and_the_draft_says_how_they_are_read(tmp_path: Path) -> None:
    rows = {name: values for name, values in world().items() if name.isalnum()}
    draft = drafted(tmp_path, {**rows, "local": [f"{n % 9}.204,5{n % 7}" if n % 3 else "7" for n in range(300)]})
    assert "local" in draft.pipeline.data.columns.numeric
    assert (draft.pipeline.data.source.csv.decimal, draft.pipeline.data.source.csv.thousands) == (",", ".")
    assert "1 numeric columns use this format, such as '" in draft.text


def test_dates_of_a_local_form_are_the_timestamp_when_there_is_no_other(tmp_path: Path) -> None:
    rows = {name: values for name, values in world().items() if name.isalnum() and name != "seen"}
    draft = drafted(tmp_path, {**rows, "day": [f"{1 + n // 11}.1.2026" for n in range(300)]})
    assert (draft.pipeline.data.columns.timestamp, draft.pipeline.data.source.csv.dates) == ("day", "%d.%m.%Y")
    assert draft.pipeline.preparation.split.by == "time"


def test_a_split_that_the_data_does_not_allow_gives_way_to_another(tmp_path: Path) -> None:
    rows = {
        "seen": [f"2026-01-01T{n // 60:02}:{n % 60:02}:00" for n in range(300)],
        "size": [n % 17 for n in range(300)],
    }
    draft = drafted(tmp_path, {**rows, "y": [int(n < 150 and n % 2) for n in range(300)]})
    assert draft.pipeline.data.timezone == "UTC", "the timestamps name no zone"
    assert draft.pipeline.preparation.split.by == "cross_validation", "the last fifth holds one class alone"


@pytest.mark.parametrize(
    ("changes", "requested", "message"),
    [
        ({}, {"target": "why"}, "--target is not a column of the file.*Did you mean 'y'|--target is not a column"),
        ({}, {"timestamp": "size"}, "not a moment in every row"),
        ({}, {"keys": ["costumer_id"]}, "Did you mean 'customer_id'"),
        ({}, {"name": "My Pipeline"}, "--name is not a valid pipeline name"),
        ({"seen2": ["2026-01-01T00:00:00Z"] * 300}, {}, "several columns are moments: got seen, seen2"),
        ({"y": [None, *["a", "b"] * 149, "a"]}, {}, "target 'y' is missing in 1 of 300 rows"),
        ({"y": ["a"] * 300}, {}, "the same in every row"),
        ({"y": ["b"] * 5 + ["a"] * 295}, {}, "class 'b' of target 'y' has 5 rows"),
        ({"y": [f"t{n}" for n in range(300)]}, {}, "has 300 different texts"),
        ({"seen": ["soon", "31.12.2025"] * 150}, {"timestamp": "seen"}, "got seen, of type string, such as soon"),
    ],
)
def test_what_cannot_be_drafted_is_one_line(
    changes: dict[str, list[Any]], requested: dict[str, Any], message: str, tmp_path: Path
) -> None:
    rows = {name: values for name, values in world().items() if name.isalnum() or "_" in name}
    with pytest.raises(MLOpsError, match=message) as raised:
        drafted(tmp_path, {**rows, **changes}, **requested)
    assert len(str(raised.value).splitlines()) == 1


def test_a_pipeline_file_that_is_there_stays(run: Callable[..., Any], pipelines: Path, tmp_path: Path) -> None:
    data, _ = write_data("iris", tmp_path)
    (pipelines / "iris.yaml").write_text("mine\n")
    code, _, err = run("init", str(data), "--target", "y")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "already exists" in err
    assert (pipelines / "iris.yaml").read_text() == "mine\n"
    assert run("init", str(data), "--target", "y", "--force")[0] == 0
    assert run("init", str(tmp_path / "nothing.csv"), "--target", "y")[0] == 1
    data.write_text(data.read_text().replace(",", ";").replace(".", ","))
    assert run("init", str(data), "--target", "y", "--force")[0] == 0
    form = yaml.safe_load((pipelines / "iris.yaml").read_text())["data"]["source"]["csv"]
    assert form == {"separator": ";", "decimal": ","}
