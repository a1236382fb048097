"""What a disk says, as errors that a person can act on; for S3 `s3_errors` does the same."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_mlops_provider.exceptions import MLOpsError, StorageError, TransientServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAKE_ROOM = "Make room, or raise the limit, then clear the task: no partial file was left behind."
_PERMIT = "Give user {user} permission on it and on the folders above it, or correct the address."
_AGAIN = "It will be retried."
_FILE_SERVER = "It will be retried. If that does not help, check the disk or the file server."

#: What another try does not mend: what it means, and what to do about it. A full disk is among them, as a used-up quota
#: of S3 is: nothing in a store is ever deleted, so waiting makes no room.
_REFUSED = {
    errno.EACCES: ("permission is missing", _PERMIT),
    errno.EPERM: ("permission is missing", _PERMIT),
    errno.EROFS: ("it is on a disk mounted read-only", "Mount it writable, or correct the address."),
    errno.ENOSPC: ("the disk is full", _MAKE_ROOM),
    errno.EDQUOT: ("the user's disk quota is used up", _MAKE_ROOM),
    errno.EFBIG: ("the file is larger than this disk or process may write", _MAKE_ROOM),
    errno.ENOTDIR: ("a file is where a folder should be", "Remove the file, or correct the address."),
    errno.EEXIST: ("a file is where a folder should be", "Remove the file, or correct the address."),
    errno.EISDIR: ("a folder is where a file should be", "Remove the folder, or correct the address."),
    errno.ENOENT: ("it, or a folder above it, is gone", "Check that the folder exists and is mounted."),
    errno.ENAMETOOLONG: ("its name is too long", "Choose a shorter name, or a folder with a shorter path."),
    errno.ELOOP: ("its links form a loop", "Correct the links."),
    errno.EINVAL: ("the disk does not support it", "Use a folder on another kind of disk."),
    errno.EXDEV: ("parts of the folder lie on different disks", "Keep the whole store on one disk."),
    errno.EMLINK: ("the folder is full", "Use a folder on another kind of disk."),
    errno.ENODEV: ("the disk is gone", "Mount it again."),
    errno.ENXIO: ("the disk is gone", "Mount it again."),
}

#: What another try may mend, on this machine or another. A file server that restarts gives stale handles and errors of
#: input and output; a disk that fails for good gives the latter as well, and says so again at each try.
_FOR_NOW = {
    errno.ESTALE: ("the file server no longer has it", _FILE_SERVER),
    errno.EIO: ("the disk, or the connection to it, failed", _FILE_SERVER),
    errno.ENOTCONN: ("the mounted disk is not connected", _FILE_SERVER),
    errno.EREMOTEIO: ("the file server failed", _FILE_SERVER),
    errno.ETIMEDOUT: ("the file server does not answer", _FILE_SERVER),
    errno.EHOSTDOWN: ("the file server does not answer", _FILE_SERVER),
    errno.EHOSTUNREACH: ("the file server cannot be reached", _FILE_SERVER),
    errno.ENETUNREACH: ("the file server cannot be reached", _FILE_SERVER),
    errno.EMFILE: ("this process has too many files open", f"{_AGAIN} Raise its limit (`ulimit -n`)."),
    errno.ENFILE: ("this machine has too many files open", f"{_AGAIN} Raise its limit (`fs.file-max`)."),
    errno.ENOMEM: ("the machine is out of memory", _AGAIN),
    errno.ENOBUFS: ("the machine is out of memory", _AGAIN),
    errno.EAGAIN: ("the disk is busy", _AGAIN),
    errno.EBUSY: ("the disk is busy", _AGAIN),
    errno.ENOLCK: ("the disk is busy", _AGAIN),
    errno.EINTR: ("it was interrupted", _AGAIN),
}
#: What a plugin may mean by itself: a file of its own that is missing is no trouble of the disk.
_ANYBODYS = frozenset([errno.ENOENT, errno.EEXIST, errno.EINVAL])


@contextmanager
def explained(doing: str, place: Path) -> Iterator[None]:
    """Turn what a disk says into errors of ours.

    :param doing: the work in words, such as `written`.
    :raises TransientServiceError: another try may mend it.
    :raises StorageError: a person must act.
    """
    try:
        yield
    except OSError as error:
        raise _translated(error, doing, place) from error


@contextmanager
def guarded(place: Path | str) -> Iterator[None]:
    """Do so around work of many kinds, such as a step: only for what a disk alone can say.

    :param place: named when the error names no file.
    """
    try:
        yield
    except OSError as error:
        if not of_disk(error):
            raise
        raise _translated(error, "used", place) from error


def of_disk(error: BaseException) -> bool:
    """Return whether an error is a disk's, not that of a connection, a damaged file or a plugin."""
    if not isinstance(error, OSError) or isinstance(error, (ConnectionError, TimeoutError)):
        return False
    if error.errno in _ANYBODYS:
        return False
    return error.errno in _REFUSED or error.errno in _FOR_NOW


def _translated(error: OSError, doing: str, place: Path | str) -> MLOpsError:
    # What was to be written is named, not the temporary file that it was to be renamed from.
    where = place if doing != "used" else error.filename2 or error.filename or place
    got = error.strerror or str(error)
    if error.errno in _FOR_NOW:
        why, hint = _FOR_NOW[error.errno]
        return TransientServiceError(f"{where} cannot be {doing}: {why}", got=got, hint=hint)
    why, hint = _REFUSED.get(error.errno or 0, ("the disk refused it", "Check the disk, or correct the address."))
    return StorageError(f"{where} cannot be {doing}: {why}", got=got, hint=hint.format(user=os.geteuid()))
