"""`lutllm diff`: where two levels of a compiled model differ, to the op, the element and the cycle."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lutllm.errors import InputError
from lutllm.tools.verbs import arguments


def diff_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs a compiled model at several levels and compares what every op and every task wrote. Levels: lut (the "
        "golden model), transaction (the tasks), hw (hardware, by the arc JIT; reads DIR/mem), rtl (DIR/rtl, by "
        "Verilator: tokens and what is written to memory). Each is compared with transaction."
    )
    parser.add_argument("directory", metavar="DIR", help="output directory of lutllm compile, without --layers")
    parser.add_argument("--levels", type=arguments.names, default=None, help="default lut,transaction,hw")
    parser.add_argument("--prompt", metavar="TEXT", help="default: the one it was compiled with")
    parser.add_argument("--tokens", type=arguments.positive, metavar="N", help="to make (default: as compiled)")
    parser.add_argument("--wave", metavar="FILE", help="write a VCD of the cycles around a difference in hw")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def diff(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm.diff.levels import DEFAULT
    from lutllm.diff.saved import diff_saved

    if options.wave and "hw" not in (DEFAULT if options.levels is None else options.levels):
        raise InputError("--wave is of the level hw: expected it among --levels, got others; add it")
    found = diff_saved(
        options.directory,
        levels=DEFAULT if options.levels is None else options.levels,
        prompt=options.prompt,
        tokens=options.tokens,
        wave=Path(options.wave) if options.wave else None,
        quiet=options.quiet,
    )
    print(found)
    return (0 if found.equal else 1), found.to_dict()
