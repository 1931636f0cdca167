"""Runs the notebooks of docs/ from their first cell to their last, in a folder of their own.

Run: python tools/notebooks.py [NAME ...]     (stores what the cells give, for those who read without running)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).resolve().parents[1] / "docs" / "notebooks"


def run(path: Path, folder: Path) -> Any:
    """Return a notebook with the outputs of its cells; an error in a cell is one here."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def main() -> None:
    import nbformat

    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if sys.argv[1:] and path.stem not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            notebook = run(path, Path(folder))
        for cell in notebook.cells:
            cell.metadata.clear()  # when it ran
        nbformat.write(notebook, path)
        print(path)


if __name__ == "__main__":
    main()
