"""What a disk says, in words: on disks that are full, read-only, forbidden, not there, or not what they should be."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stored_objects import KEY, receipt

from airflow_mlops_provider.exceptions import MLOpsError, StorageError, TransientServiceError
from airflow_mlops_provider.storage import ArtifactStore, temporary_folder
from airflow_mlops_provider.storage.disk_errors import explained, guarded
from airflow_mlops_provider.storage.journal import Journal
from airflow_mlops_provider.storage.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BIG = os.urandom(200_000)
ROOT = os.geteuid() == 0
FULL = "(the disk is full|the file is larger)"


def table(store: ArtifactStore) -> None:
    import pyarrow as pa

    from airflow_mlops_provider.data.tables import TableInfo, write_table

    columns = {"target": "y", "numeric": ["x"]}
    schema = pa.schema([("x", pa.binary()), ("y", pa.binary())])
    batch = pa.table({"x": [BIG], "y": [BIG[::-1]]}, schema=schema)
    info = TableInfo.model_validate({"task": "binary", "columns": columns})
    write_table(store, [batch], schema, info)


def model(store: ArtifactStore) -> None:
    import numpy as np
    from sklearn.neighbors import KNeighborsClassifier

    from airflow_mlops_provider.modeling.model_file import save_model

    rows = np.random.default_rng(0).random((4000, 8))
    fitted = KNeighborsClassifier().fit(rows, np.arange(4000) % 2)
    with store.workspace() as folder:
        save_model(fitted, folder / "model.skops")


#: Everything that writes into a store.
WRITES: dict[str, Callable[[ArtifactStore], object]] = {
    "add_bytes": lambda store: store.add_bytes(BIG, ".bin"),
    "add_json": lambda store: store.add_json(BIG.hex()),
    "table": table,
    "model": model,
    "request": lambda store: store.write_request("tested", "train", KEY, BIG.hex()),
    "receipt": lambda store: store.write_receipt(receipt(facts={"long": BIG.hex()})),
    "journal": lambda store: Journal(store, "tested", KEY).write("final-0001", {"long": BIG.hex()}),
}
#: Everything that reads from it.
READS: dict[str, Callable[[ArtifactStore], object]] = {
    "receipt": lambda store: store.read_receipt("tested", "train", KEY),
    "request": lambda store: store.read_request(receipt()),
    "journal": lambda store: Journal(store, "tested", KEY).read("final-0001"),
}


@contextmanager
def full_disk(folder: Path) -> Iterator[ArtifactStore]:
    """A disk of 64 KB; where nothing may be mounted, a process that may write no larger file."""
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    ).returncode:
        with largest_file(64 * 1024):
            yield ArtifactStore(str(folder))
        return
    try:
        yield ArtifactStore(str(folder))
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("write", WRITES)
def test_a_full_disk_is_named_and_nothing_half_written_is_left(tmp_path: Path, write: str) -> None:
    with full_disk(tmp_path / "disk") as store:
        with pytest.raises(
            StorageError, match=r"cannot be (used|written): (the disk is full|the file is larger)"
        ) as one:
            WRITES[write](store)
        assert "Make room" in str(one.value)
        assert files_in(Path(store.root)) == []
        assert list((Path(store.root) / ".tmp").iterdir()) == []
        assert store.read_json(store.add_json("small")) == "small", "there is room again"


@pytest.mark.parametrize("write", WRITES)
def test_a_file_that_is_larger_than_allowed_is_named(tmp_path: Path, write: str) -> None:
    with largest_file(32 * 1024), pytest.raises(StorageError, match="the file is larger"):
        WRITES[write](ArtifactStore(str(tmp_path / "store")))
    assert files_in(tmp_path) == []


def test_a_full_disk_below_a_published_copy_leaves_the_former_copy(tmp_path: Path) -> None:
    with full_disk(tmp_path / "disk") as store:
        store.publish(store.add_bytes(b"former", ".bin"), "predictions/file")
        large = store.add_bytes(BIG[:40_000], ".bin")
        with pytest.raises(StorageError, match=FULL):
            store.publish(large, "predictions/file")
        assert (Path(store.root) / "predictions" / "file").read_bytes() == b"former"


def as_another(tmp_path: Path, code: str) -> str:
    """Run code as a user who owns nothing here, and return the error that it raised."""
    tmp_path.chmod(0o755)
    project = Path(__file__).parents[3]
    program = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(project)!r})\n"
        "from airflow_mlops_provider.storage import *\n"
        "from airflow_mlops_provider.storage import artifacts, journal, sources, s3, local\n"
        "from airflow_mlops_provider.exceptions import MLOpsError\n"
        "import encodings.idna, json, pydantic\n"
        "os.geteuid() == 0 and os.setuid(65534)\n"
        "try:\n"
        f"    {code}\n"
        "except MLOpsError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that other users can reach."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="disk-errors-"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+rwx", str(folder)], check=True)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("code", "doing"),
    [
        ("ArtifactStore(root).add_bytes(b'1', '.bin')", "written"),
        ("ArtifactStore(root + '/below/it').add_bytes(b'1', '.bin')", "written"),
        ("ArtifactStore(root).read_receipt('tested', 'train', 'a' * 64)", "read"),
        ("list_files(root)", "read"),
        ("list_files(root + '/../open')", "read"),
        ("list_files(root + '/file.csv')", "read"),
        ("[local_copy(file).__enter__() for file in list_files(root + '/../secret.csv')]", "read"),
    ],
)
def test_what_may_not_be_read_or_written_is_named_with_who_may_not(tmp_path: Path, code: str, doing: str) -> None:
    root = tmp_path / "closed"
    ArtifactStore(str(root)).write_receipt(receipt())
    (root / "file.csv").write_text("a\n1\n")
    (tmp_path / "open" / "closed").mkdir(parents=True)
    for closed in (root, tmp_path / "open" / "closed"):
        closed.chmod(0)
    (tmp_path / "secret.csv").write_text("a\n1\n")
    (tmp_path / "secret.csv").chmod(0)
    message = as_another(tmp_path, code.replace("root", repr(str(root)), 1))
    user = 65534 if ROOT else os.geteuid()
    assert message.startswith("StorageError"), message
    assert f"cannot be {doing}: permission is missing: got Permission denied. Give user {user} permission" in message


def file_as_root(folder: Path) -> Path:
    (folder / "file").write_text("x")
    return folder / "file"


def below_a_file(folder: Path) -> Path:
    return file_as_root(folder) / "store"


def long_name(folder: Path) -> Path:
    return folder / ("n" * 300)


def circle(folder: Path) -> Path:
    (folder / "circle").symlink_to(folder / "circle")
    return folder / "circle" / "store"


def kernels_own(folder: Path) -> Path:
    return Path("/proc/store/artifacts")


WRONG_ROOTS = {
    file_as_root: "a file is where a folder should be",
    below_a_file: "a file is where a folder should be",
    long_name: "its name is too long",
    kernels_own: "it, or a folder above it, is gone",
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("wrong", WRONG_ROOTS, ids=lambda wrong: wrong.__name__)
def test_a_root_that_can_be_no_store_is_named_when_it_is_written(
    tmp_path: Path, wrong: Callable[[Path], Path], write: str
) -> None:
    with pytest.raises(StorageError, match=WRONG_ROOTS[wrong]):
        WRITES[write](ArtifactStore(str(wrong(tmp_path))))


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("wrong", [file_as_root, below_a_file, long_name], ids=lambda wrong: wrong.__name__)
def test_a_root_that_can_be_no_store_is_named_when_it_is_read(
    tmp_path: Path, wrong: Callable[[Path], Path], read: str
) -> None:
    with pytest.raises(StorageError, match=WRONG_ROOTS[wrong]):
        READS[read](ArtifactStore(str(wrong(tmp_path))))


def test_folders_that_stand_in_the_place_of_documents_are_named(tmp_path: Path) -> None:
    for name in ("receipt", "request"):
        (tmp_path / f"receipts/tested/train/{KEY}/{name}.json").mkdir(parents=True)
    (tmp_path / f"journals/tested/{KEY}/final-0001.json").mkdir(parents=True)
    for read in READS.values():
        with pytest.raises(StorageError, match="a folder is where a file should be"):
            read(ArtifactStore(str(tmp_path)))
    with pytest.raises(StorageError, match="a folder is where a file should be"):
        ArtifactStore(str(tmp_path)).write_request("tested", "train", KEY, "{}")


def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    ref = ArtifactStore(str(folder)).add_json("before")
    program = (
        "from airflow_mlops_provider.storage import ArtifactStore\n"
        "from airflow_mlops_provider.results import ArtifactRef\n"
        f"store = ArtifactStore({str(folder)!r})\n"
        f"print(store.read_json(ArtifactRef.model_validate_json({ref.model_dump_json()!r})))\n"
        "store.add_json('after')\n"
    )
    # In a name space of its own, which goes with the process; the kernel gives one to other users than root as well.
    mounted = f"mount --bind '{folder}' '{folder}' && mount -o remount,bind,ro '{folder}'"
    shell = f"{mounted} && exec '{sys.executable}' -c \"$CODE\""
    done = subprocess.run(
        ["unshare", "--mount", *([] if ROOT else ["--map-root-user"]), "sh", "-c", shell],
        env={**os.environ, "CODE": program},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "before\n", done.stderr
    assert "StorageError" in done.stderr.splitlines()[-1]
    assert "it is on a disk mounted read-only" in done.stderr.splitlines()[-1]


def test_too_many_open_files_are_tried_again(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path / "store"))
    ref = store.add_json("before")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        for call in (lambda: store.add_json("x"), lambda: ArtifactStore(store.root).read_json(ref)):
            with pytest.raises(TransientServiceError, match="this process has too many files open"):
                call()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert store.read_json(ref) == "before"


#: Besides those above: errors that only a real file server or a dying disk gives.
RARE = {
    errno.ESTALE: TransientServiceError,
    errno.EIO: TransientServiceError,
    errno.ENOTCONN: TransientServiceError,
    errno.ETIMEDOUT: TransientServiceError,
    errno.EAGAIN: TransientServiceError,
    errno.EBUSY: TransientServiceError,
    errno.ENFILE: TransientServiceError,
    errno.ENOMEM: TransientServiceError,
    errno.EDQUOT: StorageError,
    errno.EROFS: StorageError,
    errno.EXDEV: StorageError,
    errno.ENODEV: StorageError,
    errno.EILSEQ: StorageError,  # in no table
}


@pytest.mark.parametrize("number", RARE, ids=errno.errorcode.get)
def test_every_error_of_a_disk_has_its_words_and_is_tried_again_where_that_helps(number: int) -> None:
    with pytest.raises(MLOpsError) as caught, explained("read", Path("/data/object")):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is RARE[number]
    assert str(caught.value).startswith("/data/object cannot be read: ")
    assert os.strerror(number) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(errno.ENOENT, "a plugin's own file"), ConnectionResetError(errno.ECONNRESET, "a service")],
)
def test_what_a_plugin_may_mean_by_itself_is_not_taken_for_the_disks(error: OSError) -> None:
    with pytest.raises(type(error)), guarded("/data"):
        raise error


def test_a_full_disk_below_a_running_step_is_the_stores_error(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from airflow_mlops_provider.job import StepRequest
    from airflow_mlops_provider.runner import run_step

    source = tmp_path / "rows.csv"
    source.write_text("x,y\n" + "\n".join(f"{os.urandom(8).hex()},{index % 2}" for index in range(20_000)))
    data = {"source": {"uri": str(source)}, "columns": {"target": "y", "categorical": ["x"]}}
    request = StepRequest(
        step="ingest",
        pipeline="tested",
        as_of=datetime(2026, 1, 1, tzinfo=UTC),
        section={"task": "binary", "data": data},
    )
    with full_disk(tmp_path / "disk") as store:
        with pytest.raises(StorageError, match=f"cannot be used: {FULL}"):
            run_step(request, store)
        assert files_in(Path(store.root)) == []


# ---------------------------------------------------------------- what killed processes leave


def left_by_a_killed_process(code: str) -> Path:
    program = (
        "import os\nfrom pathlib import Path\nfrom airflow_mlops_provider.storage import *\n"
        f"from airflow_mlops_provider.storage.scratch import Scratch\n{code}\n"
        "(folder / 'half').write_text('half'); print(folder, flush=True); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert done.returncode == -9, done.stderr
    return Path(done.stdout.strip())


KINDS = {
    "workspace": "manager = ArtifactStore(ROOT).workspace(); folder = manager.__enter__()",
    "S3 scratch": "scratch = Scratch(); folder = scratch.folder",
    "source": "manager = temporary_folder('source'); folder = manager.__enter__()",
    "publish": "manager = temporary_folder('publish'); folder = manager.__enter__()",
    "init": "manager = temporary_folder('init'); folder = manager.__enter__()",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_process_removes_what_a_killed_one_left_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    root = str(tmp_path / "store")
    others = tmp_path / "mlops-of-somebody-else"
    others.mkdir()
    with ArtifactStore(root).workspace() as mine, temporary_folder("source") as mine_too:
        for folder in (mine.parent, mine_too.parent):  # it works since long
            os.utime(folder, (0, 0))
        assert list(mine.iterdir()) == []
        left = left_by_a_killed_process(KINDS[kind].replace("ROOT", repr(root)))
        assert left.is_dir()
        ArtifactStore(root).add_json("next")
        Scratch().remove()
        assert not left.exists()
        assert mine.is_dir()
        assert mine_too.is_dir()
        assert others.is_dir(), "without a lock nothing is known of it yet"
    assert files_in(tmp_path / "store" / ".tmp") == []


def test_what_has_no_lock_is_removed_after_a_week(tmp_path: Path) -> None:
    scratch = tmp_path / ".tmp"
    (scratch / "tmpabc").mkdir(parents=True)
    ArtifactStore(str(tmp_path)).add_json(1)
    assert (scratch / "tmpabc").is_dir()
    os.utime(scratch / "tmpabc", (0, 0))
    ArtifactStore(str(tmp_path)).add_json(2)
    assert not (scratch / "tmpabc").exists()


def test_a_process_removes_a_bounded_number_of_folders_before_its_own_work(tmp_path: Path) -> None:
    for number in range(250):
        (tmp_path / ".tmp" / f"mlops-work-{number}").mkdir(parents=True)
        (tmp_path / ".tmp" / f"mlops-work-{number}" / ".lock").touch()
    store = ArtifactStore(str(tmp_path))
    counts = []
    for number in range(3):
        store.add_json(number)
        counts.append(len(list((tmp_path / ".tmp").iterdir())))
    assert counts == [150, 50, 0]


def test_nothing_in_the_package_makes_a_temporary_folder_that_is_never_swept() -> None:
    package = Path(__file__).parents[3] / "airflow_mlops_provider"
    # S3 makes its files within scratch space; docstrings make examples.
    known = {"storage/scratch.py", "storage/s3.py", "storage/artifacts.py", "storage/journal.py"}
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(word in path.read_text() for word in ("mkdtemp", "mkstemp", "TemporaryDirectory", "NamedTemporaryFile"))
    }
    assert found <= known
