from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.pipelines import load_pipeline, pipeline_files
from airflow_mlops_provider.yaml_files import read_yaml

FILES = pipeline_files(Path(__file__).parents[2] / "config/pipelines")
#: No NUL, which databases do not take. PyYAML writes NEL (U+0085) as it is, and reads it as the line break that it is.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85\0"))
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.dates()
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
#: What a person, a merge or a template engine may leave where a value or a key belongs.
ODD = ["2013-02-30", "!!int one", "!!timestamp x", "!x y", "*x", "{2013-01-01: 1}", "{~: 1}", "[[]]", "{{ as_of }}"]
ODD += ["'{% x %}'", "''", "9" * 5000, "-1", ".nan", "1e999", "'\\0'", '"\\ud800"', "|", "? x", "<<: 1", "'* * *'", "~"]


@given(value=PLAIN)
def test_what_was_written_is_read(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("yaml") / "any.yaml"
    file.write_text(yaml.safe_dump(value, allow_unicode=True), encoding="utf-8")
    assert read_yaml(file) == value


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_ships_is_read_as_pyyaml_reads_it(file: Path) -> None:
    assert read_yaml(file) == yaml.safe_load(file.read_text(encoding="utf-8"))


@given(file=st.sampled_from(FILES), odd=st.sampled_from(ODD), data=st.data())
def test_whatever_stands_in_a_file_is_a_pipeline_or_a_mistake_that_is_told(
    file: Path, odd: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = file.read_text(encoding="utf-8")
    words = [match.span() for match in re.finditer(r"(?<=[ \[{])[\w.@%/-]+", text)]
    begin, end = data.draw(st.sampled_from(words))
    broken = tmp_path_factory.mktemp("odd") / file.name
    broken.write_text(text[:begin] + odd + text[end:], encoding="utf-8")
    # Anything else would take the DAGs of all pipelines down.
    with contextlib.suppress(SpecError):
        load_pipeline(broken)


def test_anchors_and_merges_are_what_yaml_says(tmp_path: Path) -> None:
    file = tmp_path / "shared.yaml"
    file.write_text(
        "base: &base {owner: ml, retries: 1, when: 2013-01-01, queue: null}\n"
        "one: {<<: *base, retries: 2}\n"
        "two: [*base, *base, {<<: [*base, {retries: 9, pool: p}]}, 0x1F, 1e3, yes, '1', ~]\n"
    )
    assert read_yaml(file) == yaml.safe_load(file.read_text())
