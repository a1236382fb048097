"""Who may see which page: Airflow's login and its permissions on DAGs, checked before anything is read."""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.dag import DagModel
from fastapi import Path, Request

#: A name in a page's address, as long as Airflow's own at most; databases take no NUL.
Name = Annotated[str, Path(max_length=250, pattern=r"^[^\x00]+$")]

#: The DAG by whose permission a pipeline's pages are seen.
READ_BY = "training"
#: A pipeline's DAGs, in the order in which its life runs through them.
KINDS = ("training", "scoring", "monitoring", "rollback")
#: What of a DAG one has to be allowed to read to see what its runs returned.
_RESULTS = (None, DagAccessEntity.XCOM)


def dag_id(pipeline: str, kind: str = READ_BY) -> str:
    """Return the id of one of a pipeline's DAGs."""
    return f"{pipeline}_{kind}"


def sees_pipeline(pipeline: Name, request: Request, user: GetUserDep) -> None:
    """Let nobody pass who may not read the pipeline's training DAG, nor what its runs returned.

    :raises HTTPException: 401 without a login, 403 without the permission.
    """
    _lets_pass(dag_id(pipeline), request, user)


def sees_window(pipeline: Name, request: Request, user: GetUserDep) -> None:
    """Let nobody pass who may not read the pipeline's monitoring DAG, nor what its runs returned.

    :raises HTTPException: 401 without a login, 403 without the permission.
    """
    _lets_pass(dag_id(pipeline, "monitoring"), request, user)


def sees_report(dag_id: Name, request: Request, user: GetUserDep) -> None:
    """Let nobody pass who may not read what the DAG's runs returned.

    :raises HTTPException: 401 without a login, 403 without the permission.
    """
    _lets_pass(dag_id, request, user)


def _lets_pass(dag: str, request: Request, user: GetUserDep) -> None:
    for entity in _RESULTS:
        requires_access_dag("GET", entity, param_dag_id=dag)(request, user)


def readable_dags(dags: list[str], user: GetUserDep) -> set[str]:
    """Return those of these DAGs that a user may read."""
    teams = DagModel.get_dag_id_to_team_name_mapping(dags)
    by_team: dict[str | None, set[str]] = {}
    for dag in dags:
        by_team.setdefault(teams.get(dag), set()).add(dag)
    manager = get_auth_manager()
    allowed = [
        manager.filter_authorized_dag_ids(dag_ids=ids, user=user, team_name=team) for team, ids in by_team.items()
    ]
    return set().union(*allowed)


def seen_pipelines(pipelines: list[str], user: GetUserDep) -> set[str]:
    """Return the pipelines of which a user may read the training DAG."""
    wanted = {dag_id(name): name for name in pipelines}
    return {wanted[known] for known in readable_dags(list(wanted), user)}


def may_run(dag: str, user: GetUserDep) -> bool:
    """Return whether a user may trigger a DAG; Airflow's API asks this again when the user does."""
    return get_auth_manager().is_authorized_dag(
        method="POST",
        access_entity=DagAccessEntity.RUN,
        details=DagDetails(id=dag, team_name=DagModel.get_team_name(dag)),
        user=user,
    )


def reads_results(dag: str, user: GetUserDep) -> bool:
    """Return whether a user may read what a DAG's runs returned."""
    details = DagDetails(id=dag, team_name=DagModel.get_team_name(dag))
    manager = get_auth_manager()
    return all(
        manager.is_authorized_dag(method="GET", access_entity=entity, details=details, user=user) for entity in _RESULTS
    )
