"""Modules that are imported at their first use, and what to install if they are not there."""

import builtins
import contextlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epy

from lth_tf.errors import UsageError

# What is imported -> the extra of lth_tf that installs it, as setup.cfg has them.
EXTRAS = {
    "ai_edge_litert": "export",
    "altair": "report",
    "importlib_resources": "data",
    "keras_tuner": "tune",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "ray": "ray",
    "sklearn": "data",
    "tensorflow_datasets": "data",
    "tensorflow_model_optimization": "baseline",
    "tf2onnx": "onnx",
    "tf_keras": "baseline",
    "vl_convert": "report",
}


class MissingPackage(UsageError, ModuleNotFoundError):
    """A package is needed that lth_tf installs only if asked to."""


@contextlib.contextmanager
def lazy_imports() -> Iterator[None]:
    """Imports the modules named in its block when something of them is first used.

    `etils.epy.lazy_imports` that takes relative imports too, and that names the extra to
    install where a module is missing.

    Example::

        with lazy_imports():
            import keras

            from . import results
    """
    with epy.lazy_imports(error_callback=_name_extra), _relative_too():
        yield


@contextlib.contextmanager
def lazy_api(module_globals: dict[str, Any]) -> Iterator[None]:
    """Imports what its block names when it is first asked of the package.

    `etils.epy.lazy_api_imports` that takes relative imports too.

    Args:
        module_globals: `globals()` of the package's `__init__.py`.
    """
    with epy.lazy_api_imports(module_globals), _relative_too():
        yield


def require(*packages: str) -> None:
    """Finds out early whether packages are there that are only imported after long work.

    Args:
        *packages: of those of `EXTRAS`.

    Raises:
        MissingPackage: if one is not installed; the message names the extra.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingPackage(missing_extra(ModuleNotFoundError(name=package)))


def missing_extra(error: ImportError) -> str:
    """Returns one line that names the extra to install, "" if an import failed otherwise.

    Args:
        error: what the import raised.

    Example:
    >>> missing_extra(ModuleNotFoundError("", name="altair"))
    "Expected the package altair. Received: it is not installed. pip install 'lth_tf[report]'"
    """
    package = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or package not in EXTRAS:
        return ""
    return (
        f"Expected the package {package}. Received: it is not installed. "
        f"pip install 'lth_tf[{EXTRAS[package]}]'"
    )


def _name_extra(error: Exception) -> None:
    if isinstance(error, ImportError) and (message := missing_extra(error)):
        raise MissingPackage(message) from error


@contextlib.contextmanager
def _relative_too() -> Iterator[None]:
    """Gives imports the absolute names that etils wants."""
    lazily = builtins.__import__

    def import_(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if level:
            package = (globals or {}).get("__package__")
            name = importlib.util.resolve_name("." * level + name, package)
        return lazily(name, globals, locals, fromlist)

    builtins.__import__ = import_
    try:
        yield
    finally:
        builtins.__import__ = lazily
