"""`lutllm-translate`: text of a level in, what is no MLIR of that level any more out - an image, hw text,
SystemVerilog.

Together with `lutllm-opt` it goes from any file in `ir/` to the same bytes as `lutllm compile`, in a process of its
own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lutllm import dialect, store
from lutllm.bindings import capture_diagnostics, ir
from lutllm.errors import InputError, IRError, LutllmError
from lutllm.lowering import PASSES
from lutllm.lowering.levels import check_level
from lutllm.passes import run_pipeline

SCHEDULED_TO_IMAGE, SCHEDULED_TO_HW, HW_TO_SV = "scheduled-to-image", "scheduled-to-hw", "hw-to-sv"


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        options.translation(options)
    except LutllmError as error:
        if options.debug:
            raise
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: '{error.filename or options.input}': {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lutllm-translate", description=(__doc__ or "").split("\n")[0])
    kinds = parser.add_mutually_exclusive_group(required=True)
    found: tuple[tuple[str, Callable[[Any], None], str], ...] = (
        (SCHEDULED_TO_IMAGE, scheduled_to_image, "scheduled IR and --store to the memory image, -o FILE"),
        (SCHEDULED_TO_HW, scheduled_to_hw, "the machine of placed or scheduled IR to hw text, -o FILE"),
        (HW_TO_SV, hw_to_sv, "hw text to SystemVerilog, one module a file, -o DIR"),
    )
    for name, function, text in found:
        kinds.add_argument(f"--{name}", dest="translation", action="store_const", const=function, help=text)
    parser.add_argument("input", nargs="?", default="-", help="a file, or - for standard input (default)")
    parser.add_argument("-o", "--output", required=True, metavar="PATH")
    parser.add_argument("--store", metavar="FILE", help="parameters.safetensors of the model, or its directory")
    parser.add_argument("--debug", action="store_true", help="show Python tracebacks")
    return parser


def scheduled_to_image(options: argparse.Namespace) -> None:
    from lutllm.lowering.export.image.whole import write_image

    if options.store is None:
        raise InputError("expected --store with the model's arrays, got none; name its parameters.safetensors")
    parameters = store.load(options.store)
    module = _module(options.input)
    check_level(module, "scheduled")
    run_pipeline(module, "builtin.module(lut-verify-schedule)", passes=PASSES)  # it may have been edited
    wanted, digest = dialect.store_of(module), store.sha256(parameters.path)
    if wanted is not None and digest != wanted:
        raise InputError(
            f"'{parameters.path}': expected SHA-256 {wanted}, as lut.store says, got {digest}; "
            "name the store of this model"
        )
    write_image(options.output, module, parameters)


def scheduled_to_hw(options: argparse.Namespace) -> None:
    from lutllm.lowering.hardware.accelerator_to_hw import accelerator_to_hw
    from lutllm.lowering.machine.form import read_machine

    _refuse_store(options)
    config = read_machine(_module(options.input).operation).config
    store.write_atomic(options.output, accelerator_to_hw(config, "sv").text().encode())


def hw_to_sv(options: argparse.Namespace) -> None:
    from lutllm.lowering.export import hw_to_sv as export
    from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP

    _refuse_store(options)
    try:
        export.hw_to_sv(_text(options.input), ACCELERATOR_TOP, options.output)
    except IRError as problem:
        raise IRError(problem.message.replace('"-":', f"{options.input}:")) from None  # as CIRCT calls what it reads


def _refuse_store(options: argparse.Namespace) -> None:
    if options.store is not None:
        raise InputError(f"--store is for --{SCHEDULED_TO_IMAGE}: hardware does not depend on weights; leave it out")


def _text(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text()
    except UnicodeDecodeError:
        raise InputError(f"'{name}': expected MLIR text, got other bytes") from None


def _module(name: str) -> ir.Module:
    """A module of the lut dialect, verified; `InputError` with the first diagnostic."""
    context = dialect.context()
    with capture_diagnostics(context) as seen, context, ir.Location.unknown():
        try:
            module = ir.Module.parse(_text(name)) if name == "-" else ir.Module.parseFile(name, context)
        except ir.MLIRError:
            module = None
        if module is not None and dialect.verify(module):
            return module
    first = next((d for d in seen if d.severity == "error"), None)
    raise InputError(f"'{name}': expected IR that verifies, got {first}; compile again, or mend what was edited")


if __name__ == "__main__":
    sys.exit(main())
