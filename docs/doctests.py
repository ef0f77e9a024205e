"""Examples of docstrings as code: `>>>` at the margin is a quotation to Markdown."""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"(?:^Example:\n)?((?:^>>> .*\n(?:^.*\S.*\n?)*)+)", re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts doctests into fences before docstrings are parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Is called with each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(docstring: str) -> str:
    r"""Returns a docstring with its doctests in fences.

    Example:
    >>> fenced("Adds.\n\nExample:\n>>> 1 + 1\n2")
    'Adds.\n\n**Example**\n\n```pycon\n>>> 1 + 1\n2\n```\n'
    """
    text = docstring.replace("Example::\n", "**Example**\n")
    return _EXAMPLE.sub(r"**Example**\n\n```pycon\n\1\n```\n", text).replace("\n\n```\n", "\n```\n")
