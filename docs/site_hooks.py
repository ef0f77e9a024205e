"""What the site shows from elsewhere: notebooks as pages, and pictures of measurements."""

import json
import pathlib
import re
from typing import Any

from mkdocs.structure.files import File, Files

_ROOT = pathlib.Path(__file__).parents[1]
_MEASURED = "experiments/measured"
_OTHER = re.compile(r"\]\((\w+)\.ipynb\)")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_files(files: Files, config: Any) -> Files:
    """Adds a page for each notebook, which can be downloaded beside it, and what was measured."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            page = file.src_uri.replace(".ipynb", ".md")
            download = f"\n[This page as a notebook]({file.name}.ipynb)\n"
            content = as_markdown(file.content_string) + download
            files.append(File.generated(config, page, content=content))
    for path in (_ROOT / _MEASURED).iterdir():
        name = f"measured/{path.name}"
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turns links as they are in the repository into those of the site."""
    return markdown.replace(f"](../{_MEASURED}/", "](measured/")


def as_markdown(notebook: str) -> str:
    """Returns a notebook as a Markdown page; links to other notebooks lead to their pages.

    Args:
        notebook: the text of an .ipynb file, format 4.
    """
    page = "\n\n".join(map(_cell, json.loads(notebook)["cells"])) + "\n"
    return _OTHER.sub(r"](\1.md)", page)


def _cell(cell: dict[str, Any]) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        return source
    return "\n\n".join([f"```python\n{source}\n```", *map(_output, cell["outputs"])])


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {"text/plain": output.get("text", "")})
    if picture := data.get("image/png"):
        return f"![Output of the cell above](data:image/png;base64,{''.join(picture).strip()})"
    return f"```text\n{_ANSI.sub('', ''.join(data['text/plain'])).rstrip()}\n```"
