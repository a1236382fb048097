from __future__ import annotations

import pytest

from airflow_mlops_provider.exceptions import DataError, TransientServiceError
from airflow_mlops_provider.hooks import sql


class OperationalError(Exception):
    """As PEP 249 has it; each driver brings its own class of this name."""


@pytest.mark.parametrize(
    ("message", "becomes"),
    [
        ("could not connect to server: Connection refused", TransientServiceError),
        ("(2013, 'Lost connection to MySQL server during query')", TransientServiceError),
        ("FATAL:  the database system is starting up", TransientServiceError),
        ('FATAL:  password authentication failed for user "etl"', DataError),
        ("(1054, \"Unknown column 'age' in 'field list'\")", DataError),
        ("(1045, \"Access denied for user 'etl'@'db'\")", DataError),
    ],
)
def test_only_a_database_that_is_away_is_asked_again(message: str, becomes: type[Exception]) -> None:
    with pytest.raises(becomes, match="'warehouse'"), sql._speaking_of("warehouse", "the query", "Correct it."):
        raise OperationalError(message)
