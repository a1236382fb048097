"""The card of a published version, and its page beside the champion: made once it has a number, kept with its run.

A version whose gates fail has its card as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from airflow_mlops_provider import __version__
from airflow_mlops_provider.data.privacy import PrivacyReport
from airflow_mlops_provider.effects.refitting import serving_of
from airflow_mlops_provider.evaluation.card_facts import CardFacts, DataFacts, ServingFacts
from airflow_mlops_provider.evaluation.comparison_page import comparison_page
from airflow_mlops_provider.evaluation.model_card import model_card
from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.evaluation.verdicts import Verdicts
from airflow_mlops_provider.exceptions import SpecError, shorten
from airflow_mlops_provider.modeling.splits import SplitPlan
from airflow_mlops_provider.redaction import shown
from airflow_mlops_provider.registry import VersionPage
from airflow_mlops_provider.runner import request_behind
from airflow_mlops_provider.spec import Card, Data

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from airflow_mlops_provider.effects.refitting import Serving
    from airflow_mlops_provider.registry import Registry
    from airflow_mlops_provider.results import ArtifactRef, StepResult
    from airflow_mlops_provider.storage import ArtifactStore


def keep_card(
    registry: Registry,
    store: ArtifactStore,
    published: StepResult,
    report: EvaluationReport,
    *,
    model: str,
    params: Mapping[str, Any],
    verdicts: Verdicts,
    about: Mapping[str, Any],
) -> dict[str, ArtifactRef]:
    """Make the pages of a version and keep them with its run in MLflow. Return them by role, with what they rest on.

    :param published: the evaluation, with its version and run.
    :param params: of the winner.
    :param verdicts: the gates' verdicts on the evaluation.
    :param about: the section `card` of a pipeline file.
    :raises SpecError: for wrong words.
    """
    try:
        words = Card.model_validate(about)
    except ValidationError as error:
        raise SpecError(
            f"the card of {published.pipeline!r} cannot be created",
            problems=[f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()],
        ) from error
    card = _facts(store, published, report, model, params, words)
    refs = _keep(registry, store, card, report, verdicts)
    return {**refs, "card_facts": store.add_document(card)}


def renew_card(registry: Registry, store: ArtifactStore, published: StepResult, judged: StepResult) -> None:
    """Make a version's pages again, once it was compared with another champion than when it was published.

    :param published: the new evaluation, with the artifact `card_facts` of the first one.
    :param judged: the gates' verdicts on it.
    """
    if "card_facts" not in published.artifacts:  # published by an older release
        return
    card = store.read_document(published.artifacts["card_facts"], CardFacts)
    report = store.read_document(published.artifacts["evaluation"], EvaluationReport)
    verdicts = store.read_document(judged.artifacts["verdicts"], Verdicts)
    _keep(registry, store, card.model_copy(update={"evaluation": published.key}), report, verdicts)


def _keep(
    registry: Registry, store: ArtifactStore, card: CardFacts, report: EvaluationReport, verdicts: Verdicts
) -> dict[str, ArtifactRef]:
    pages = {"card": model_card(card, report, verdicts)}
    if report.champion is not None:
        pages["comparison"] = comparison_page(card, report, report.champion, verdicts.verdicts)
    stored = {name: VersionPage(ref=store.add_bytes(text.encode(), ".html"), text=text) for name, text in pages.items()}
    registry.keep_pages(card.model, card.version, card.run_id, stored)
    return {name: page.ref for name, page in stored.items()}


def _facts(
    store: ArtifactStore,
    published: StepResult,
    report: EvaluationReport,
    model: str,
    params: Mapping[str, Any],
    about: Card,
) -> CardFacts:
    inputs = request_behind(store, published, shown_only=True).inputs
    serving = serving_of(store, published)
    info = serving.info
    winner = next(one for one in inputs["models"] if one.facts["candidate"] == report.winner)
    facts: Any = published.facts
    return CardFacts(
        pipeline=published.pipeline,
        model=model,
        version=facts["version"],
        run_id=facts["run_id"],
        experiment_id=facts["experiment_id"],
        about=about,
        data=_data(store, inputs["dataset"][0]),
        split=store.read_document(inputs["split"][0].artifacts["split"], SplitPlan),
        target=info.target,
        estimator=info.estimator,
        params=dict(params),
        digest=info.digest,
        size=info.size,
        threshold=info.threshold,
        requirements=info.requirements,
        evaluation=published.key,
        training=winner.key,
        package=__version__,
        **_serves(serving),
    )


def _serves(serving: Serving) -> dict[str, Any]:
    known: dict[str, Any] = {"trained_to": None if serving.trained_to is None else serving.trained_to.isoformat()}
    if serving.judged is not None and serving.report is not None:
        known["refitted"] = ServingFacts(judged=serving.judged.sha256, rows=serving.report.rows)
    return known


def _data(store: ArtifactStore, dataset: StepResult) -> DataFacts:
    section: Any = request_behind(store, dataset, shown_only=True).section
    data, facts = Data.model_validate(section["data"]), dataset.facts
    known: Any = {name: facts.get(name) for name in ("rows", "first", "last")}
    return DataFacts(
        **known,
        source=_source(data),
        digest=dataset.artifacts["dataset"].sha256,
        excluded=facts.get("excluded") or {},
        window=None if data.window is None else _length(data.window),
        label_delay=_length(data.label_delay) if data.label_delay else None,
        privacy=_privacy(store, dataset),
    )


def _privacy(store: ArtifactStore, dataset: StepResult) -> dict[str, str]:
    if "privacy" not in dataset.artifacts:
        return {}
    report = store.read_document(dataset.artifacts["privacy"], PrivacyReport)
    return {each.column: each.words for each in report.columns}


def _length(time: timedelta) -> str:
    return str(time).removesuffix(", 0:00:00")


def _source(data: Data) -> str:
    source = data.source
    if source.reader is not None:
        return f"reader {source.reader}"
    through = "" if source.conn_id is None else f", through the connection {source.conn_id}"
    if source.uri is not None:
        return f"{shorten(shown(source.uri), 300)}{through}"
    return f"the query {shorten(' '.join(str(source.sql).split()), 300)}{through}"
