"""The routes. Each asks for Airflow's login and permissions, none changes anything, none is described to strangers."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Annotated

from airflow.api_fastapi.core_api.security import GetUserDep, get_user
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from pydantic import Field

from airflow_mlops_provider.collector import collector_paused
from airflow_mlops_provider.exceptions import MLOpsError, TransientServiceError
from airflow_mlops_provider.ui import models, one_model, rendering, reports, sources
from airflow_mlops_provider.ui.security import Name, sees_pipeline, sees_report, sees_window

#: A model's version, no longer than databases take.
Version = Annotated[int, Field(ge=1, lt=2**31)]


@cache
def pages() -> FastAPI:
    """Return the app, made once."""
    # Each page's own permissions come on top of the login.
    app = FastAPI(
        title="MLOps pages", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(get_user)]
    )
    pipeline, report = [Depends(sees_pipeline)], [Depends(sees_report)]
    window = [*pipeline, Depends(sees_window)]
    task = "/reports/{dag_id}/{run_id}/{task_id}/{map_index}"
    app.add_api_route("/", _opening)
    app.add_api_route("/static/{name}", _static)
    app.add_api_route("/models", _models)
    app.add_api_route("/models/{pipeline}", _model, dependencies=pipeline)
    app.add_api_route("/models/{pipeline}/windows/{window}", _window, dependencies=window)
    app.add_api_route("/models/{pipeline}/versions/{version}/{page}", _version_page, dependencies=pipeline)
    app.add_api_route(task, _report, dependencies=report)
    app.add_api_route(task + "/{role}", _stored, dependencies=report)
    app.add_exception_handler(MLOpsError, _trouble)
    return app


def warm() -> None:
    """Do once what a server's first page would wait for: import MLflow, and have it answer.

    What goes wrong is shown on the page when somebody opens it.
    """
    # A collection of Airflow's heap amid imports would hold up the server's other requests for half a second.
    with collector_paused(), suppress(MLOpsError):
        pages()
        models.overviews_of(sources.every_pipeline())


def _static(name: Name) -> Response:
    found = rendering.static(name)
    if found is None:
        raise HTTPException(404, "File not found.")
    return found


async def _opening(request: Request) -> Response:
    """Lead to the list, and say so while that takes long: at once, with no thread, which may all wait for MLflow."""
    return rendering.page(request, "opening.html")


def _models(request: Request, user: GetUserDep) -> Response:
    return rendering.page(request, "models.html", **models.models_page(user))


def _model(
    request: Request, pipeline: Name, user: GetUserDep, first: Version | None = None, second: Version | None = None
) -> Response:
    return rendering.page(request, "model.html", **one_model.model_page(pipeline, user, first, second))


def _window(pipeline: Name, window: Name, theme: rendering.Theme | None = None) -> Response:
    return reports.window_report(pipeline, window, theme)


def _version_page(pipeline: Name, version: Version, page: Name, theme: rendering.Theme | None = None) -> Response:
    return reports.version_page(pipeline, version, page, theme)


def _report(request: Request, dag_id: Name, run_id: Name, task_id: Name, map_index: Name) -> Response:
    found = reports.task_report(dag_id, run_id, task_id, map_index)
    return rendering.page(request, "report.html", **found)


def _stored(
    dag_id: Name, run_id: Name, task_id: Name, map_index: Name, role: Name, theme: rendering.Theme | None = None
) -> Response:
    return reports.stored_page(dag_id, run_id, task_id, map_index, role, theme)


async def _trouble(request: Request, error: Exception) -> Response:
    """Say what is wrong in a page, as the error says it."""
    status = 503 if isinstance(error, TransientServiceError) else 500
    return rendering.page(request, "trouble.html", status, trouble=str(error))
