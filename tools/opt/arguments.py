"""The command line of lutllm-opt: arguments in, an `argparse.Namespace` and the pass flags in their order out."""

import argparse
from collections.abc import Sequence

from lutllm.passes import Pass
from lutllm.passes.pipeline import PassItem
from lutllm.tools.opt.flags import UsageError
from lutllm.tools.opt.input import SPLIT_MARKER

_BOOLEAN = {"1": True, "true": True, "0": False, "false": False}
# Options whose value may be left out. argparse would take the next argument for it.
_IMPLIED = {"--verify-each": "1", "--split-input-file": SPLIT_MARKER, "--verify-diagnostics": "all"}
DESCRIPTION = """Run passes on MLIR text or bytecode and print the result: lut and torch IR, and everything upstream.

Every pass is also a flag, run in the order given: --lut-decompose="row-source=built_row" --canonicalize --cse.
Exit code 0: done; 1: the input or a pass failed; 2: the command line is wrong."""


def parse_arguments(argv: Sequence[str], passes: Sequence[type[Pass]]) -> tuple[argparse.Namespace, list[PassItem]]:
    """Options and pass flags; a wrong command line exits with 2, or is a `UsageError`."""
    parser = _parser(passes)
    arguments, flags = _separate(parser, argv)
    options = parser.parse_args(arguments)
    _check(options, flags)
    return options, flags


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
    add("--run-reproducer", action="store_true", help="run the pipeline that the input, a reproducer, holds")
    add("--split-input-file", metavar="MARKER", help="treat parts between `// -----` (or MARKER) lines one by one")
    add(
        "--verify-diagnostics",
        choices=("all", "only-expected"),
        help="check diagnostics against expected-error comments; with =only-expected, others do not count",
    )
    add("--verify-each", type=_boolean, default=True, metavar="0|1", help="verify after each pass (default 1)")
    add("--allow-unregistered-dialect", action="store_true", help="accept ops of dialects nobody registered")
    add("--mlir-disable-threading", action="store_true", help="use one thread, as lutllm-opt always does")
    add("--emit-bytecode", action="store_true", help="write bytecode instead of text")
    _add_printing(parser)
    _add_watching(parser)
    add("--list-passes", action="store_true", help="list the passes and exit")
    add("--show-dialects", action="store_true", help="list the dialects and exit")
    add("--emit-irdl", action="store_true", help="print the lut dialect as IRDL and exit")
    add("--version", action="store_true", help="print the versions of lutllm and of its MLIR and exit")
    add("--debug", action="store_true", help="show Python tracebacks; run in one process")
    return parser


def _add_printing(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--mlir-print-op-generic", action="store_true", help="print every op in the generic form")
    add("--mlir-print-debuginfo", action="store_true", help="print locations")
    add("--mlir-print-local-scope", action="store_true", help="print types, attributes and locations without aliases")
    for what, kind in (("elementsattrs", "elements attributes"), ("resource-strings", "resources")):
        add(f"--mlir-elide-{what}-if-larger", type=_count, metavar="N", help=f"leave out larger {kind}")


def _add_watching(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    for when in ("before", "after"):
        add(f"--mlir-print-ir-{when}", action="append", default=[], metavar="PASS,...", help=f"print IR {when} these")
        add(f"--mlir-print-ir-{when}-all", action="store_true", help=f"print IR {when} every pass, on stderr")
    add("--mlir-print-ir-after-change", action="store_true", help="of these, print after a pass only what it changed")
    add("--mlir-print-ir-tree-dir", metavar="DIR", help="print IR to files in DIR, a folder for each operation")
    add("--mlir-timing", action="store_true", help="report the time each pass took, on stderr")
    add("--mlir-pass-statistics", action="store_true", help="report what each pass counted, on stderr")
    add("--mlir-pass-pipeline-crash-reproducer", metavar="FILE", help="write a FILE for --run-reproducer on failure")
    add("--dump-pass-pipeline", action="store_true", help="print the pipeline with all options, on stderr")


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


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, got '{text}'")
    return int(text)


def _separate(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[list[str], list[PassItem]]:
    """The driver's own arguments, and the pass flags. One dash counts as two, as in MLIR's tools."""
    own: list[str] = []
    flags: list[PassItem] = []
    for argument in argv:
        if argument[:1] == "-" and argument[1:2] != "-" and len(argument) > 2:
            argument = f"-{argument}"
        name, _, value = argument.partition("=")
        if name in _IMPLIED and not value:
            argument = f"{name}={_IMPLIED[name]}"
        if name.startswith("--") and name not in parser._option_string_actions:
            flags.append(PassItem(name[2:], value.strip()))
        else:
            own.append(argument)
    return own, flags


def _check(options: argparse.Namespace, flags: Sequence[PassItem]) -> None:
    """Options that need another, or exclude each other."""
    o = options
    ways = ["--pass-pipeline"] if o.pass_pipeline is not None else []
    ways += ["--run-reproducer"] if o.run_reproducer else []
    if len(ways) > 1 or (o.run_reproducer and o.split_input_file):
        other = "--pass-pipeline" if len(ways) > 1 else "--split-input-file"
        raise UsageError(f"expected either --run-reproducer or {other}, got both")
    if ways and flags:
        raise UsageError(f"expected either {ways[0]} or pass flags, got both (--{flags[0].name})")
    after = o.mlir_print_ir_after or o.mlir_print_ir_after_all
    if o.mlir_print_ir_after_change and not after:
        raise UsageError("--mlir-print-ir-after-change needs --mlir-print-ir-after-all or --mlir-print-ir-after=PASS")
    if o.mlir_print_ir_tree_dir is not None and not (after or o.mlir_print_ir_before or o.mlir_print_ir_before_all):
        raise UsageError("--mlir-print-ir-tree-dir needs --mlir-print-ir-after-all or another that prints IR")
