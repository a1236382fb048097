"""The entry of a container: `python -m airflow_mlops_provider run STEP`.

One line of JSON in (`wire.Order`), one line of JSON out (`wire.Answer`). Exit code 0 with a result, also when its
verdict is bad; 1 with an error. Knows no Airflow.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import TYPE_CHECKING

from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.runner import STEPS, run_step
from airflow_mlops_provider.storage import ArtifactStore, S3Options
from airflow_mlops_provider.wire import Order, StepAnswer, Trouble, order_in

if TYPE_CHECKING:
    from airflow_mlops_provider.results import StepResult


def main(arguments: list[str] | None = None) -> int:
    """Run one step, and return the exit code."""
    parser = argparse.ArgumentParser("airflow_mlops_provider", description="Run a compute step without Airflow.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="read a request from standard input and write the result to standard output")
    run.add_argument("step", choices=STEPS)
    step = parser.parse_args(arguments).step
    # Whatever a library prints belongs to the log: the answer stands alone.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
        logging.captureWarnings(True)
        answer = answer_to(sys.stdin.readline(), step)
        out.write(answer.model_dump_json() + "\n")
    return 0 if answer.result else 1


def answer_to(line: str, step: str) -> StepAnswer:
    """Run the step in an order, and return its result or what went wrong."""
    try:
        return StepAnswer(result=_run(order_in(line, step)))
    except Exception as error:
        if not isinstance(error, MLOpsError):
            logging.getLogger(__name__).exception("Step %s failed", step)
        return StepAnswer(trouble=Trouble.of(error, step))


def _run(order: Order) -> StepResult:
    folder = order.request.allow_list.plugins_folder
    if folder is not None and folder not in sys.path:
        sys.path.append(folder)  # as Airflow does
    store = ArtifactStore(order.store, S3Options(**order.options), order.secret)
    return run_step(order.request, store, image=order.image)


if __name__ == "__main__":
    sys.exit(main())
