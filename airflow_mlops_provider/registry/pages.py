"""Pages about a version: files of the run that made it, named by the version's tags."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import ValidationError

from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.registry.files import keep_files
from airflow_mlops_provider.results import ArtifactRef
from airflow_mlops_provider.spec.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient

    from airflow_mlops_provider.registry.client import Connection

#: By what it is the name of a page's file, among the artifacts of the version's run.
FILES = {"card": "model_card.html", "comparison": "challenger_against_champion.html"}
_TAG = "mlops.page."


class VersionPage(Frozen):
    """A page about a version.

    :param ref: where the artifact store keeps it.
    """

    ref: ArtifactRef
    text: str


def keep_pages(connection: Connection, model: str, version: int, run_id: str, pages: Mapping[str, VersionPage]) -> None:
    """Put pages among the artifacts of a version's run, then say by its tags that they are there. Safe to repeat.

    A page of another evaluation of the same version takes the place of the one before.

    :param pages: by what they are, a key of `FILES`.
    """
    what = f"the pages of version {version} of model {model!r}"
    found = connection.retried(f"looking for {what}", lambda client: client.get_model_version(model, str(version)))
    wanted = {_TAG + name: page.ref.model_dump_json() for name, page in pages.items()}
    fresh = {tag: value for tag, value in wanted.items() if found.tags.get(tag) != value}
    if not fresh:
        return
    failpoint("publish.pages.before")
    run = connection.retried(f"reading the run of {what}", lambda client: client.get_run(run_id))
    keep_files(connection, run, {FILES[name]: page.text for name, page in pages.items()})
    failpoint("publish.pages.after")
    if not found.description:  # what a person wrote there stays
        words = _description(str(run.info.experiment_id), run_id)
        connection.retried(
            f"describing {what}", lambda client: client.update_model_version(model, str(version), description=words)
        )
    for tag, value in fresh.items():
        name = partial(_name_page, model=model, version=version, tag=tag, value=value)
        connection.retried(f"naming {what}", name)


def _name_page(client: MlflowClient, *, model: str, version: int, tag: str, value: str) -> None:
    client.set_model_version_tag(model, str(version), tag, value)


def pages_of(tags: Mapping[str, str]) -> dict[str, ArtifactRef]:
    """Return where the pages lie that the tags of a version name; what is no address is left out."""
    found = {}
    for name in FILES:
        try:
            found[name] = ArtifactRef.model_validate_json(tags.get(_TAG + name, ""))
        except ValidationError:
            continue
    return found


def _description(experiment: str, run_id: str) -> str:
    """Return in Markdown where the card is found in MLflow's own pages, wherever they are served."""
    name = FILES["card"]
    return f"[Model card](#/experiments/{experiment}/runs/{run_id}/artifacts/{name}): `{name}` of run {run_id}."
