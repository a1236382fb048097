"""How often something is tried that others may be quicker at: a bounded number of times, with growing pauses."""

from __future__ import annotations

import random
import time

from airflow_mlops_provider.exceptions import TransientServiceError
from airflow_mlops_provider.registry.errors import ContendedError

#: Lost races (or moving heads) in a row after which the retry is left to Airflow.
TRIES = 50
#: Failures of the service itself, which no other process is the cause of.
FAILURES = 5
#: Seconds: no pause is longer than this, nor than the first one doubled with each try.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.5
_MOST_DOUBLINGS = 10


def pause(after: int) -> None:
    """Wait a while, the longer the more tries there were, and not as long as others who began at the same moment."""
    time.sleep(random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(after, _MOST_DOUBLINGS))))


class Patience:
    """Tries that end: `wait` before each.

    :param trouble: the message of the error when no try succeeded.
    """

    def __init__(self, trouble: str) -> None:
        self._trouble = trouble
        self._tries = 0
        self._failures: list[TransientServiceError] = []

    def wait(self) -> None:
        """Wait before a try, the longer the more there were, and not at all before the first.

        :raises TransientServiceError: there were enough; the service's own error when it was that which failed.
        """
        if self._tries == TRIES:
            raise self._failures[-1] if self._failures else TransientServiceError(self._trouble, got=f"{TRIES} tries")
        if self._tries:
            pause(self._tries + 4 * len(self._failures))
        self._tries += 1

    def note(self, failure: TransientServiceError | None) -> None:
        """Note how a try ended: None when nothing failed.

        :raises TransientServiceError: the failure, when the service has failed often enough in a row.
        """
        if failure is None:
            self._failures.clear()
        elif not isinstance(failure, ContendedError):
            self._failures.append(failure)
            if len(self._failures) >= FAILURES:
                raise failure
