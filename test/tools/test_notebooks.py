"""Notebooks of the documentation show what their cells show when they are run."""

from __future__ import annotations

from pathlib import Path

import pytest

from lutllm.tools import gen_notebook

nbformat = pytest.importorskip("nbformat", reason="notebooks need nbclient: pip install 'lutllm[notebook]'")
pytest.importorskip("nbclient")
pytest.importorskip("transformers")


def test_notebooks_are_true() -> None:
    assert list(gen_notebook.FOLDER.glob("*.ipynb"))
    assert gen_notebook.main(["--check"]) == 0


def test_a_stale_cell_is_named_and_written_again(tmp_path: Path, monkeypatch, capsys) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in ("1 + 1", "print(2 + 2)")])
    nbformat.write(notebook, tmp_path / "sums.ipynb")
    monkeypatch.setattr(gen_notebook, "FOLDER", tmp_path)
    assert gen_notebook.main(["--check"]) == 1
    assert "sums.ipynb: cells [0, 1] show something else" in capsys.readouterr().out
    assert gen_notebook.main([]) == 0 and gen_notebook.main(["--check"]) == 0
    found = nbformat.read(tmp_path / "sums.ipynb", as_version=4)
    first, second = (cell.outputs[0] for cell in found.cells)
    assert first["data"]["text/plain"] == "2" and second["text"] == "4\n"
