"""Executes the tutorials and stores in them what they print and draw.

python docs/execute.py                      # all of them
python docs/execute.py docs/tutorials/lenet.ipynb
"""

import os
import pathlib
import sys
import tempfile

import nbclient
import nbformat

TUTORIALS = sorted(pathlib.Path(__file__).parent.glob("tutorials/*.ipynb"))


def executed(tutorial: pathlib.Path) -> nbformat.NotebookNode:
    """Returns a notebook with its outputs, executed in a folder that is gone afterwards.

    What is written to stderr is left out: progress bars and TensorFlow's log.

    Args:
        tutorial: an .ipynb file.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    notebook = nbformat.read(tutorial, 4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of the day
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    return notebook


def main() -> None:
    """Executes the notebooks named on the command line, or all."""
    programs = pathlib.Path(sys.executable).parent
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    for tutorial in map(pathlib.Path, sys.argv[1:] or TUTORIALS):
        nbformat.write(executed(tutorial), tutorial)


if __name__ == "__main__":
    main()
