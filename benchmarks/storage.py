"""An artifact to S3 and back, beside the same boto3 transfer configured by hand; and two ways to read Parquet there.

    python benchmarks/storage.py            # on a Ceph gateway of its own (root, Debian: radosgw ceph-mon ceph-osd)
    python benchmarks/storage.py --bucket B # on the S3 that botocore's own chain finds

Each transfer is a process of its own, the contestants take turns, and what is printed is each one's median. Ours hashes
what it writes and checks what it reads; by hand nobody does.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "integration"), str(PROJECT / "tests" / "faults")]

_MIB = 1024 * 1024
_OURS, _BY_HAND = "artifact store", "boto3 by hand"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bucket")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        print(json.dumps(work(*args.work)))
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlops-bench-")))
        bucket = args.bucket or own_bucket(stack)
        transfers(bucket, folder, args.mib, args.rounds)
        tables(bucket, folder, args.mib, args.rounds)


def own_bucket(stack: ExitStack) -> str:
    from services.ceph import ceph

    running = stack.enter_context(ceph())
    os.environ.update(running.environment())
    return running.bucket()


def transfers(bucket: str, folder: Path, mib: int, rounds: int) -> None:
    measured: dict[tuple[str, str], list[dict[str, float]]] = {}
    for number in range(rounds):
        # Another file each time: what is there already is not uploaded.
        file = folder / "artifact"
        with file.open("wb") as out:
            for _ in range(mib):
                out.write(os.urandom(_MIB))
        contestants = [("ours", _OURS), ("hand", _BY_HAND)]
        for name, label in contestants if number % 2 else contestants[::-1]:
            given = folder / "given"
            shutil.copyfile(file, given)
            address = f"s3://{bucket}/{name}"
            up = run(f"{name}_up", address, str(given))
            down = run(f"{name}_down", address, json.dumps(up["ref"]))
            measured.setdefault(("upload", label), []).append(up)
            measured.setdefault(("download", label), []).append(down)
    print(f"\n{mib} MiB, median of {rounds}\n\n| | upload | download | peak memory |\n|---|---|---|---|")
    medians = {what: statistics.median(one["seconds"] for one in found) for what, found in measured.items()}
    for label in (_OURS, _BY_HAND):
        peak = max(one["peak"] for way in ("upload", "download") for one in measured[way, label])
        cells = [
            f"{medians[way, label]:.2f} s, {mib / medians[way, label]:.0f} MiB/s" for way in ("upload", "download")
        ]
        print(f"| {label} | {cells[0]} | {cells[1]} | {peak:.0f} MiB |")
    ratios = [medians[way, _BY_HAND] / medians[way, _OURS] for way in ("upload", "download")]
    print(f"| speed of ours, by hand = 1 | {ratios[0]:.2f} | {ratios[1]:.2f} | |")


def tables(bucket: str, folder: Path, mib: int, rounds: int) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    file, rows, rng = folder / "table.parquet", 65_536, np.random.default_rng(0)
    with pq.ParquetWriter(file, pa.schema([(f"x{i}", pa.float64()) for i in range(8)]), compression="zstd") as writer:
        for _ in range(max(mib // 4 // 4, 1)):
            writer.write_table(pa.table({f"x{i}": rng.normal(size=rows) for i in range(8)}), row_group_size=rows)
    size = file.stat().st_size
    address = f"s3://{bucket}/table"
    up = run("ours_up", address, str(file))
    print(f"\nParquet of {size / _MIB:.0f} MiB, 8 columns, row group by row group, median of {rounds}\n")
    print("| | replies | all columns | 2 columns | peak memory |\n|---|---|---|---|---|")
    for latency in (0.0, 0.03) if "AWS_ENDPOINT_URL_S3" in os.environ else (0.0,):
        with ExitStack() as stack:
            if latency:
                distant(stack, latency)
            for way, label in (("scratch", "copied to scratch, digest checked"), ("ranges", "one range after another")):
                cells, peaks = [], []
                for columns in (8, 2):
                    found = [run(f"{way}_{columns}", address, json.dumps(up["ref"])) for _ in range(rounds)]
                    cells.append(f"{statistics.median(one['seconds'] for one in found):.2f} s")
                    peaks += [one["peak"] for one in found]
                print(f"| {label} | {latency * 1000:.0f} ms later | {' | '.join(cells)} | {max(peaks):.0f} MiB |")


def distant(stack: ExitStack, latency: float) -> None:
    """Put a store on loopback as far away as one on a network."""
    from fault_proxy import FaultProxy, delay

    here = os.environ["AWS_ENDPOINT_URL_S3"]
    proxy = stack.enter_context(FaultProxy(here))
    proxy.fail(delay(latency), times=1_000_000)
    os.environ["AWS_ENDPOINT_URL_S3"] = proxy.url
    stack.callback(os.environ.update, {"AWS_ENDPOINT_URL_S3": here})


def run(task: str, address: str, what: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, "--work", task, address, what], stdout=subprocess.PIPE, check=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def work(task: str, address: str, what: str) -> dict[str, Any]:
    """One transfer, timed without Python's start and the imports."""
    import boto3

    name, _, way = task.partition("_")
    if name in ("scratch", "ranges"):
        import pyarrow.parquet  # noqa: F401  # so that no transfer is timed with it
    boto3.client("s3").close()
    started = time.perf_counter()
    ref = {"ours": ours, "hand": by_hand, "scratch": read_scratch, "ranges": read_ranges}[name](way, address, what)
    seconds = time.perf_counter() - started
    # Not ru_maxrss, which begins with what the parent had when it started this process.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return {"seconds": seconds, "peak": int(status["VmHWM"].split()[0]) / 1024, "ref": ref}


