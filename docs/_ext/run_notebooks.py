"""Runs notebooks in full and keeps what they print and draw: python docs/_ext/run_notebooks.py notebooks/*.ipynb

The pages show these stored outputs. It takes from minutes to more than an hour a notebook on two cores; what they make
lies in folders beside them, which git ignores, so that a second run goes on where the first one was stopped.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def run(path: Path) -> None:
    """Execute one notebook in its folder and write it back, without the times at which its cells ran."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, kernel_name="python3", timeout=None, resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, path)


def main() -> None:
    """Run those that were named, one after the other."""
    os.environ.pop("MPLBACKEND", None)  # figures are shown in the notebook
    os.environ.pop("ANOMALY_NOTEBOOK_SMALL", None)
    for name in sys.argv[1:]:
        begun = time.monotonic()
        run(Path(name).resolve())
        print(f"{name}: {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
