"""The `lutllm` command: each verb parses its options, calls the library, prints a report, returns an exit code.

0: done and right. 1: an error, or a comparison that failed. 2: wrong usage. No traceback without --debug.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from lutllm import __version__, store
from lutllm.errors import InputError, LutllmError, near
from lutllm.tools.verbs import arguments
from lutllm.tools.verbs import bench as bench_verb
from lutllm.tools.verbs import chat as chat_verb
from lutllm.tools.verbs import compile as compile_verb
from lutllm.tools.verbs import diff as diff_verb
from lutllm.tools.verbs import estimate as estimate_verb
from lutllm.tools.verbs import explore as explore_verb
from lutllm.tools.verbs import models as models_verb
from lutllm.tools.verbs import package as package_verb
from lutllm.tools.verbs import quantize as quantize_verb
from lutllm.tools.verbs import report as report_verb
from lutllm.tools.verbs import run as run_verb
from lutllm.tools.verbs import serve as serve_verb

INTERRUPTED = 130  # exit code after Ctrl-C
_GOES_ON = "the same command goes on where quantization was"
STAYS = {  # what is left of a verb that was interrupted
    **dict.fromkeys(("quantize", "run", "chat", "serve"), _GOES_ON),
    "compile": f"files written so far stay; {_GOES_ON}, and writes the others again",
    "explore": "points estimated so far stay; the same command goes on",
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = command_parser().parse_args(arguments)
    try:
        code, report = options.verb(options)
        if options.json and report is not None:  # a verb that has none writes its log itself
            store.write_json(options.json, report)
        return code
    except LutllmError as error:
        if options.debug:
            raise
        print(f"lutllm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"lutllm: interrupted; {options.stays}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if options.debug:
            raise
        where = f"'{error.filename}': " if error.filename else ""
        print(f"lutllm: error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except Exception as error:
        if options.debug:
            raise
        print(f"lutllm: error: unexpected {type(error).__name__}: {error}; run again with --debug", file=sys.stderr)
        return 1


def run() -> NoReturn:
    """The command. After Ctrl-C nothing waits for threads that still compute: every file is written whole or not."""
    code = main()
    if code == INTERRUPTED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


class _Parser(argparse.ArgumentParser):
    """Says which of the names may have been meant."""

    def error(self, message: str) -> NoReturn:
        known = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        hint = near(known[1], re.findall(r"[\w-]+", known[2])) if known else ""
        super().error(message + hint)


class _PrintCompletion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, _namespace: Any, shell: Any, option: str | None = None) -> None:
        import shtab  # slow to import, and only needed here

        if shell not in shtab.SUPPORTED_SHELLS:
            parser.error(f"argument {option}: invalid choice: '{shell}' (choose from {shtab.SUPPORTED_SHELLS})")
        print(shtab.complete(parser, shell))
        parser.exit(0)


def command_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lutllm", description="Compile a PyTorch LLM into a table-lookup accelerator, checked integer for integer."
    )
    parser.add_argument(
        "--print-completion", action=_PrintCompletion, metavar="SHELL", help="print completions for bash, zsh, tcsh ..."
    )
    parser.add_argument("--version", action="version", version=f"lutllm {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    compile_verb.compile_arguments(
        _verb(verbs, "compile", compile_verb.compile, "quantize, lower to SystemVerilog, simulate, compare")
    )
    _check_arguments(_verb(verbs, "check", _check, "show what a model becomes, or every op that keeps it from that"))
    quantize_verb.quantize_arguments(
        _verb(verbs, "quantize", quantize_verb.quantize, "quantize a whole model to integers, or some of its layers")
    )
    quantize_verb.eval_arguments(
        _verb(verbs, "eval", quantize_verb.evaluate, "measure a quantized model's perplexity beside the float model's")
    )
    run_verb.run_arguments(_verb(verbs, "run", run_verb.run, "answer a prompt with a quantized model"))
    chat_verb.chat_arguments(_verb(verbs, "chat", chat_verb.chat, "talk with a quantized model"))
    serve_verb.serve_arguments(_verb(verbs, "serve", serve_verb.serve, "answer clients of OpenAI's API"))
    _simulate_arguments(
        _verb(verbs, "simulate", _simulate, "run compiled programs again, with other memory or simulator")
    )
    diff_verb.diff_arguments(
        _verb(verbs, "diff", diff_verb.diff, "compare the levels of a compiled model, number by number")
    )
    package_verb.package_arguments(
        _verb(verbs, "package", package_verb.package, "write a compiled accelerator as an IP for Vivado and SLASH")
    )
    bench_verb.bench_arguments(
        _verb(verbs, "bench", bench_verb.bench, "measure a model's speed here, or the hardware engine's in simulation")
    )
    estimate_verb.estimate_arguments(
        _verb(verbs, "estimate", estimate_verb.estimate, "cycles, traffic, resources and energy of a model on a target")
    )
    explore_verb.explore_arguments(
        _verb(verbs, "explore", explore_verb.explore, "search for the best configurations of a target for a model")
    )
    report_verb.report_arguments(
        _verb(verbs, "report", report_verb.report, "write a page of a compiled model: cycles, ports, bits, resources")
    )
    models_verb.models_arguments(_verb(verbs, "models", models_verb.models, "list models by name, and the cache"))
    _verb(verbs, "doctor", _doctor, "say what is installed, what is missing and how to get it")
    return parser


def _verb(verbs: Any, name: str, run: Callable[..., tuple[int, Any]], summary: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.set_defaults(verb=run, stays=STAYS.get(name, "nothing was written"))
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON")
    parser.add_argument("--seed", type=arguments.count, default=0, help="seed of everything random (default 0)")
    parser.add_argument("--debug", action="store_true", help="show Python tracebacks")
    return parser


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=arguments.MODEL_HELP)
    parser.add_argument(
        "--first-layers", type=arguments.positive, metavar="N", help="look at the first N decoder layers only"
    )


def _check(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm import check

    found = check(options.model, seed=options.seed, layers=options.first_layers)
    print(found)
    return (0 if found.convertible else 1), found.to_dict()


def _simulate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="output directory of lutllm compile")
    parser.add_argument("--program", metavar="NAME", help="one program, as layer12.paper.built_row (default: all)")
    parser.add_argument("--simulator", choices=("arc", "verilator"), default="arc")
    parser.add_argument("--latency", type=arguments.positive, help="memory latency in cycles (default: the target's)")
    parser.add_argument("--stalls", type=int, default=0, metavar="N", help="chance in 256 that a channel pauses")
    parser.add_argument("--wave", metavar="FILE", help="write a VCD of the ports and registers (arc)")
    parser.add_argument("--wave-cycles", type=_window, metavar="FIRST:COUNT", help="default 0:2000")


def _window(text: str) -> tuple[int, int]:
    first, colon, count = text.partition(":")
    if not (colon and first.isdigit() and count.isdigit() and int(count)):
        raise argparse.ArgumentTypeError(f"expected FIRST:COUNT in cycles, got '{text}'")
    return int(first), int(count)


def _simulate(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm.report import text as report
    from lutllm.simulate.saved import simulate_saved

    if not 0 <= options.stalls < 256:
        raise InputError(f"expected --stalls in 0..255, got {options.stalls}")
    if options.wave_cycles and not options.wave:
        raise InputError("--wave-cycles says which cycles --wave FILE has: expected both, got the first alone")
    if options.wave and options.simulator != "arc":
        raise InputError(f"expected --wave with simulator arc, got {options.simulator}; leave one out")
    window = (options.wave_cycles or (0, 2000)) if options.wave else None
    runs = simulate_saved(
        Path(options.directory),
        options.program,
        simulator=options.simulator,
        latency=options.latency,
        stalls=options.stalls,
        seed=options.seed,
        trace=window,
        wave=options.wave,
    )
    print(report.simulated_table(runs))
    for run in runs:
        for mismatch in run["mismatches"]:
            print(f"lutllm: error: {mismatch}", file=sys.stderr)
    return (0 if all(run["equal"] for run in runs) else 1), runs


def _doctor(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm.doctor import diagnose

    found = diagnose()
    print(found)
    return (0 if found.healthy else 1), found.to_dict()


if __name__ == "__main__":
    run()
