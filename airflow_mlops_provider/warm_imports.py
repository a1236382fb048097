"""A listener that imports the ML libraries and this package in the scheduler, before it forks its workers.

LocalExecutor forks the scheduler into workers and a worker into each task: what the scheduler has imported, no task
imports again, and each saves one to three seconds. Import only: a library that has started threads does not survive
a fork. Opt-in (`[mlops] warm_imports`), and of use on Linux with LocalExecutor alone.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import sys
import warnings
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.sdk import conf

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

_LIBRARIES = (
    "pandas",
    "pyarrow.acero",
    "pyarrow.csv",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.inspection",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.pipeline",
    "skops.io",
    "great_expectations",
    "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
)
#: Packages of this one whose modules tasks import one by one.
_PACKAGES = ("dag_templates", "effects", "hooks", "operators", "steps")


@hookimpl
def on_starting(component: Any) -> None:
    """Import, once, in the scheduler; the DAG processor, the triggerer and every task come by here too."""
    # A job has no type yet when it starts; a task, which has no job, inherits the scheduler's command line.
    if type(component).__name__ != "Job" or sys.argv[1:2] != ["scheduler"]:
        return
    if not conf.getboolean("mlops", "warm_imports", fallback=False):
        return
    import_all()
    log.info("ML libraries are imported; tasks forked from this scheduler do not import them again.")


def import_all() -> None:
    """Import the ML libraries, and then this package, into this process; what is missing is logged, and no error."""
    # Great Expectations logs a line for each of hundreds of functions while it is imported.
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries' own making; each task would show them again
        for module in (*_LIBRARIES, *_own_modules()):
            try:
                importlib.import_module(module)
            except ImportError as error:
                log.warning("Not imported in advance: %s (%s)", module, error)
        _complete_models()


def _own_modules() -> Iterator[str]:
    """Yield what tasks import of this package; what stands below is imported with it."""
    root = __name__.rpartition(".")[0]
    for name in _PACKAGES:
        package = importlib.import_module(f"{root}.{name}")
        yield from (found.name for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."))
    yield f"{root}.runner"


def _complete_models() -> None:
    """Build what validates the models of this package, which they put off until they are used first."""
    from airflow_mlops_provider.spec import Frozen

    models: list[type[Frozen]] = [Frozen]
    while models:
        model = models.pop()
        model.model_rebuild(raise_errors=False)
        models += model.__subclasses__()
