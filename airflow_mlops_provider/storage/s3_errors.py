"""What S3 and the way to it say, as errors that a person can act on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import MLOpsError, StorageError, TransientServiceError
from airflow_mlops_provider.redaction import cause_to_show, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mlops_provider.storage.addresses import S3Address
    from airflow_mlops_provider.storage.s3_client import S3Options

_KEYS = "the keys are not valid for this store"
_REGION = "it is in another region or at another address"
#: What another try does not mend: the code, what it means, and what to do about it.
_REFUSED = {
    "NoSuchBucket": ("bucket {bucket!r} does not exist", "Create it, or correct the address."),
    "AccessDenied": (
        "permission is missing",
        "The keys need s3:ListBucket on bucket {bucket!r}, and s3:GetObject, s3:PutObject and "
        "s3:AbortMultipartUpload on its objects.",
    ),
    "InvalidAccessKeyId": (f"{_KEYS}: the access key is unknown", "Correct the access key."),
    "SignatureDoesNotMatch": (f"{_KEYS}: the secret key is wrong", "Correct the secret key."),
    "InvalidToken": ("the session token is wrong", "Get a new one."),
    "ExpiredToken": ("the session token has expired", "Get a new one, or use keys or a role that do not expire."),
    "AuthorizationHeaderMalformed": (_REGION, "Set region_name."),
    "PermanentRedirect": (_REGION, "Set region_name, or endpoint_url."),
    "IllegalLocationConstraintException": (_REGION, "Set region_name."),
    "RequestTimeTooSkewed": ("the clocks differ", "Correct this machine's clock."),
    "QuotaExceeded": ("its quota is used up", "Remove unneeded objects, or raise the quota."),
}
_REFUSED["AllAccessDisabled"] = _REFUSED["AccessDenied"]
_REFUSED["403"] = _REFUSED["AccessDenied"]
_REFUSED["301"] = _REFUSED["PermanentRedirect"]

#: What another try may mend, besides every status from 500 on.
_FOR_NOW = frozenset(
    [
        *("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "429"),
        *("RequestTimeout", "OperationAborted", "NoSuchUpload", "InvalidPart"),
        # The bytes were damaged on their way.
        *("XAmzContentSHA256Mismatch", "BadDigest", "IncompleteBody"),
    ]
)
_SLOW = frozenset(["SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "429"])


class BrokenReplyError(Exception):
    """A reply that lacks what every whole one holds."""


@contextmanager
def explained(doing: str, address: S3Address, options: S3Options) -> Iterator[None]:
    """Turn what boto3 raises into errors of ours.

    :param doing: the work in words, such as `written`.
    :raises TransientServiceError: another try may mend it.
    :raises StorageError: a person must act.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError

    moved = (RetriesExceededError, S3DownloadFailedError)
    try:
        yield
    except ClientError as error:
        raise _answered(error, f"{address} cannot be {doing}", address, options) from cause_to_show(error)
    except (BotoCoreError, BrokenReplyError, *moved) as error:
        raise _unanswered(error, f"{address} cannot be {doing}", options) from cause_to_show(error)


def code_of(error: Any) -> str:
    """Return the code of a `ClientError`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _answered(error: Any, what: str, address: S3Address, options: S3Options) -> MLOpsError:
    code = code_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    got = f"{code} from {error.operation_name}"
    if code in _REFUSED:
        why, hint = _REFUSED[code]
        hint = f"{hint} Settings come from {options.origin}."
        bucket = {"bucket": address.bucket}
        return StorageError(f"{what}: {why.format(**bucket)}", got=got, hint=hint.format(**bucket))
    if code in _SLOW or status == 503:
        return TransientServiceError(f"{what}: S3 is throttling requests", got=got, hint="It will be retried.")
    if code in _FOR_NOW or status >= 500:
        return TransientServiceError(what, got=got, hint="It will be retried.")
    message = error.response.get("Error", {}).get("Message") or "no message"
    return StorageError(what, got=f"{got}: {message}", hint=f"Settings come from {options.origin}.")


def _unanswered(error: Exception, what: str, options: S3Options) -> MLOpsError:
    from botocore import exceptions as known

    kind = type(error).__name__
    if isinstance(error, (known.NoCredentialsError, known.PartialCredentialsError)):
        return StorageError(
            f"{what}: there are no access keys",
            got=str(error),
            expected="an access key and its secret",
            hint="Set `[mlops] artifacts_conn_id` to an `aws` connection, or give the worker keys or a role.",
        )
    if isinstance(error, known.SSLError):
        return StorageError(
            f"{what}: the certificate of {_endpoint(error, options)} is not trusted",
            got=str(error.kwargs.get("error")),
            hint="Set `verify` in the connection, or AWS_CA_BUNDLE, to the file of its certificate authority.",
        )
    unreached = (known.EndpointConnectionError, known.ConnectTimeoutError, known.ProxyConnectionError)
    if isinstance(error, unreached):
        return TransientServiceError(
            f"{what}: nothing answers at {_endpoint(error, options)}",
            got=kind,
            hint="Check the address, and that the store is running.",
        )
    elsewhere = (known.IncompleteReadError, BrokenReplyError)
    if isinstance(error, (known.HTTPClientError, *elsewhere)) or not isinstance(error, known.BotoCoreError):
        return TransientServiceError(f"{what}: the reply was lost", got=f"{kind}: {error}", hint="It will be retried.")
    return StorageError(what, got=f"{kind}: {error}", hint=f"Settings come from {options.origin}.")


def _endpoint(error: Any, options: S3Options) -> str:
    """Return the endpoint that was contacted."""
    return shown(options.endpoint_url or error.kwargs.get("endpoint_url"))
