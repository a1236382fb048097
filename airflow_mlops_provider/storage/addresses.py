"""Where objects lie: paths, `file://` and `s3://` URIs, and keys inside a store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from airflow_mlops_provider.exceptions import ArtifactError
from airflow_mlops_provider.redaction import shown

_S3 = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")


def safe_key(key: str) -> str:
    """Return `key` when it can only address an object inside its store.

    :raises ArtifactError: for an empty, absolute or dotted key, NUL, backslash, or `%`, which some stores decode.

    >>> safe_key("receipts/train/ab12/receipt.json")
    'receipts/train/ab12/receipt.json'
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(mark in key for mark in ("\0", "\\", "%")):
        raise ArtifactError(
            "this object key is not allowed", got=key, expected="a relative path without '..', '%', '\\' or NUL"
        )
    return key


def local_path(uri: str) -> Path:
    """Return the path that a `file://` URI or a plain path names.

    :raises ArtifactError: for any other scheme.
    """
    try:
        parts = urlsplit(uri)
    except ValueError:  # half of an IPv6 address
        parts = None
    if parts is not None and parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    if parts is not None and parts.scheme == "":
        return Path(uri)
    expected = "a local path or file:///absolute/path" + ("" if is_s3(uri) else ", or s3://bucket/prefix")
    raise ArtifactError("this address cannot be opened", got=shown(uri), expected=expected)


def is_s3(uri: str) -> bool:
    """Return whether a URI names a place on S3."""
    return uri.startswith(_S3)


class S3Address(NamedTuple):
    """A bucket, and a key or a prefix in it, without a slash at its end."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{_S3}{self.bucket}/{self.key}"


def s3_address(uri: str) -> S3Address:
    """Return what an `s3://` URI names. Nothing in it is decoded: what stands there is the key.

    :raises ArtifactError: when it names no bucket.

    >>> s3_address("s3://models/mlops/")
    S3Address(bucket='models', key='mlops')
    """
    bucket, _, key = uri.removeprefix(_S3).partition("/")
    if not is_s3(uri) or not _BUCKET.fullmatch(bucket):
        raise ArtifactError("this address cannot be opened", got=shown(uri), expected="s3://bucket/prefix")
    return S3Address(bucket, key.rstrip("/"))
