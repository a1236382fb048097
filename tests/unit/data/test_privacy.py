"""What of people reaches the store, the log and errors: nothing that the policy keeps out."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import sqlite3
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops_provider.data.recognition import count_kind
from airflow_mlops_provider.data.tables import read_table, table_info
from airflow_mlops_provider.exceptions import DataError, SpecError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.spec.privacy import NATIONAL_IDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_mlops_provider.results import StepResult

SECRET = "0123456789abcdef" * 4
PLANTED = "jane.planted@example.org"
COLUMNS: dict[str, Any] = {
    "target": "left",
    "timestamp": "at",
    "keys": ["customer"],
    "numeric": ["age"],
    "categorical": ["plan", "contact"],
}
HASHED: dict[str, Any] = {"hash": ["customer"], "conn_id": "pseudonyms"}


def customers(rows: int = 60) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer": [f"customer{number}@example.org" for number in range(rows)],
            "at": pd.date_range("2013-01-01", periods=rows, freq="h", tz="UTC"),
            "age": np.arange(rows) % 50 + 20.0,
            "plan": ["basic", "gold", "basic"] * (rows // 3),
            "contact": [None, "by post", PLANTED] * (rows // 3),
            "left": [0, 1] * (rows // 2),
        }
    )


def source_of(kind: str, frame: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """Write a frame as a source of one kind; a reader gives it in two parts."""
    file = folder / f"data.{kind}"
    if kind == "csv":
        frame.to_csv(file, index=False)
    elif kind == "jsonl":
        frame.assign(at=frame["at"].map(pd.Timestamp.isoformat)).to_json(file, orient="records", lines=True)
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), file, row_group_size=25)
    elif kind == "sql":
        with sqlite3.connect(file) as connection:
            frame.assign(at=frame["at"].map(pd.Timestamp.isoformat)).to_sql("customers", connection, index=False)
        connection.close()
        return {"sql": "select * from customers", "conn_id": str(file)}
    else:
        frame.to_parquet(folder / "read.parquet")
        code = (
            f"import pandas as pd\ndef read(as_of, start):\n    f = pd.read_parquet({str(folder / 'read.parquet')!r})\n"
        )
        return {"reader": reader_of(folder, code + "    yield f.iloc[:25]\n    yield f.iloc[25:]\n")}
    return {"uri": str(file)}


_modules = count()


def reader_of(folder: Path, code: str) -> str:
    """Write a plugin of a name of its own: Python keeps imported modules by name."""
    name = f"customers_{next(_modules)}"
    (folder / f"{name}.py").write_text(code)
    return f"{name}.read"


def read_sql(conn_id: str, sql: str) -> Iterator[pd.DataFrame]:
    connection = sqlite3.connect(conn_id)
    try:
        yield from pd.read_sql(sql, connection, chunksize=17)
    finally:
        connection.close()


def ingest(
    steps: Any, source: dict[str, Any], privacy: dict[str, Any], *, secret: str | None = SECRET, **changes: Any
) -> StepResult:
    data = {"source": source, "columns": {**COLUMNS, **changes.pop("columns", {})}, "privacy": privacy}
    request = StepRequest(
        step="ingest",
        pipeline="tested",
        as_of="2013-03-01T00:00:00Z",
        section={"task": "binary", "data": data, **changes},
        allow_list=steps.allow_list,
    )
    return run_step(request, steps.store, read_sql=read_sql, read_secret=lambda conn_id: secret)


def frame_of(steps: Any, result: StepResult) -> pd.DataFrame:
    return read_table(steps.store, result.artifacts["dataset"])


def files_holding(folder: Path, text: str) -> list[str]:
    """Return the files whose bytes hold a text, also within compressed Parquet pages."""
    found = []
    for file in folder.rglob("*"):
        if not file.is_file():
            continue
        content = file.read_bytes()
        if file.suffix == ".parquet":
            table = pq.read_table(file)
            content += str(table.to_pylist()).encode() + str(table.schema.metadata).encode()
        if text.encode() in content:
            found.append(str(file))
    return found


KINDS = ["csv", "jsonl", "parquet", "sql", "reader"]


@pytest.mark.parametrize("purpose", ["training", "scoring"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_recognised_column_never_reaches_the_store_or_the_log(
    kind: str, purpose: str, steps: Any, plugins: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source = source_of(kind, customers(), plugins)
    store = tmp_path / "store"
    privacy = {"recognise": {"email": "drop"}}
    plain = {**COLUMNS, "keys": []}
    result = ingest(steps, source, privacy, columns=plain, purpose=purpose)
    checked = steps.validate(result, keep_failing_rows=100, expectations=[
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "age", "max_value": 30}, "policy": "warn"}
    ])  # fmt: skip
    assert checked.artifacts["failing_rows"]
    assert table_info(steps.store, result.artifacts["dataset"]).columns.categorical == ["plan"]
    assert result.facts["privacy"] == {"contact": "dropped, 20 of 40 values look like email"}
    assert files_holding(store, PLANTED) == []
    assert PLANTED not in caplog.text
    page = steps.store.fetch(checked.artifacts["report"]).read_text(encoding="utf-8")
    assert "dropped, 20 of 40 values look like email" in page
    # The search finds what is there.
    ingest(steps, source, {"recognise": {"phone": "drop"}}, columns=plain, purpose=purpose)
    assert files_holding(store, PLANTED)


@pytest.mark.parametrize("kind", KINDS)
def test_a_forbidden_column_is_refused_by_name_before_anything_is_stored(
    kind: str, steps: Any, plugins: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = source_of(kind, customers().assign(mail=PLANTED), plugins)
    with pytest.raises(DataError, match=r"contains column 'mail', which data\.privacy forbids") as named:
        ingest(steps, source, {"forbid": ["mail"]})
    with pytest.raises(
        DataError, match=r"column 'contact' of .* contains values that look like email.*20 of 40"
    ) as looks:
        ingest(steps, source, {"recognise": {"email": "forbid"}}, columns={"keys": []})
    assert files_holding(tmp_path / "store", "@example.org") == []
    for error in (named.value, looks.value):
        assert "@" not in str(error) + caplog.text
        assert error.__context__ is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_hashed_column_holds_the_keyed_hash_of_each_value(
    kind: str, steps: Any, plugins: Path, tmp_path: Path
) -> None:
    result = ingest(steps, source_of(kind, customers(), plugins), {**HASHED, "recognise": {"email": "hash"}})
    frame = frame_of(steps, result)

    def hashed(value: str) -> str:
        return hmac.new(SECRET.encode(), value.encode(), "sha256").hexdigest()[:32]

    assert frame["customer"].tolist() == [hashed(f"customer{number}@example.org") for number in range(60)]
    assert frame["contact"].dropna().unique().tolist() == [hashed("by post"), hashed(PLANTED)]
    assert int(frame["contact"].isna().sum()) == 20
    for text in ("@example.org", SECRET, hashlib.sha256(SECRET.encode()).hexdigest()):
        assert files_holding(tmp_path / "store", text) == []
    assert steps.store.read_json(result.artifacts["privacy"])["columns"][0] == {
        "column": "customer", "action": "hash", "kind": None, "values": None, "of": None
    }  # fmt: skip


def test_another_secret_is_another_result_and_the_same_one_is_not_computed_again(steps: Any, tmp_path: Path) -> None:
    source = source_of("parquet", customers(), tmp_path)
    first, again, other = (ingest(steps, source, HASHED, secret=secret) for secret in (SECRET, SECRET, SECRET[::-1]))
    assert (first.cached, again.cached, other.cached) == (False, True, False)
    assert first.key == again.key != other.key
    assert set(frame_of(steps, first)["customer"]).isdisjoint(frame_of(steps, other)["customer"])


def test_whole_numbers_and_their_text_have_one_hash(steps: Any, tmp_path: Path) -> None:
    frame = customers().assign(customer=range(60))
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
    numbers = ingest(steps, source_of("parquet", frame, tmp_path / "a"), HASHED)
    texts = ingest(steps, source_of("csv", frame, tmp_path / "b"), HASHED)
    assert frame_of(steps, numbers)["customer"].tolist() == frame_of(steps, texts)["customer"].tolist()


@pytest.mark.parametrize(
    ("secret", "says"), [(None, "got 0 characters"), ("hunt2", "got 5 characters, expected at least 32")]
)
def test_a_missing_or_short_secret_is_refused_without_showing_it(
    secret: str | None, says: str, steps: Any, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=says) as raised:
        ingest(steps, source_of("csv", customers(), tmp_path), HASHED, secret=secret)
    assert "hunt2" not in str(raised.value)


def test_hashing_without_a_worker_is_a_clear_error(steps: Any, tmp_path: Path) -> None:
    data = {"source": source_of("csv", customers(), tmp_path), "columns": COLUMNS, "privacy": HASHED}
    with pytest.raises(SpecError, match="hashed in the worker, with the secret.*kind in_process"):
        steps.ingest(data)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "reader"])
def test_an_error_about_a_value_does_not_show_it(
    kind: str, steps: Any, plugins: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = customers().astype({"age": object})
    frame["age"] = PLANTED if kind == "parquet" else [*frame["age"].tolist()[:-1], PLANTED]
    source = source_of("reader" if kind == "reader" else kind, frame.astype({"age": str}), plugins)
    if kind == "reader":
        code = f"import pandas as pd\ndef read(as_of, start):\n    raise ValueError('no number: {PLANTED}')\n"
        source = {"reader": reader_of(plugins, code)}
    with pytest.raises(DataError, match=r"data\.privacy is set") as raised:
        ingest(steps, source, {"drop": ["contact"]})
    error = raised.value
    assert ("'age'" in str(error)) == (kind != "reader")
    assert ("ValueError" in str(error)) == (kind == "reader")
    assert PLANTED not in str(error) + caplog.text
    assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize(
    ("column", "recognise", "says"),
    [
        ("left", "drop", "column 'left' .* look like card, and is the target"),
        ("age", "hash", "column 'age' .* look like card, and is read as a number"),
    ],
)
def test_a_recognised_column_that_cannot_be_treated_so_is_named(
    column: str, recognise: str, says: str, steps: Any, tmp_path: Path
) -> None:
    frame = customers()
    frame[column] = [4111111111111111, 5500005555555559] * 30
    with pytest.raises(DataError, match=says):
        ingest(
            steps,
            source_of("parquet", frame, tmp_path),
            {"recognise": {"card": recognise}, "conn_id": "pseudonyms"},
        )


CASES: dict[str, tuple[list[str], list[str]]] = {
    "email": (["a.b@c.de", "write to x_y+z@mail.example.com!"], ["a at b.de", "@home", "user@localhost", "1@2"]),
    "phone": (
        ["+49 30 1234567", "+14155552671", "(415) 555-2671", "415-555-2671", "1 415 555 2671", "030 1234567",
         "06 12 34 56 78"],
        ["4155552671", "2013-01-02", "2013-01-02 10:00", "01.02.2013", "12.5", "UA-415", "10-20", "+12"],
    ),
    "card": (
        ["4111111111111111", "5500 0055 5555 5559", "3782-822463-10005"],
        ["4111111111111112", "1234567812345670", "411111111111", "20130102030405", "0000000000000000"],
    ),
    "national_id": (
        ["536-90-4399", "44051401359", "RSSMRA85T10A562S", "54362315K", "880320-0016", "131052-308T", "111222333"],
        ["536904398", "hello world 12345", "12345678", "2013-01-02", "N12345-678"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_a_kind_is_recognised_by_its_form_and_checksum(kind: Any) -> None:
    for texts, expected in zip(CASES[kind], (1, 0), strict=True):
        for text in texts:
            found = count_kind(kind, pa.array([text]), pa.array([1]), NATIONAL_IDS)
            assert found == expected, text


@pytest.mark.parametrize("kind", ["phone", "card", "national_id"])
def test_ordinary_numbers_are_recognised_by_chance_far_below_the_least_share(kind: Any) -> None:
    rng = np.random.default_rng(0)
    for digits in (7, 8, 9, 10, 11, 13, 16):
        values = rng.integers(10 ** (digits - 1), 10**digits, 3000)
        texts = pa.array(np.unique(values).astype(str))
        share = count_kind(kind, texts, pa.repeat(1, len(texts)), NATIONAL_IDS) / len(texts)
        assert share < 0.17, digits


def test_a_few_addresses_recognise_a_column_and_a_share_can_be_asked_for(steps: Any, tmp_path: Path) -> None:
    frame = customers(3000).assign(contact="by post")
    frame.loc[2990, "contact"] = PLANTED  # in the last of many row groups
    source = source_of("parquet", frame, tmp_path)
    plain = {"keys": []}
    one = ingest(steps, source, {"recognise": {"email": "drop"}}, columns=plain)
    assert one.facts["privacy"] == {"contact": "dropped, 1 of 3000 values look like email"}
    assert (
        ingest(steps, source, {"recognise": {"email": "drop"}, "min_share": 0.5}, columns=plain).facts["privacy"] == {}
    )


def test_the_report_holds_no_value(steps: Any, tmp_path: Path) -> None:
    result = ingest(
        steps, source_of("csv", customers(), tmp_path), {"drop": ["contact"], "recognise": {"email": "drop"}}
    )
    assert json.loads(json.dumps(result.xcom()))["facts"]["privacy"] == {
        "contact": "dropped, named",
        "customer": "dropped, 60 of 60 values look like email",
    }
    assert "@" not in json.dumps(result.xcom())
