"""Bad readers and settings: each gives one error that names what, where, got, expected and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bad_files import COLUMNS, left_behind

from airflow_mlops_provider.exceptions import DataError, NotAllowedError, SpecError
from airflow_mlops_provider.pipelines import parse_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable


def frame_reader(reader: Callable[[str], str], body: str) -> dict[str, Any]:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return {
        "source": {"reader": reader(f"import pandas as pd\n\ndef read(as_of, start):\n{lines}\n")},
        "columns": COLUMNS,
    }


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return [1, 2]", ("reader plugin", "did not return a table", "got int", "a DataFrame")),
        ("return None", ("did not return a table", "NoneType")),
        ("open('nowhere.csv')", ("cannot find its data", "nowhere.csv")),
        ("yield from ()", ("contains no rows",)),
        (
            "return pd.DataFrame({'late': [0, 1], 'at': pd.Timestamp('2013-02-01', tz='UTC'), 'id': [1, 'a'],"
            " 'x': [1, 2], 'y': [3.5, 'many'], 'c': ['a', 1]})",
            ("column 'y', row 2 of reader", "got many", "expected a number"),
        ),
        (
            "frame = pd.DataFrame({'late': [0, 1], 'at': pd.Timestamp('2013-02-01', tz='UTC'), 'id': [1, 2],"
            " 'x': [1, 2], 'y': [3, 4], 'c': ['a', 'b']})\n"
            "yield frame\nyield frame.assign(late='often')",
            ("column 'late' changes its type in reader", "from row 3 on", "int64"),
        ),
    ],
)  # fmt: skip
def test_what_a_reader_gives_wrong_is_named(
    steps: Any, reader: Callable[[str], str], body: str, says: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as caught:
        steps.ingest(frame_reader(reader, body))
    for part in says:
        assert part in str(caught.value)
    assert left_behind(steps.store, "ingest") == []


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "name": "p",
        "task": "binary",
        "data": {"source": {"uri": "d.csv"}, "columns": COLUMNS},
        "training": {"candidates": {"a": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
        **changes,
    }


def test_an_unknown_key_names_its_path_and_the_nearest_key() -> None:
    with pytest.raises(SpecError) as caught:
        parse_pipeline(spec(validation={"min_row": 5}), where="flights.yaml")
    for part in ("flights.yaml", "validation.min_row", "did you mean 'min_rows'?"):
        assert part in str(caught.value)


def test_a_reader_outside_the_allow_list_names_what_is_allowed(steps: Any) -> None:
    with pytest.raises(NotAllowedError, match=r"'shutil.rmtree' is outside.*sklearn.*allowed_modules"):
        steps.ingest({"source": {"reader": "shutil.rmtree"}, "columns": COLUMNS})
