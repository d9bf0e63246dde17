"""`lutllm package`: a compiled accelerator as an IP for Vivado and SLASH."""

from __future__ import annotations

import argparse
from typing import Any


def package_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="output directory of lutllm compile")
    parser.add_argument("-o", "--output", metavar="IP", required=True, help="where the IP is written, or replaced")


def package(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm.board.package import package as write
    from lutllm.lowering.export.ip.package import NOT_DONE

    files = write(options.directory, options.output)
    others = [name for name in files if not name.startswith("rtl/")]
    print(f"written to {options.output}: {', '.join(others)} and {len(files) - len(others)} files of rtl/\n{NOT_DONE}")
    return 0, {"files": list(files)}