def ours(way: str, address: str, what: str) -> Any:
    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore

    store = ArtifactStore(address)
    if way == "up":
        return store.add(Path(what), ".parquet" if what.endswith("parquet") else ".bin").model_dump()
    store.fetch(ArtifactRef(**json.loads(what)))
    return None


def by_hand(way: str, address: str, what: str) -> Any:
    import boto3
    from boto3.s3.transfer import TransferConfig

    bucket, _, key = address.removeprefix("s3://").partition("/")
    config = TransferConfig(multipart_threshold=16 * _MIB, multipart_chunksize=16 * _MIB, max_concurrency=8)
    client = boto3.client("s3")
    if way == "up":
        client.upload_file(what, bucket, key, Config=config)
    else:
        with tempfile.TemporaryDirectory() as folder:
            client.download_file(bucket, key, f"{folder}/copy", Config=config)


def read_scratch(way: str, address: str, what: str) -> None:
    import pyarrow.parquet as pq

    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore

    read_groups(pq.ParquetFile(ArtifactStore(address).fetch(ArtifactRef(**json.loads(what))), pre_buffer=False), way)


def read_ranges(way: str, address: str, what: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    read_groups(pq.ParquetFile(pa.PythonFile(RangeFile(json.loads(what)), mode="r"), pre_buffer=False), way)


def read_groups(file: Any, columns: str) -> None:
    with file:
        for index in range(file.num_row_groups):
            file.read_row_group(index, columns=[f"x{i}" for i in range(int(columns))])


class RangeFile(io.RawIOBase):
    """An object on S3 as a file in which one can seek: each read is a request."""

    def __init__(self, ref: dict[str, Any]) -> None:
        import boto3

        self.client, self.size, self.position = boto3.client("s3"), ref["size"], 0
        self.bucket, _, self.key = ref["uri"].removeprefix("s3://").partition("/")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence] + offset
        return self.position

    def read(self, size: int = -1) -> bytes:
        end = self.size if size < 0 else min(self.position + size, self.size)
        if end <= self.position:
            return b""
        span = f"bytes={self.position}-{end - 1}"
        content: bytes = self.client.get_object(Bucket=self.bucket, Key=self.key, Range=span)["Body"].read()
        self.position += len(content)
        return content


if __name__ == "__main__":
    main()
