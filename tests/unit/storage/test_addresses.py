from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlops_provider.exceptions import ArtifactError, DataError
from airflow_mlops_provider.storage import list_files, local_path, safe_key


@given(key=st.text(alphabet=st.sampled_from("ab/.\\%\0~ :\n"), max_size=20) | st.text(max_size=20))
@settings(max_examples=300)
def test_a_key_is_refused_or_stays_inside_its_store(key: str) -> None:
    root = Path("/somewhere/store")
    try:
        stored = safe_key(key)
    except ArtifactError:
        return
    assert stored == key
    assert "\0" not in key
    path = root / key
    assert path.parts[: len(root.parts)] == root.parts
    assert ".." not in path.parts
    assert len(path.parts) > len(root.parts)


@pytest.mark.parametrize(
    "key", ["", "/", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\0b", "a\\..\\b", "%2e%2e/a", "a/%00"]
)
def test_keys_that_lead_elsewhere_are_refused(key: str) -> None:
    with pytest.raises(ArtifactError, match="object key is not allowed"):
        safe_key(key)


@pytest.mark.parametrize("uri", ["s3:/bucket", "ftp://host/a", "file://host/a", "http://host/a.csv"])
def test_a_place_that_cannot_be_opened_is_named(uri: str) -> None:
    with pytest.raises(ArtifactError, match="cannot be opened"):
        local_path(uri)


def test_listed_files_change_their_version_when_they_change(tmp_path: Path) -> None:
    (tmp_path / "a b.csv").write_text("1")
    before = list_files(tmp_path.as_uri())
    (tmp_path / "a b.csv").write_text("22")
    after = list_files(str(tmp_path))
    assert [file.name for file in before] == [file.name for file in after] == ["a b.csv"]
    assert before[0].version != after[0].version
    with pytest.raises(DataError, match="is missing"):
        list_files(str(tmp_path / "nothing"))
