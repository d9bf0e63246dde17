"""`lutllm-opt`: MLIR text or bytecode in, the passes asked for, MLIR text or bytecode out.

Behaves as the `*-opt` tools of MLIR do. Nothing here pulls in torch: start-up stays far below a second.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lutllm import lowering
from lutllm.errors import InputError, LutllmError
from lutllm.passes import PASSES, Pipeline
from lutllm.store import write_atomic
from lutllm.tools.crash_guard import run_guarded
from lutllm.tools.opt_arguments import parse_arguments
from lutllm.tools.opt_chunk import Chunk
from lutllm.tools.opt_information import information
from lutllm.tools.opt_input import read_source, split
from lutllm.tools.opt_observer import Timer

ALL_PASSES = (*PASSES, *getattr(lowering, "PASSES", ()))
SEPARATOR = b"// -----\n"


def main(argv: Sequence[str] | None = None) -> int:
    """The console script: as `run`, but a crash of MLIR itself ends in an error message too."""
    argv = sys.argv[1:] if argv is None else argv
    work = partial(run, argv)
    return work() if "--debug" in argv else run_guarded(work, "lutllm-opt")


def run(argv: Sequence[str]) -> int:
    """Do what the command line says; 0 or 1, or SystemExit(2) for a wrong command line. Problems are printed."""
    try:
        options, tree = parse_arguments(argv, ALL_PASSES)
        text = information(options, ALL_PASSES)
        if text is not None:
            sys.stdout.write(text)
            return 0
        pipeline = Pipeline(tree, ALL_PASSES)
        if options.dump_pass_pipeline:
            print(f"Pass Manager with {len(list(tree.passes()))} passes:\n{pipeline}\n", file=sys.stderr)
        return process(options, pipeline)
    except LutllmError as problem:
        if "--debug" in argv:
            traceback.print_exc()
        print(problem, file=sys.stderr)
        return 1


def process(options: argparse.Namespace, pipeline: Pipeline) -> int:
    """Read, run every chunk, write."""
    source = read_source(options.input)
    timer = Timer() if options.mlir_timing else None
    parts = split(source) if options.split_input_file else [source.data]
    if options.emit_bytecode and len(parts) > 1:
        raise InputError("expected one module for --emit-bytecode, got several; leave out --split-input-file")
    outputs, failed = [], False
    for part in parts:
        chunk = Chunk(source, part, options, timer)
        output = chunk.process(pipeline)
        failed |= not chunk.finish()
        outputs += [] if output is None else [output]
    if timer:
        print(timer.report(), file=sys.stderr)
    if not options.verify_diagnostics and not (failed and options.output != "-"):
        write(options.output, SEPARATOR.join(outputs))
    return 1 if failed else 0


def write(name: str, data: bytes) -> None:
    """To stdout for `-`, or to a file that appears whole or not at all."""
    path = Path(name)
    try:
        if name == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        elif path.exists() and not path.is_file():
            path.write_bytes(data)  # a device or a pipe, such as /dev/null, is written, not replaced
        elif path.parent.is_dir():
            write_atomic(path, data)
        else:
            raise InputError(f"cannot write '{name}': expected a directory '{path.parent}', got none; create it")
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as problem:
        if name == "-":  # what the stream still holds would fail again at the end
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        reason = getattr(problem, "strerror", None) or problem
        raise InputError(f"cannot write '{name}': {reason}") from None


if __name__ == "__main__":
    sys.exit(main())
