"""The command line of lutllm-opt: arguments in, an `argparse.Namespace` and the pass flags in their order out."""

import argparse
from collections.abc import Sequence

from lutllm.bindings import capture_diagnostics, ir, passmanager
from lutllm.errors import InputError
from lutllm.passes import Pass
from lutllm.passes.pipeline import Nest, PassItem, parse_pipeline
from lutllm.passes.runner import check_upstream

_BOOLEAN = {"1": True, "true": True, "0": False, "false": False}
DESCRIPTION = """Run passes on MLIR text or bytecode and print the result: lut and torch IR, and everything upstream.

Every pass is also a flag, run in the order given: --lut-decompose="row-source=built_row" --canonicalize --cse.
Exit code 0: done; 1: the input or a pass failed; 2: the command line is wrong."""


def parse_arguments(argv: Sequence[str], passes: Sequence[type[Pass]]) -> tuple[argparse.Namespace, Nest]:
    """Options, and the pipeline they ask for; a wrong command line exits with 2, a wrong pipeline is an InputError."""
    parser = _parser(passes)
    arguments, flags = _separate(parser, argv)
    options = parser.parse_args(arguments)
    registry = {p.name: p for p in passes}
    for flag in flags:
        _check_flag(parser, flag, registry)
    if options.pass_pipeline is None:
        return options, _pipeline_of(flags, registry)
    if flags:
        parser.error(f"expected either --pass-pipeline or pass flags, got both (--{flags[0].name})")
    return options, parse_pipeline(options.pass_pipeline)


def _parser(passes: Sequence[type[Pass]]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lutllm-opt",
        description=DESCRIPTION,
        epilog="lutllm passes:\n" + list_passes(passes),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("input", nargs="?", default="-", help="MLIR text or bytecode; - (the default) is stdin")
    add("-o", dest="output", default="-", metavar="FILE", help="where to write; - (the default) is stdout")
    add("--pass-pipeline", metavar="TEXT", help="the passes to run, as builtin.module(a,func.func(b{k=v}))")
    add("--split-input-file", action="store_true", help="treat parts between `// -----` lines one by one")
    add("--verify-diagnostics", action="store_true", help="check diagnostics against expected-error comments")
    add("--verify-each", type=_boolean, default=True, metavar="0|1", help="verify after each pass (default 1)")
    add("--allow-unregistered-dialect", action="store_true", help="accept ops of dialects nobody registered")
    add("--emit-bytecode", action="store_true", help="write bytecode instead of text")
    add("--mlir-print-op-generic", action="store_true", help="print every op in the generic form")
    add("--mlir-print-debuginfo", action="store_true", help="print locations")
    for when in ("before", "after"):
        add(f"--mlir-print-ir-{when}", action="append", default=[], metavar="PASS,...", help=f"print IR {when} these")
        add(f"--mlir-print-ir-{when}-all", action="store_true", help=f"print IR {when} every pass, on stderr")
    add("--mlir-timing", action="store_true", help="report the time each pass took, on stderr")
    add("--dump-pass-pipeline", action="store_true", help="print the pipeline with all options, on stderr")
    add("--list-passes", action="store_true", help="list the passes and exit")
    add("--show-dialects", action="store_true", help="list the dialects and exit")
    add("--emit-irdl", action="store_true", help="print the lut dialect as IRDL and exit")
    add("--version", action="store_true", help="print the versions of lutllm and of its MLIR and exit")
    add("--debug", action="store_true", help="show Python tracebacks; run in one process")
    return parser


def list_passes(passes: Sequence[type[Pass]]) -> str:
    lines = []
    for p in sorted(passes, key=lambda p: p.name):
        lines.append(f"  --{p.name:<28} {p.summary()}")
        for key, field in p.options().items():
            lines.append(f"      {key}={type(field.default).__name__:<20} (default {field.default!r})")
    return "\n".join(lines)


def _boolean(text: str) -> bool:
    if text not in _BOOLEAN:
        raise argparse.ArgumentTypeError(f"expected 0 or 1, got '{text}'")
    return _BOOLEAN[text]


def _separate(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[list[str], list[PassItem]]:
    """The driver's own arguments, and the pass flags. One dash counts as two, as in MLIR's tools."""
    own: list[str] = []
    flags: list[PassItem] = []
    for argument in argv:
        if argument[:1] == "-" and argument[1:2] != "-" and len(argument) > 2:
            argument = f"-{argument}"
        name, _, value = argument.partition("=")
        if name == argument == "--verify-each":
            argument += "=1"
        if name.startswith("--") and name not in parser._option_string_actions:
            flags.append(PassItem(name[2:], value.strip()))
        else:
            own.append(argument)
    return own, flags


def _check_flag(parser: argparse.ArgumentParser, flag: PassItem, registry: dict[str, type[Pass]]) -> None:
    """A flag is a pass of ours or of MLIR's; anything else is a wrong command line."""
    try:
        if flag.name in registry:
            registry[flag.name].from_options(flag.options)
        else:
            check_upstream(flag, registry)
    except InputError as problem:
        parser.error(f"--{flag.name}: {problem.message}")


def _pipeline_of(flags: Sequence[PassItem], registry: dict[str, type[Pass]]) -> Nest:
    """Flags as a pipeline. As in MLIR's tools, a pass that runs on functions only is nested without being asked."""
    items: list[PassItem | Nest] = []
    for flag in flags:
        own = registry.get(flag.name)
        on_function = own.anchor == "func.func" if own else _runs_on_functions_only(flag)
        items.append(Nest("func.func", (flag,)) if on_function else flag)
    return Nest("builtin.module", tuple(items))


def _runs_on_functions_only(flag: PassItem) -> bool:
    """Whether MLIR refuses the pass on a module: when it parses the pipeline, or runs it (here, on an empty one)."""
    with ir.Context() as ctx, ir.Location.unknown(), capture_diagnostics(ctx) as seen:
        try:
            passmanager.PassManager.parse(f"builtin.module({flag})").run(ir.Module.create().operation)
        except ValueError as problem:
            return "restricted to 'func.func'" in str(problem)
        except ir.MLIRError:
            return any("unable to schedule pass" in d.message for d in seen)
    return False
