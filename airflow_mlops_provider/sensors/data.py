"""Waiting for data."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.sensors.waiting import WaitingSensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.triggers.arrival import DataArrivalTrigger
    from airflow_mlops_provider.triggers.polling import PollResult


class DataArrivalSensor(WaitingSensor):
    """Wait until a file, or a folder with files, exists, is not empty and is complete.

    A folder is complete when it contains its marker. A file or a folder is also complete when it has not changed for
    `stable_for`: no file was added, removed, extended or rewritten since the sensor first saw it in this state.
    The sensor returns `uri`, `files`, `size` in bytes, `fingerprint`, and `complete_by`, which is the marker's name or
    `stability`. Empty files alone are not data. Files whose names begin with `.` or `_` do not count, as in
    `IngestDataOperator`. Data on S3 is accessed like artifacts, through the connection that `[mlops] artifacts_conn_id`
    names.

    .. code-block:: python

        arrived = DataArrivalSensor(
            task_id="arrived",
            uri="/data/flights/day={{ as_of }}",
            stable_for=timedelta(minutes=5),
            poke_interval=30,
            timeout=6 * 3600,
        )

    :param uri: absolute path, `file://` URI or `s3://` URI of a file or folder. Workers and the triggerer must be able
        to read it.
    :param stable_for: how long nothing may change before the data is complete. With None, only the marker counts.
    :param marker: name of the file that is written to a folder last. With None, only `stable_for` counts.
    """

    template_fields: Sequence[str] = ("uri", "marker")

    def __init__(
        self,
        *,
        uri: str,
        stable_for: timedelta | None = timedelta(minutes=1),
        marker: str | None = "_SUCCESS",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.uri = uri
        self.stable_for = stable_for
        self.marker = marker

    def look(self, memory: dict[str, Any]) -> PollResult:
        """List the files."""
        from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook
        from airflow_mlops_provider.storage import is_s3
        from airflow_mlops_provider.triggers.arrival import look_for_data

        options = ObjectStorageHook().options() if is_s3(self.uri) else None
        return look_for_data(**self._question(), memory=memory, options=options)

    def trigger(self, memory: dict[str, Any]) -> DataArrivalTrigger:
        """Return what looks on in the triggerer."""
        from airflow_mlops_provider.triggers.arrival import DataArrivalTrigger

        return DataArrivalTrigger(**self._question(), poke_interval=self.poke_interval, memory=memory)

    def _question(self) -> dict[str, Any]:
        stable_for = None if self.stable_for is None else self.stable_for.total_seconds()
        return {"uri": self.uri, "marker": self.marker, "stable_for": stable_for}
