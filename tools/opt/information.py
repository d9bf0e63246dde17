"""What lutllm-opt prints about itself: passes, dialects, IRDL, versions."""

import argparse
import re
import subprocess
from collections.abc import Sequence

import lutllm
from lutllm import dialect
from lutllm.bindings import capture_diagnostics, ir, load_torch_dialects, torch_mlir_opt
from lutllm.errors import InputError
from lutllm.passes import Pass
from lutllm.passes.pipeline import PassItem
from lutllm.passes.runner import check_upstream
from lutllm.tools.opt.arguments import list_passes


def information(options: argparse.Namespace, passes: Sequence[type[Pass]]) -> str | None:
    """The text an option such as --version asks for, or None where none does."""
    if options.version:
        return version()
    if options.list_passes:
        return all_passes(passes)
    if options.show_dialects:
        return f"Available Dialects: {','.join(dialects())}\n"
    if options.emit_irdl:
        return dialect.irdl_text()
    return None


def version() -> str:
    import importlib.metadata  # slow to import, and only needed here

    wheel = importlib.metadata.version("torch-mlir")
    return f"lutllm-opt {lutllm.__version__}\nMLIR bindings: torch-mlir {wheel}\n"


def dialects() -> list[str]:
    """Every dialect the tool can parse. The bindings list them nowhere but in the error for an unknown one."""
    with dialect.context() as ctx, ir.Location.unknown():
        load_torch_dialects(ctx)
        with capture_diagnostics(ctx) as seen:
            try:
                ir.Module.parse("no_such_dialect.op")
            except ir.MLIRError:
                names = next(d.message for d in seen if "Available dialects: " in d.message)
    # "Available dialects: affine, ..., lut (*), torch (* corresponding to loaded but unregistered dialects); for more"
    listed = names.split("Available dialects: ")[1].split(";")[0]
    return re.sub(r" \(.*?\)", "", listed).strip().split(", ")


def all_passes(passes: Sequence[type[Pass]]) -> str:
    """Our passes, and those of MLIR whose names `torch-mlir-opt` knows too: the bindings cannot list theirs."""
    upstream = "".join(f"  --{name}\n" for name in upstream_passes())
    return (
        f"lutllm passes:\n{list_passes(passes)}\n\n"
        f"MLIR passes (those torch-mlir-opt lists; others, such as one-shot-bufferize, work too):\n{upstream}"
    )


def upstream_passes() -> list[str]:
    tool = torch_mlir_opt()
    if tool is None:
        return []
    listed = subprocess.run([tool, "--list-passes"], capture_output=True, text=True, check=False).stdout
    found = []
    for name in re.findall(r"^  --([\w-]+?) *-   ", listed, re.MULTILINE):
        try:
            check_upstream(PassItem(name))
        except InputError:
            continue
        found.append(name)
    return found
