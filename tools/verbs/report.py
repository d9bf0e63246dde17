"""`lutllm report`: a page of a compiled model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Writes one page that needs nothing else: roofline, where the cycles of a token go, why each round is slow, "
        "engines and ports over time, bits and error by layer, resources."
    )
    parser.add_argument("directory", metavar="DIR", help="output directory of lutllm compile MODEL")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write (DIR/reports/model.html)")


def report(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm import store
    from lutllm.report.model_page import model_page

    path = Path(options.output or Path(options.directory) / "reports" / "model.html")
    store.write_atomic(path, model_page(options.directory).encode())
    print(f"written to {path}")
    return 0, {"page": str(path)}
