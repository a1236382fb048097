"""The one gate between a name in a pipeline file and an import."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import MLOpsError, NotAllowedError, TransientServiceError
from airflow_mlops_provider.redaction import cause_to_show
from airflow_mlops_provider.spec import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

#: Distributions whose name differs from their module.
_DISTRIBUTIONS = {"sklearn": ("scikit-learn",), "xgboost": ("xgboost", "xgboost-cpu")}


class AllowList(Frozen):
    """What pipeline files may name: scikit-learn, the modules of `[mlops] allowed_modules`, the plugins folder.

    :param modules: top-level modules, such as `xgboost`.
    :param plugins_folder: folder whose modules may be named; Airflow puts it on `sys.path`.
    """

    modules: tuple[str, ...] = ()
    plugins_folder: str | None = None

    def check(self, dotted: str) -> None:
        """Refuse a name outside the list, without importing anything.

        :raises NotAllowedError: names the module and what is allowed.
        """
        parts = dotted.split(".")
        if len(parts) < 2 or not all(part.isidentifier() for part in parts):
            raise NotAllowedError(f"{dotted!r} is not a dotted name", expected="such as sklearn.svm.SVC")
        top = parts[0]
        plugin = self._plugin_file(top)
        if plugin is not None and top in sys.stdlib_module_names:
            raise NotAllowedError(
                f"{dotted!r} is a module of Python itself, and {plugin} has the same name",
                hint="Give the file in the plugins folder another name.",
            )
        if plugin is None and any(part.startswith("_") for part in parts):
            raise NotAllowedError(f"{dotted!r} is private to {top}", expected="a public name")
        if top != "sklearn" and top not in self.modules and plugin is None:
            raise NotAllowedError(
                f"{dotted!r} is outside the allow-list",
                got=top,
                expected=f"sklearn, {', '.join((*self.modules, 'a module in the plugins folder'))}",
                hint="Add the module to `[mlops] allowed_modules`, or put your code into the plugins folder.",
            )

    def load(self, dotted: str) -> Any:
        """Import and return the class or function.

        :raises NotAllowedError: outside the list, not there, or of a module that is not on the list.
        """
        self.check(dotted)
        module_name, _, name = dotted.rpartition(".")
        top = module_name.partition(".")[0]
        try:
            if (plugin := self._plugin_file(top)) is not None:
                _check_origin(top, plugin)
            found = getattr(_imported(module_name), name)
        except ImportError as error:
            raise NotAllowedError(
                f"{dotted!r} cannot be imported", got=str(error), hint="Install it, or correct the name."
            ) from error
        except AttributeError as error:
            raise NotAllowedError(f"module {module_name!r} has no {name!r}", hint="Correct the name.") from error
        self._check_home(dotted, found)
        return found

    def load_function(self, dotted: str) -> Any:
        """Import and return a plain function of the user's: a class, or what yields as it goes, would do nothing.

        :raises NotAllowedError: as `load`; or it is no function.
        """
        found = self.load(dotted)
        if not inspect.isfunction(found) or inspect.isgeneratorfunction(found) or inspect.iscoroutinefunction(found):
            raise NotAllowedError(
                f"{dotted!r} is not a plain function", got=type(found).__name__, hint="Write it with def."
            )
        return found

    def _check_home(self, dotted: str, found: Any) -> None:
        """Refuse what a module has only imported: that `readers.py` uses `subprocess.run` does not allow it to all.

        :raises NotAllowedError: names the module that it is defined in.
        """
        home = str(getattr(found, "__module__", None)).partition(".")[0]
        named = dotted.partition(".")[0]
        if home in (named, "sklearn", *self.modules) or self._plugin_file(home) is not None:
            return
        raise NotAllowedError(
            f"{dotted!r} is not defined in {named!r}, which only imports it",
            got=f"{type(found).__name__} of {getattr(found, '__module__', None)}",
            hint=f"Define a class or function in {named!r}, or add the module to `[mlops] allowed_modules`.",
        )

    def fingerprint(self, dotted: str) -> str:
        """Return what identifies the code behind a name: a plugin's digest, a library's version. Imports nothing."""
        top = dotted.partition(".")[0]
        if (file := self._plugin_file(top)) is None:
            return version_of(top)
        folder = Path(str(self.plugins_folder))
        content = "".join(f"{each.relative_to(file.parent)} {_sha256(each)}\n" for each in _files_of(file))
        imported = sorted(self._imported_by(file) - {file})
        content += "".join(
            f"{each.relative_to(folder)} {_sha256(each)}\n" for one in imported for each in _files_of(one)
        )
        return hashlib.sha256(content.encode()).hexdigest()

    def _imported_by(self, plugin: Path) -> set[Path]:
        """Return a plugin and the plugins that it imports, which import others in turn."""
        found, left = {plugin}, [plugin]
        while left:
            names = {name for file in _files_of(left.pop()) for name in _imports(file)}
            new = {file for name in names if (file := self._plugin_file(name)) is not None} - found
            found |= new
            left += new
        return found

    def is_plugin(self, dotted: str) -> bool:
        """Return whether a name is one of the plugins folder, whose files a container sees."""
        return self._plugin_file(dotted.partition(".")[0]) is not None

    def _plugin_file(self, top: str) -> Path | None:
        if self.plugins_folder is None:
            return None
        folder = Path(self.plugins_folder)
        for file in (folder / top / "__init__.py", folder / f"{top}.py"):  # in the order in which Python looks
            if file.is_file():
                return file
        return None


@contextmanager
def users_code(what: str, hint: str) -> Iterator[None]:
    """Name a function of the user's in whatever it raises.

    :param what: which function it is, and whose.
    :raises TransientServiceError: it could not reach something: another try may help.
    :raises MLOpsError: it raised anything else.
    """
    try:
        yield
    except (MLOpsError, MemoryError):
        raise
    except (ConnectionError, TimeoutError) as error:
        raise TransientServiceError(f"{what} could not reach what it needs", got=str(error)) from cause_to_show(error)
    except (Exception, SystemExit) as error:
        got = f"{type(error).__name__}: {error}"
        raise MLOpsError(f"{what} failed", got=got, hint=hint) from cause_to_show(error)


def _check_origin(top: str, plugin: Path) -> None:
    """Refuse a plugin's name that Python takes for another file, before that is executed.

    :raises NotAllowedError: names both files.
    :raises ImportError: Python does not find it.
    """
    if (loaded := sys.modules.get(top)) is not None:
        origin = getattr(loaded, "__file__", None)
    else:
        spec = importlib.util.find_spec(top)
        if spec is None:
            raise ImportError(f"No module named {top!r}")
        origin = spec.origin
    if origin is None or Path(origin).resolve() != plugin.resolve():
        raise NotAllowedError(
            f"the plugin {plugin} is shadowed by another module of the same name",
            got=origin or "a module built into Python",
            hint="Give the file in the plugins folder another name.",
        )


def _imported(name: str) -> ModuleType:
    """Import a module; whatever a plugin's code raises is one error, which takes no other pipeline's DAG down.

    :raises NotAllowedError: when the code is wrong.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, MLOpsError, ConnectionError, TimeoutError):
        raise
    except Exception as error:
        raise NotAllowedError(
            f"module {name!r} fails on import",
            got=f"{type(error).__name__}: {error}",
            hint="Correct its code.",
        ) from error


def _files_of(plugin: Path) -> list[Path]:
    """Return the files of a plugin: any module of a package may hold what a name stands for."""
    return sorted(plugin.parent.rglob("*.py")) if plugin.name == "__init__.py" else [plugin]


def _imports(file: Path) -> set[str]:
    """Return the top-level modules that a file names in its imports; none of one that Python cannot read."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError, RecursionError):
        return set()
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    from_ = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in plain | from_}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@cache
def version_of(module: str) -> str:
    """Return the installed version of a module's distribution, or 'absent'; in one process it does not change."""
    for name in _DISTRIBUTIONS.get(module, (module.replace("_", "-"),)):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "absent"


def requirement_of(module: str) -> str:
    """Return the pinned pip requirement of an installed module.

    :raises NotAllowedError: when it is not installed.
    """
    for name in _DISTRIBUTIONS.get(module, (module.replace("_", "-"),)):
        try:
            return f"{name}=={metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    raise NotAllowedError(f"module {module!r} is not installed")
