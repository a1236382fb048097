"""`airflow mlops examples`: the example pipelines, their readers and the DAG files, for whoever has no clone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import airflow_mlops_provider
from airflow_mlops_provider.commands.terminal import command

if TYPE_CHECKING:
    from argparse import Namespace

_KINDS = {"dags": "*.py", "pipelines": "*.yaml", "plugins": "*.py"}


@command
def examples(args: Namespace) -> None:
    """Write the examples into a folder, and print how Airflow finds them."""
    folder = Path(args.folder).absolute()
    files = {folder / kind / file.name: file for kind, places in _sources().items() for file in places}
    _check_free(folder, files)
    for target, source in files.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    print(f"Written: {len(files)} files in {folder}. These settings let Airflow find them:")
    print(f"  export AIRFLOW__CORE__DAGS_FOLDER={folder / 'dags'}")
    print(f"  export AIRFLOW__CORE__PLUGINS_FOLDER={folder / 'plugins'}")
    print(f"  export AIRFLOW__MLOPS__PIPELINES_FOLDER={folder / 'pipelines'}")
    print("Then: airflow mlops check. The flights need their data: pip install 'airflow-mlops-provider[examples]'")


def _sources() -> dict[str, list[Path]]:
    """Return the files of each kind: in an installed package beside this one, in a clone in their own folders."""
    package = Path(airflow_mlops_provider.__file__).parent
    shipped = package / "examples"
    clone = {"dags": package.parent / "dags", "plugins": package.parent / "plugins"}
    clone["pipelines"] = package.parent / "config" / "pipelines"
    places = {kind: shipped / kind if shipped.is_dir() else clone[kind] for kind in _KINDS}
    return {kind: sorted(places[kind].glob(pattern)) for kind, pattern in _KINDS.items()}


def _check_free(folder: Path, files: dict[Path, Path]) -> None:
    """Refuse a folder that cannot be written to, or holds another file of a name, before anything is written.

    :raises SpecError: names the file.
    """
    from airflow_mlops_provider.exceptions import SpecError

    if folder.exists() and not folder.is_dir():
        raise SpecError("the examples need a folder", got=f"{folder}, a file", expected="a folder, or a new name")
    for target, source in files.items():
        if target.exists() and not (target.is_file() and target.read_bytes() == source.read_bytes()):
            raise SpecError(
                f"{target} already exists and is not an example of this release",
                hint="Name another folder, or move it.",
            )
