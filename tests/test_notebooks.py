from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_small(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANOMALY_NOTEBOOK_SMALL", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / ".ipython"))
    # The backend of the kernel, which shows figures in the notebook, instead of that of the tests.
    monkeypatch.delenv("MPLBACKEND")
    notebook = nbformat.read(path, as_version=4)
    work = tmp_path / "work"
    work.mkdir()
    client = NotebookClient(notebook, kernel_name="python3", timeout=300, resources={"metadata": {"path": str(work)}})
    client.execute()
    assert not [cell for cell in notebook.cells if cell.cell_type == "code" and cell.execution_count is None]
