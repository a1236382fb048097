"""Everything that runs leave behind, to be searched for what must not be there."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from services.ceph import Ceph


class Leftovers:
    """What was written, by where: files, objects of a bucket, rows of databases.

    :param folders: searched with all that lies in them.
    :param databases: addresses for SQLAlchemy; a SQLite file in one of the folders is searched as it is.
    """

    def __init__(self, folders: Iterable[Path], s3: Ceph, bucket: str, databases: Iterable[str] = ()) -> None:
        self._places: dict[str, bytes] = {}
        for file in (file for folder in folders for file in folder.rglob("*") if file.is_file()):
            self._places[str(file)] = file.read_bytes()
        client = s3.client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for item in page.get("Contents", []):
                body = client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
                self._places[f"s3://{bucket}/{item['Key']}"] = body
        client.close()
        for number, address in enumerate(databases):
            self._read_tables(number, address)

    def _read_tables(self, number: int, address: str) -> None:
        engine = sqlalchemy.create_engine(address)
        with engine.connect() as connection:
            for table in sqlalchemy.inspect(engine).get_table_names():
                rows = connection.execute(sqlalchemy.text(f'select * from "{table}"')).fetchall()
                message = b"\n".join(_written(cell) for row in rows for cell in row)
                self._places[f"database {number}, table {table}"] = message
        engine.dispose()

    def holding(self, text: str) -> list[str]:
        """Return where a text is found."""
        return [place for place, content in self._places.items() if text.encode() in content]

    def holding_secret(self, login: str, password: str) -> list[str]:
        """Return where a password is found: plain, in an address, in JSON, in the header of a request."""
        header = base64.b64encode(f"{login}:{password}".encode()).decode()
        shapes = {password, quote(password, safe=""), json.dumps(password)[1:-1], header}
        return sorted({place for shape in shapes for place in self.holding(shape)})


def _written(cell: Any) -> bytes:
    """Return a value of a row as it was written: what was pickled as it is, what is JSON as such."""
    if isinstance(cell, (bytes, memoryview)):
        return bytes(cell)
    return (cell if isinstance(cell, str) else json.dumps(cell, default=str, ensure_ascii=False)).encode()
