"""Files that others have written: listed, and read once each."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mlops_provider.exceptions import DataError, TransientServiceError
from airflow_mlops_provider.storage.addresses import S3Address, is_s3, local_path, s3_address
from airflow_mlops_provider.storage.disk_errors import explained as disk_explained
from airflow_mlops_provider.storage.s3 import download_file, head
from airflow_mlops_provider.storage.s3_client import S3Options, s3_client
from airflow_mlops_provider.storage.s3_errors import explained
from airflow_mlops_provider.storage.scratch import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Iterator


class SourceFile(NamedTuple):
    """One file of a source, and what tells that it changed.

    :param name: path below the listed folder, or the file's own name.
    :param version: size and time of change; on S3 the ETag.
    :param size: in bytes.
    """

    uri: str
    name: str
    version: str
    size: int


def list_files(uri: str, options: S3Options | None = None) -> list[SourceFile]:
    """Return the file that a URI names, or every file below the folder that it names, sorted by name.

    Names that begin with `.` or `_` (markers, temporary files) are left out, as Spark and Arrow do.

    :param options: how S3 is reached, for `s3://` URIs.
    :raises DataError: when there is nothing.
    :raises StorageError: when the disk or S3 refuses.
    :raises TransientServiceError: when either cannot be read for now.
    """
    if is_s3(uri):
        return _list_objects(s3_address(uri), options or S3Options())
    root = local_path(uri)
    with disk_explained("read", root):
        if root.is_file():
            return [_source_file(root, root.name)]
        if not root.is_dir():
            raise _missing(uri)
        names = sorted(path.relative_to(root) for path in _files_below(root))
        try:
            return [_source_file(root / name, name.as_posix()) for name in names if _is_data(name.parts)]
        except FileNotFoundError as error:
            raise TransientServiceError(f"source {uri} changed while it was listed", got=str(error)) from error


@contextmanager
def local_copy(file: SourceFile, options: S3Options | None = None) -> Iterator[Path]:
    """Give a local file with the bytes of a source file while the block runs. Never write to it.

    :raises StorageError: when it may not be read.
    :raises TransientServiceError: when it changed since it was listed, or cannot be read for now.
    """
    if not is_s3(file.uri):
        path = local_path(file.uri)
        with disk_explained("read", path), path.open("rb"):
            pass
        yield path
        return
    with temporary_folder("source") as folder:
        yield _download(file, options or S3Options(), folder)


def _files_below(root: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error  # pathlib passes over a folder that may not be read, as if it were empty

    for folder, _, names in os.walk(root, onerror=refuse):
        yield from (path for name in names if (path := Path(folder) / name).is_file())


def _source_file(path: Path, name: str) -> SourceFile:
    status = path.stat()
    return SourceFile(str(path), name, f"{status.st_size}-{status.st_mtime_ns}", status.st_size)


def _is_data(parts: tuple[str, ...]) -> bool:
    """Return whether a name is one of data; `_$folder$` is how Hadoop's tools mark a folder on S3."""
    return not any(part.startswith((".", "_")) or part.endswith("_$folder$") for part in parts)


def _missing(uri: str) -> DataError:
    return DataError(f"source {uri} is missing", expected="a file, or a folder of files", hint="Correct the path.")


def _list_objects(address: S3Address, options: S3Options) -> list[SourceFile]:
    """Return the object of that key, or those below it."""
    with explained("listed", address, options):
        client = s3_client(options)
        if address.key:
            # The first name with a prefix is the prefix itself, when it is a name.
            first = client.list_objects_v2(Bucket=address.bucket, Prefix=address.key, MaxKeys=1).get("Contents", [])
            if first and first[0]["Key"] == address.key and first[0]["Size"]:
                return [_source_object(address.bucket, first[0], PurePosixPath(address.key).name)]
        prefix = f"{address.key}/" if address.key else ""
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=address.bucket, Prefix=prefix)
        found = [entry for page in pages for entry in page.get("Contents", [])]
    if not found and address.key and first and first[0]["Key"] == address.key:
        return [_source_object(address.bucket, first[0], PurePosixPath(address.key).name)]
    if not found:
        raise _missing(str(address))
    return data_objects([_source_object(address.bucket, entry, entry["Key"].removeprefix(prefix)) for entry in found])


def data_objects(files: list[SourceFile]) -> list[SourceFile]:
    """Return the objects of data below a prefix, sorted: not those by which consoles and tools mark folders.

    A mark is a name that ends with a slash or with `_$folder$`, or an empty object that has others below it.
    """
    folders = {parent.as_posix() for file in files for parent in PurePosixPath(file.name).parents}
    matching = [
        file
        for file in files
        if file.name
        and not file.name.endswith("/")
        and (file.size or file.name not in folders)
        and _is_data(PurePosixPath(file.name).parts)
    ]
    return sorted(matching, key=lambda file: PurePosixPath(file.name))


def _source_object(bucket: str, entry: dict[str, Any], name: str) -> SourceFile:
    return SourceFile(str(S3Address(bucket, entry["Key"])), name, entry["ETag"].strip('"'), entry["Size"])


def _download(file: SourceFile, options: S3Options, folder: Path) -> Path:
    bucket, _, key = file.uri.removeprefix("s3://").partition("/")
    address = S3Address(bucket, key)
    with explained("read", address, options):
        client = s3_client(options)
        path = download_file(client, address, folder, file.size)
        now = head(client, address)
    if path is None or now is None or str(now["ETag"]).strip('"') != file.version:
        raise TransientServiceError(f"{file.uri} changed while it was read", hint="It will be retried.")
    return path.rename(folder / PurePosixPath(file.name).name)
