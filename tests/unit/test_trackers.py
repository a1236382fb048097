"""Published trainings are mirrored to other trackers, by functions of the user's: as docs/trackers.md writes them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.effects import mirror
from airflow_mlops_provider.exceptions import MLOpsError, NotAllowedError, TransientServiceError
from airflow_mlops_provider.spec.trackers import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable

RUN = {
    "id": "2013-03-01-logistic-0a1b2c3d", "pipeline": "flights", "candidate": "logistic", "winner": True,
    "metrics": {"roc_auc": 0.75, "log_loss": 0.5}, "folds": {"fold/roc_auc": [0.7, None, 0.8]},
    "params": {"C": 1.0, "class_weight": None}, "links": {"MLflow run": "http://mlflow/#/1"},
}  # fmt: skip


@pytest.fixture
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Mirror a run by a function of a plugin, whose module holds what is given."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    monkeypatch.syspath_prepend(str(plugins))

    def call(code: str, function: str = "tracking.to_tensorboard", calls: int = 1, **params: Any) -> None:
        (plugins / "tracking.py").write_text(code)
        monkeypatch.delitem(sys.modules, "tracking", raising=False)
        trackers = [Tracker(function=function, params=params)] * calls
        mirror(trackers, [RUN], AllowList(plugins_folder=str(plugins)))

    return call


def example() -> str:
    text = (Path(__file__).parents[2] / "docs" / "trackers.md").read_text(encoding="utf-8")
    [code] = re.findall(r"<!-- example: tracking.py -->\n```python\n(.*?)```", text, re.DOTALL)
    return str(code)


def test_tensorboard_reads_what_the_guides_function_wrote_once_however_often(
    tracked: Callable[..., None], tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        tracked(example(), folder=str(tmp_path / "board"))
    events = EventAccumulator(str(tmp_path / "board" / "flights" / RUN["id"]))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("roc_auc")] == [(0, 0.75)]
    assert [one.step for one in events.Scalars("fold/roc_auc")] == [0, 2]
    assert len(list((tmp_path / "board" / "flights").iterdir())) == 1


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("raise KeyError('entity')", MLOpsError, "tracker tracking.to_tensorboard failed: got KeyError"),
        ("raise ConnectionError('refused')", TransientServiceError, "tracker tracking.to_tensorboard could not reach"),
    ],
)
def test_a_function_that_raises_is_named(
    tracked: Callable[..., None], body: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        tracked(f"def to_tensorboard(runs):\n    {body}\n")


def test_what_one_tracker_changes_the_next_does_not_see(tracked: Callable[..., None], tmp_path: Path) -> None:
    tracked(
        f"""
def to_tensorboard(runs):
    runs[0]["metrics"].clear()
    with open({str(tmp_path / "seen")!r}, "a") as seen:
        seen.write(str(len(runs[0]["params"])))
    runs[0]["params"].clear()
""",
        calls=2,
    )
    assert (tmp_path / "seen").read_text() == "22"


def test_a_function_that_is_not_allowed_is_not_called(tracked: Callable[..., None]) -> None:
    with pytest.raises(NotAllowedError, match="os"):
        tracked("", function="os.getpid")
