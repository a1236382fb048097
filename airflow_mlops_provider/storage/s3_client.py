"""Clients of S3 and what is like it: whose they are, how patient they are, and how much they hold in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

_MIB = 1024 * 1024
#: Files from this size on are moved in parts, several at once; bytes.
PART_BYTES = 16 * _MIB
_PARTS_AT_ONCE = 8
#: A connection that is not made, or says nothing, for so long is given up and tried again; seconds.
_CONNECT_TIMEOUT, _READ_TIMEOUT = 10, 60
#: First try included. Between two lies a random time of at most 1, 2, 4, 8 s.
_ATTEMPTS = 5


@dataclass(frozen=True)
class S3Options:
    """How S3 is reached. What is None comes from botocore's own chain: environment, profile, the machine's role.

    :param endpoint_url: of a store that is not Amazon's, such as `https://minio.example.org`.
    :param ca_bundle: file of the authorities that its certificate is checked by.
    :param origin: where these settings come from, for errors.
    """

    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    endpoint_url: str | None = field(default=None, repr=False)
    region_name: str | None = None
    ca_bundle: str | None = None
    origin: str = "environment, profile or role"


def s3_client(options: S3Options) -> Any:
    """Return a boto3 client, the same one for the same settings. It may be used by several threads.

    :raises botocore.exceptions.BotoCoreError: the settings make no client.
    """
    # A forked child must not speak on its parent's connections. Variables may differ from one test or task to the next.
    chain = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))
    return _client(options, os.getpid(), chain)


@lru_cache(maxsize=8)
def _client(options: S3Options, process: int, chain: tuple[tuple[str, str], ...]) -> Any:
    import boto3

    make: Callable[..., Any] = boto3.session.Session().client
    settings = {
        "aws_access_key_id": options.access_key,
        "aws_secret_access_key": options.secret_key,
        "aws_session_token": options.session_token,
        "endpoint_url": options.endpoint_url,
        # Others than Amazon have no regions, but signing needs the name of one.
        "region_name": options.region_name or ("us-east-1" if options.endpoint_url else None),
        "verify": options.ca_bundle,
    }
    client = make("s3", **settings, config=_config("when_supported"))
    if str(urlsplit(client.meta.endpoint_url).hostname).endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return client
    # Amazon's newer checksums trail the body, which older stores refuse. Without them botocore makes the sha256 of each
    # body part of what is signed, which every store checks before it accepts the body.
    return make("s3", **settings, config=_config("when_required"))


def _config(checksums: str) -> Any:
    from botocore.config import Config

    return Config(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=2 * _PARTS_AT_ONCE,
        request_checksum_calculation=checksums,
        response_checksum_validation=checksums,
    )


def transfer_manager(client: Any) -> Any:
    """Return what moves files in parts, in parallel; at most about 50 MB of them are in memory."""
    from boto3.s3.transfer import TransferConfig, create_transfer_manager

    config = TransferConfig(
        multipart_threshold=PART_BYTES,
        multipart_chunksize=PART_BYTES,
        max_concurrency=_PARTS_AT_ONCE,
        preferred_transfer_client="classic",
    )
    return create_transfer_manager(client, config)
