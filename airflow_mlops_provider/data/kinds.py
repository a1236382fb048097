"""Kinds of Arrow values, and what those look like that Arrow has no text for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def is_number(kind: pa.DataType) -> bool:
    """Return whether values of an Arrow type are numbers."""
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_binary(kind: pa.DataType) -> bool:
    """Return whether values of an Arrow type are bytes of any length."""
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def is_uuid(kind: pa.DataType) -> bool:
    """Return whether values of an Arrow type are UUIDs, and say so."""
    return getattr(kind, "extension_name", "") == "arrow.uuid"


def without_nan(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return floats with a missing value for each NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)


def uuid_texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values of 16 bytes as people write UUIDs.

    >>> import pyarrow as pa
    >>> uuid_texts(pa.chunked_array([pa.array([bytes(range(16)), None], pa.binary(16))])).to_pylist()
    ['00010203-0405-0607-0809-0a0b0c0d0e0f', None]
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    chunks = []
    for chunk in values.chunks:
        if not len(chunk):
            continue
        whole = pc.fill_null(chunk, pa.scalar(bytes(16), pa.binary(16)))
        raw = np.frombuffer(whole.cast(pa.binary()).buffers()[2], np.uint8)
        raw = raw[: 16 * len(chunk)].reshape(-1, 16)
        digits = np.frombuffer(b"0123456789abcdef", np.uint8)[np.stack([raw >> 4, raw & 15], axis=2).reshape(-1, 32)]
        text = np.insert(digits, [8, 12, 16, 20], ord("-"), axis=1)
        whole = pa.Array.from_buffers(pa.binary(36), len(chunk), [None, pa.py_buffer(text.tobytes())])
        chunks.append(pc.if_else(pc.is_valid(chunk), whole.cast(pa.string()), pa.scalar(None, pa.string())))
    return pa.chunked_array(chunks, pa.string())
