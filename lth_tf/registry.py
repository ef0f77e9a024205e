"""Names for things that come one to a file: networks, datasets, criteria."""

import difflib
import importlib
import pkgutil
import warnings
from collections.abc import Callable
from typing import Any

from lth_tf.errors import UsageError, one_line


class Registry:
    """Maps names to the objects that a package's modules register.

    A module registers itself with a decorator when it is imported; the
    registry imports every module of its package the first time a name is
    looked up. So a new item is one new file and nothing else.

    Args:
        kind: what the items are called in error messages, e.g. "network".
        package: dotted name of the package whose modules hold the items.

    Example:
    >>> shapes = Registry("shape", package="lth_tf.networks")
    >>> @shapes.register("square")
    ... def square(side):
    ...     return side * side
    >>> shapes.get("square")(3)
    9
    """

    def __init__(self, kind: str, package: str):
        self.kind = kind
        self.package = package
        self._items: dict[str, Any] = {}
        self._unnamed: dict[str, Any] = {}
        self._broken: dict[str, Exception] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[Any], Any]:
        """Returns a decorator that registers its object as `name`.

        Raises:
            ValueError: if another object already has the name.
        """

        def decorate(item: Any) -> Any:
            known = self._items.get(name)
            if known is not None and not _same_source(known, item):
                raise ValueError(
                    f"Expected a new {self.kind} name. Received: name={name!r}, "
                    f"which {known.__module__}.{known.__qualname__} already has. "
                    "Choose another name."
                )
            self._items[name] = item
            return item

        return decorate

    def get(self, name: Any) -> Any:
        """Returns the object registered as `name`; an object that is no name, as it is.

        Raises:
            UsageError: if there is none; the message lists the known names, and the
                modules that cannot be imported.
        """
        if not isinstance(name, str):
            return name
        self._discover()
        if name in self._unnamed:
            return self._unnamed[name]
        if name not in self._items:
            close = difflib.get_close_matches(name, self.names(), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise UsageError(
                f"Expected {self._article} {self.kind} out of {', '.join(self.names())}. "
                f"Received: {self.kind}={name!r}.{hint}{self._broken_modules()}"
            )
        return self._items[name]

    def name_of(self, item: Any) -> str:
        """Returns the name of an object; a name, as it is.

        An object that nobody has registered gets the dotted name of its definition.
        """
        if isinstance(item, str):
            return item
        self._discover()
        for name, known in {**self._items, **self._unnamed}.items():
            if known is item:
                return name
        name = f"{item.__module__}.{item.__qualname__}"
        self._unnamed[name] = item
        return name

    def items(self) -> dict[str, Any]:
        """Returns name -> object, in alphabetical order."""
        return {name: self._items[name] for name in self.names()}

    def names(self) -> list[str]:
        """Returns all registered names in alphabetical order."""
        self._discover()
        return sorted(self._items)

    @property
    def _article(self) -> str:
        return "an" if self.kind[0] in "aeiou" else "a"

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            name = f"{self.package}.{module.name}"
            try:
                importlib.import_module(name)
            except Exception as error:  # whatever a module of somebody else's raises
                self._broken[name] = error
                # It may have come as far as to register something.
                for item in [k for k, v in self._items.items() if v.__module__ == name]:
                    del self._items[item]
        if self._broken:
            warnings.warn(self._broken_modules().strip(), stacklevel=3)

    def _broken_modules(self) -> str:
        """Returns what is said of modules that cannot be imported; "" if all can."""
        return "".join(
            f" {name} cannot be imported ({type(error).__name__}: {one_line(error)})."
            for name, error in self._broken.items()
        )


def _same_source(one: Any, other: Any) -> bool:
    """True for one definition seen twice: a module run with -m and imported."""
    return one.__qualname__ == other.__qualname__ and (
        one.__code__.co_filename == other.__code__.co_filename
        if hasattr(one, "__code__") and hasattr(other, "__code__")
        else one.__module__ == other.__module__
    )
