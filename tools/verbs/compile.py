"""`lutllm compile`: a whole model, or the linears of some layers, to verified SystemVerilog."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from lutllm.errors import InputError
from lutllm.tools.verbs import arguments

LINEARS = ["paper", "exact"]  # schemes of --layers


def compile_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Without --layers: an accelerator that runs the whole model, its memory image, a bench and reports, and some "
        "tokens out of it. With --layers: the linears of these layers one by one, for every row source."
    )
    parser.add_argument("model", metavar="MODEL", help=f"directory of lutllm quantize, or {arguments.MODEL_HELP}")
    parser.add_argument("-o", "--output", metavar="DIR", help="where everything is written")
    parser.add_argument(
        "--print-pipeline",
        action="store_true",
        help="print the passes, as lutllm-opt --pass-pipeline takes them, and stop",
    )
    parser.add_argument("--layers", type=arguments.layers, metavar="LIST", help="decoder layers, as 12 or 0,3-5")
    parser.add_argument("--target", default="small", help=f"accelerator: {arguments.TARGET_HELP} (default small)")
    parser.add_argument("--config", metavar="FILE", help="a configuration of the target that lutllm explore found")
    parser.add_argument("--simulator", choices=("arc", "verilator", "none"), default="arc")
    parser.add_argument(
        "--tokens", type=arguments.positive, metavar="N", help="to make (default 4); of each linear (default 16)"
    )
    parser.add_argument("--scheme", type=arguments.names, help=f"{arguments.SCHEME_HELP}; a comma list with --layers")
    parser.add_argument("--stages", type=arguments.positive, metavar="R", help="weight stages of schemes without :R")
    parser.add_argument("--text", metavar="FILE", help="calibration text")
    parser.add_argument("--calibration-tokens", type=arguments.positive, metavar="N", help="tokens of it")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    whole = parser.add_argument_group("a whole model")
    whole.add_argument("--prompt", metavar="TEXT", help="what the simulated accelerator goes on with")
    whole.add_argument("--context", type=arguments.positive, metavar="N", help="tokens of a sequence (default 256)")
    whole.add_argument("--resources", action="store_true", help="ask Yosys for an estimate of resources")


def compile(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm import compiler
    from lutllm.lowering.machine.targets import configured
    from lutllm.scheme import parse_schemes

    linears = options.layers is not None
    target = configured(options.target, options.config) if options.config else options.target
    default = LINEARS if linears else ["exact"] if options.stages else []  # a quantized model has a scheme
    schemes = list(parse_schemes(options.scheme or default, options.stages))
    wanted = compiler.Options(
        layers=options.layers,
        schemes=schemes,
        target=target,
        tokens=options.tokens,
        text=options.text,
        calibration=options.calibration_tokens,
        seed=options.seed,
        simulator=None if options.simulator == "none" else options.simulator,
        prompt=options.prompt,
        context=options.context,
        resources=options.resources,
    )
    if options.print_pipeline:
        print(compiler.pipeline(options.model, wanted, options.output))
        return 0, None
    if options.output is None:
        raise InputError("expected -o DIR, got none; say where to write")
    result = compiler.compile(options.model, options.output, wanted, progress=not options.quiet)
    print(result)
    for mismatch in result.mismatches:
        print(f"lutllm: error: {mismatch}", file=sys.stderr)
    answered = None if result.answer is None else result.answer.to_dict()
    return (0 if result.equal else 1), result.rows if linears else answered
