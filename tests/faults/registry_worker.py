"""What the fault tests run in processes of their own."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.registry import (
    CandidateRun,
    DatasetInfo,
    PromotionOutcome,
    PromotionRequest,
    Publication,
    PublishedModel,
    Registry,
    VersionPage,
)
from airflow_mlops_provider.registry.looks import Look
from airflow_mlops_provider.results import ArtifactRef

if TYPE_CHECKING:
    from pathlib import Path

WINDOW = datetime(2013, 3, 1, tzinfo=UTC)
PAGES = {
    "card": VersionPage(
        ref=ArtifactRef(uri=f"file:///store/{'c' * 64}.html", sha256="c" * 64, size=11), text="<p>Card</p>"
    )
}


def publication(model_file: Path) -> Publication:
    model_file.write_bytes(b"bytes of a model, which nobody loads here")
    sha256 = hashlib.sha256(model_file.read_bytes()).hexdigest()
    return Publication(
        model="flights",
        experiment="flights",
        lineage="lineage",
        as_of=datetime(2013, 3, 1, tzinfo=UTC),
        name="2013-03-01",
        dataset=DatasetInfo(name="flights", digest="d" * 64, uri="file:///store/x.parquet", rows=4),
        candidates=[
            CandidateRun(name=name, step_key=name, params={"C": 1}, metrics={"roc_auc": 0.9})
            for name in ("forest", "logistic")
        ],
        winner="logistic",
        model_info=PublishedModel(
            digest="digest",
            sha256=sha256,
            artifact=ArtifactRef(uri=model_file.as_uri(), sha256=sha256, size=40),
            numeric=["distance"],
            target="late",
            requirements=["scikit-learn==1.9.1"],
        ),
        model_file=model_file,
    )


def request(training: Publication) -> PromotionRequest:
    info = training.model_info
    return PromotionRequest(
        model="flights",
        idem="task",
        version=1,
        digest=info.digest,
        sha256=info.sha256,
        artifact=info.artifact,
        lineage=training.lineage,
        order_key=training.as_of,
    )


def connect(uri: str) -> Registry:
    """Return the registry in a database, of whose artifacts none is written."""
    return Registry.connect(uri, artifact_root=None if uri.startswith("sqlite") else "mlflow-artifacts:/nowhere")


def race(uri: str, rounds: list[list[PromotionRequest]], rank: int, barrier: Any, results: Any) -> None:
    """Promote one version a round, at the same moment as the others; gate again as often as it takes."""
    try:
        registry = connect(uri)
        registry.ping()
        for requests in rounds:
            barrier.wait(120)
            request = requests[rank]
            while True:
                head = registry.head(request.model)
                against = head.seq if head else None
                outcome = registry.promote(request.model_copy(update={"compared_with": against}))
                if outcome.status != "stale":
                    break
            barrier.wait(120)
            agrees = rank > 0 or registry.reconcile(request.model, repair=False).agrees
            results.put((request.version, outcome.status, agrees))
    except Exception as error:
        results.put(("failed", str(error)))
        barrier.abort()
        raise


def publish_at_once(uri: str, training: Publication, rank: int, barrier: Any, results: Any) -> None:
    """Publish the same training at the same moment as the others."""
    try:
        registry = Registry.connect(uri)
        registry.ping()
        barrier.wait(120)
        results.put(("published", rank, registry.publish(training).version))
    except Exception as error:
        results.put(("failed", str(error)))
        barrier.abort()
        raise


def promote_all(registry: Registry, client: Any, folder: Path, count: int) -> None:
    """Make one version after the other champion."""
    client.create_registered_model("flights")
    for version in range(1, count + 1):
        client.create_model_version("flights", str(folder), await_creation_for=None)
        sha256 = f"{version:064x}"
        registry.promote(
            PromotionRequest(
                model="flights",
                idem=f"task-{version}",
                version=version,
                digest=sha256,
                sha256=sha256,
                artifact=ArtifactRef(uri="file:///store/model.skops", sha256=sha256, size=1),
                lineage=sha256,
                order_key=WINDOW,
                compared_with=version - 1 or None,
            )
        )


def roll_back_at_once(uri: str, rank: int, barrier: Any, results: Any) -> None:
    """Roll the champion back at the same moment as the others: each its own task."""
    try:
        registry = Registry.connect(uri)
        registry.ping()
        barrier.wait(120)
        outcome = registry.rollback("flights", to="previous", reason="late", idem=f"rollback-{rank}")
        results.put((outcome.status, outcome.changed))
    except Exception as error:
        results.put(("failed", str(error)))
        barrier.abort()
        raise


def decide_at_once(uri: str, windows: list[datetime], rank: int, barrier: Any, results: Any) -> None:
    """Write a decision of each window at the same moment as the others."""
    try:
        registry = Registry.connect(uri)
        registry.ping()
        for window in windows:
            barrier.wait(120)
            held, changed = registry.write_decision("flights", window, {"rank": rank}, idem=f"task-{rank}")
            results.put((window.isoformat(), held.value["rank"], changed and held.value["rank"] == rank))
    except Exception as error:
        results.put(("failed", str(error), False))
        barrier.abort()
        raise


def roll_back(uri: str) -> None:
    """Roll the champion back, as a task does."""
    rollback(Registry.connect(uri))


def rollback(registry: Registry) -> PromotionOutcome:
    """Return what came of the rollback that the fault tests make."""
    return registry.rollback("flights", to="previous", reason="late", idem="rollback")


def decide(uri: str) -> None:
    """Decide of a window, as a task does."""
    Registry.connect(uri).write_decision("flights", WINDOW, {"action": "keep"}, idem="decide")


def look(uri: str) -> Look:
    """Write down a look at a replacement, as a task does."""
    taken = Look(recipe="forest", lineage="lineage", as_of=WINDOW, spent=0.02, candidate="logistic")
    return Registry.connect(uri).looks("flights").write(taken)


def publish_and_promote(uri: str, training: Publication) -> None:
    """Publish and promote a training, as its tasks do."""
    registry = Registry.connect(uri)
    published = registry.publish(training)
    registry.keep_pages("flights", published.version, published.run_id, PAGES)
    registry.promote(request(training).model_copy(update={"version": published.version}))
