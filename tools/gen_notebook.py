"""Writes docs/notebooks/*.ipynb again: each is run from the top, with what its cells print and show.

With `--check` it writes nothing, and says which cells give another text than stands there.

Run as `python -m lutllm.tools.gen_notebook [--check]`.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import lutllm.dialect

FOLDER = Path(lutllm.dialect.__file__).parents[1] / "docs" / "notebooks"
SECONDS = 600  # of a cell


def executed(path: Path) -> Any:
    """The notebook, run; raises what a cell raises."""
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", record_timing=False).execute()
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            output.get("data", {}).pop("text/plain", None) if "text/html" in output.get("data", {}) else None
    return notebook


def shown(notebook: Any) -> list[str]:
    """What each cell shows, without the names of temporary folders."""
    texts = [str([output.get("text") or output.get("data") for output in cell.get("outputs", ())])
             for cell in notebook.cells]  # fmt: skip
    return [re.sub(r"/tmp/\w+", "/tmp/...", text) for text in texts]


def main(arguments: list[str] | None = None) -> int:
    import nbformat

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a cell is out of date")
    options = parser.parse_args(arguments)
    code = 0
    for path in sorted(FOLDER.glob("*.ipynb")):
        before, found = nbformat.read(path, as_version=4), executed(path)
        stale = [i for i, (a, b) in enumerate(zip(shown(before), shown(found), strict=True)) if a != b]
        if not options.check:
            nbformat.write(found, path)
        elif stale:
            print(f"{path}: cells {stale} show something else; run python -m lutllm.tools.gen_notebook")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
