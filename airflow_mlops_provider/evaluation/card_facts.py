"""What a card tells of a version besides its evaluation and its gates."""

from __future__ import annotations

from pydantic import Field, JsonValue

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.modeling.splits import SplitPlan
from airflow_mlops_provider.spec import Card
from airflow_mlops_provider.spec.frozen import Finite, Frozen


class DataFacts(Frozen):
    """The dataset that a version was trained and measured on.

    :param source: where it was read from, in words; never a parameter of a reader, nor a password.
    :param digest: sha256 of the stored snapshot.
    :param first: first timestamp (ISO 8601), `last` the last one; None without timestamps.
    :param excluded: rows that were left out, by reason.
    :param window: how far it looks back, `label_delay` how long a row waits for its label, in words.
    :param privacy: what became of columns under `data.privacy`, by name.
    """

    source: str
    digest: str
    rows: int
    first: str | None = None
    last: str | None = None
    excluded: dict[str, int] = Field(default_factory=dict)
    window: str | None = None
    label_delay: str | None = None
    privacy: dict[str, str] = Field(default_factory=dict)


class ServingFacts(Frozen):
    """What serves, where it is not the model that was judged.

    :param judged: sha256 of the file of the model that was judged: every figure is that one's.
    :param rows: that the serving model was fitted on.
    """

    judged: str
    rows: int


class CardFacts(Document):
    """What a version is and where it comes from. Equal trainings give equal facts, whichever run publishes them.

    :param version: in MLflow's registry, with the run that it belongs to.
    :param params: of the winner, those that a search found too.
    :param evaluation: key of the evaluation, `training` that of the winner's training.
    :param requirements: exact pip requirements of the model.
    :param threshold: probability from which on a row is of the second class.
    :param trained_to: last row that it saw (ISO 8601); None without timestamps.
    :param refitted: None when it is the very model that was judged.
    """

    SCHEMA = 3

    pipeline: str
    model: str
    version: int
    run_id: str
    experiment_id: str
    about: Card
    data: DataFacts
    split: SplitPlan
    target: str
    estimator: str
    params: dict[str, JsonValue] = Field(default_factory=dict)
    digest: str
    size: int
    threshold: Finite | None = None
    requirements: list[str] = Field(default_factory=list)
    evaluation: str
    training: str
    package: str
    trained_to: str | None = None
    refitted: ServingFacts | None = None
