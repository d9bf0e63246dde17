"""`lutllm-opt`: MLIR text or bytecode in, the passes asked for, MLIR text or bytecode out.

Behaves as the `*-opt` tools of MLIR do. Nothing here pulls in torch: start-up stays far below a second.
"""

import argparse
import sys
import traceback
from collections.abc import Sequence
from functools import partial

from lutllm import lowering
from lutllm.errors import InputError, LutllmError
from lutllm.passes import PASSES, Pipeline
from lutllm.passes.pipeline import PassItem, parse_pipeline
from lutllm.tools.opt.arguments import parse_arguments
from lutllm.tools.opt.chunk import Chunk
from lutllm.tools.opt.crash_guard import run_guarded
from lutllm.tools.opt.dump import Dumps
from lutllm.tools.opt.flags import UsageError, pipeline_of
from lutllm.tools.opt.information import information
from lutllm.tools.opt.input import Source, read_source, split
from lutllm.tools.opt.observer import OptObserver
from lutllm.tools.opt.output import write
from lutllm.tools.opt.reports import Statistics, Timer
from lutllm.tools.opt.reproducer import Reproducer, reproduced

ALL_PASSES = (*PASSES, *getattr(lowering, "PASSES", ()))
SEPARATOR = b"// -----\n"


def main(argv: Sequence[str] | None = None) -> int:
    """The console script: as `run`, but a crash of MLIR itself ends in an error message too."""
    argv = sys.argv[1:] if argv is None else argv
    work = partial(run, argv)
    return work() if "--debug" in argv else run_guarded(work, "lutllm-opt")


def run(argv: Sequence[str]) -> int:
    """Do what the command line says; 0 or 1, or 2 (or SystemExit(2)) for a wrong one. Problems are printed."""
    try:
        options, flags = parse_arguments(argv, ALL_PASSES)
        text = information(options, ALL_PASSES)
        if text is not None:
            sys.stdout.write(text)
            return 0
        return process(options, flags)
    except UsageError as problem:
        print(f"lutllm-opt: error: {problem.message}", file=sys.stderr)
        return 2
    except LutllmError as problem:
        if "--debug" in argv:
            traceback.print_exc()
        print(problem, file=sys.stderr)
        return 1


def process(options: argparse.Namespace, flags: Sequence[PassItem]) -> int:
    """Build the pipeline, read the input, run every part of it, write. A wrong pipeline is found before the input."""
    source = None
    if options.run_reproducer:
        source = read_source(options.input)
        text, options.verify_each = reproduced(source)
        tree = parse_pipeline(text)
    elif options.pass_pipeline is not None:
        tree = parse_pipeline(options.pass_pipeline)
    else:
        tree = pipeline_of(flags, ALL_PASSES)
    pipeline = Pipeline(tree, ALL_PASSES)
    if options.dump_pass_pipeline:
        print(f"Pass Manager with {len(list(tree.passes()))} passes:\n{pipeline}\n", file=sys.stderr)
    return process_parts(options, pipeline, source or read_source(options.input))


def process_parts(options: argparse.Namespace, pipeline: Pipeline, source: Source) -> int:
    """Run every part of the input, report, write."""
    o = options
    parts = split(source, o.split_input_file) if o.split_input_file else [source.data]
    if o.emit_bytecode and len(parts) > 1:
        raise InputError("expected one module for --emit-bytecode, got several; leave out --split-input-file")
    timer = Timer() if o.mlir_timing else None
    statistics = Statistics() if o.mlir_pass_statistics else None
    observer = OptObserver(Dumps(o), timer, statistics)
    crash_file = o.mlir_pass_pipeline_crash_reproducer
    reproducer = Reproducer(crash_file, o.verify_each) if crash_file is not None else None
    outputs, well = [], True
    for part in parts:
        chunk = Chunk(source, part, o, observer, reproducer)
        output = chunk.process(pipeline)
        well &= chunk.finish(failed=output is None)
        outputs += [] if output is None else [output]
    for report in (timer and timer.report(), statistics and statistics.report(pipeline)):
        if report:
            print(report, file=sys.stderr)
    if well or o.output == "-":
        write(o.output, SEPARATOR.join(outputs))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
