"""hw -> SystemVerilog: one module a file, and `filelist.f`.

In: a `Design` for target `sv`, or hw-level text. Out: files in a directory, the same bytes for the same input. The
text passes `verilator --lint-only -Wall` with `LINT_WAIVERS` and is read by Yosys 0.23.
"""

from __future__ import annotations

from pathlib import Path

from lutllm.lowering.circt import LOWERING_OPTIONS, Design, export_split_verilog, ir
from lutllm.lowering.hw_to_arc import keep_only, parse_hw, run_steps

# (passes, why they stand here). Each entry runs inside `builtin.module(...)`, in this order.
PASSES: tuple[tuple[str, str], ...] = (
    ("hw.module(lower-seq-shiftreg)", "shift registers become registers"),
    ("canonicalize,cse", "constant folding and sharing make the text shorter"),
    ("hw-convert-bitcasts,hw.module(hw-aggregate-to-comb)", "Yosys 0.23 does not read packed arrays"),
    ("lower-seq-to-sv{disable-reg-randomization}", "registers become always_ff, an enable stays `if (enable)`"),
    ("hw.module(lower-verif-to-sv)", "assertions, which Verilog export would otherwise drop with a warning"),
    ("hw.module(hw-cleanup),canonicalize,cse", "merges always blocks of one clock"),
    ("hw.module(prettify-verilog)", "inlines single uses and sinks what only one branch needs"),
    ("hw.module(hw-legalize-modules)", "rewrites what the lowering options forbid"),
)

# Verilator's warnings that are meant, with the reason.
LINT_WAIVERS: dict[str, str] = {}


def hw_to_sv(source: Design | str, top: str, directory: str | Path) -> list[Path]:
    """Write `top` and what it instantiates to `directory`, made if missing; returns the files in filelist order."""
    module = parse_hw(source)
    keep_only(module, top)
    module.operation.attributes["circt.loweringOptions"] = ir.StringAttr.get(LOWERING_OPTIONS, module.context)
    run_steps(module, PASSES, "hw to SystemVerilog")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    export_split_verilog(module, str(directory))
    names = (directory / "filelist.f").read_text().split()
    return [directory / name for name in names]
