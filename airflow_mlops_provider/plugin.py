"""What Airflow loads of this package in each of its processes: keep it light."""

from __future__ import annotations

import threading
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_mlops_provider import warm_imports

#: Where the pages are mounted.
PREFIX = "/mlops"
#: Relative to Airflow's own address, which may lie below a path.
_PAGES = PREFIX.removeprefix("/")


class _LazyPages:
    """The app of the pages, built by the first request: most processes that load plugins never serve one."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        from airflow_mlops_provider.ui.app import pages

        await pages()(scope, receive, send)


def _warmed(app: Any) -> Any:
    """Begin, in the background, what the first page would wait for, and return Airflow's server as it is.

    A middleware that no request passes: a server makes its middlewares when it begins to serve, in each of its own
    processes and after every fork, and no other process of Airflow does.
    """
    threading.Thread(target=_warm, name="mlops-warm", daemon=True).start()
    return app


def _warm() -> None:
    from airflow_mlops_provider.ui.app import warm

    warm()


def _icon(colour: str, around: str) -> str:
    """Return a picture for the navigation: bars under a line.

    :param around: of a seam, which shows it on the dark ground of the page that is open.
    """
    drawn = "d='M5 20v-7M12 20v-9M19 20v-6M4 8l6 1 5-5 5 3'"
    return (
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' "
        "stroke-linecap='round' stroke-linejoin='round'%3E"
        f"%3Cpath stroke='{around}' stroke-width='5' {drawn}/%3E%3Cpath stroke='{colour}' stroke-width='2' {drawn}/%3E"
        "%3C/svg%3E"
    )


class MLOpsPlugin(AirflowPlugin):
    """The listener that warms imports, when it is configured to, and the pages in Airflow's UI."""

    name = "mlops"
    listeners = [warm_imports]
    fastapi_apps = [{"app": _LazyPages(), "url_prefix": PREFIX, "name": "MLOps pages"}]
    fastapi_root_middlewares = [{"middleware": _warmed, "args": [], "kwargs": {}, "name": "MLOps pages"}]
    external_views = [
        {
            "name": "Models",
            "href": f"{_PAGES}/",
            "destination": "nav",
            "nav_top_level": True,
            "url_route": "models",
            "icon": _icon("%233b5470", "%23dce7f5"),
            "icon_dark_mode": _icon("%23dfe3e8", "none"),
        },
        {
            "name": "Report",
            "href": f"{_PAGES}/reports/{{DAG_ID}}/{{RUN_ID}}/{{TASK_ID}}/{{MAP_INDEX}}",
            "destination": "task_instance",
            "url_route": "mlops-report",
        },
    ]
