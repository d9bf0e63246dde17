"""hw -> SystemVerilog: one module a file, and `filelist.f`.

In: a `Design` for target `sv`, or hw-level text. Out: files in a directory, the same bytes for the same input. The
text passes `verilator --lint-only -Wall lint.vlt -F filelist.f` and is read by Yosys 0.23.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from lutllm.errors import IRError
from lutllm.lowering.export.hw_to_arc import Port, keep_only, parse_hw, run_steps
from lutllm.lowering.hardware.lib.circt import LOWERING_OPTIONS, Design
from lutllm.lowering.hardware.lib.circt_bindings import export_split_verilog, hw, ir, port_names

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

# Verilator warnings that are meant: (rule, files, text of the warning, reason). Written to `lint.vlt`.
LINT_WAIVERS: tuple[tuple[str, str, str, str], ...] = (
    ("PINCONNECTEMPTY", "*", "*", "an instance may have outputs its parent does not need"),
    ("UNUSEDSIGNAL", "*axi_read_*", "*'rlast'*", "the reader counts beats; AXI4 gives the signal all the same"),
    ("UNUSEDSIGNAL", "*axi_read_*", "*'rid'*", "there is one id"),
    ("UNUSEDSIGNAL", "*axi_write_*", "*'bid'*", "there is one id"),
    ("UNUSEDSIGNAL", "*lut_accelerator.sv", "*_rid'*", "there is one id, and a crossing gives it itself"),
    ("UNUSEDSIGNAL", "*lut_accelerator.sv", "*_bid'*", "there is one id, and a crossing gives it itself"),
    ("UNUSEDSIGNAL", "*_crossing_*", "*'_addresses_out_data'*", "bursts of wider beats are shorter"),
    ("UNUSEDSIGNAL", "*row_builder.sv", "*", "the top bit of a shifted dot product: entries are proven to fit"),
    ("UNUSEDSIGNAL", "*front_end.sv", "*'c_data'*", "a shift takes 8 bits in memory and uses 5"),
    ("UNUSEDSIGNAL", "*requantizer.sv", "*'q_data'*", "a multiplier takes 32 bits in memory and uses 16"),
    ("UNUSEDSIGNAL", "*linear_core.sv", "*control_out'*", "the accumulator needs only part of the chain's last beat"),
    ("UNUSEDSIGNAL", "*", "*'task_*", "a task's fields are as wide as its descriptor says, a build's memories smaller"),
    ("UNUSEDSIGNAL", "*lut_accelerator.sv", "*'_sequencer_*", "some fields are reserved; a position has 32 bits"),
    ("UNUSEDSIGNAL", "*registers.sv", "*'ids_read_address'*", "a position may be the context, where no id is read"),
    ("UNUSEDSIGNAL", "*head_*.sv", "*", "fields of a task, as wide as its descriptor says; bits that rounding drops"),
    ("UNUSEDSIGNAL", "*heads.sv", "*'_words_word'*", "a head of few words has few bits of its counter in use"),
    ("UNUSEDSIGNAL", "*", "*'p_data'*", "a lane of stream p is a value and a shift; some engines need part of it"),
    ("UNUSEDSIGNAL", "*_lane.sv", "*", "bits that rounding drops, and sign bits above a proven bound"),
    ("UNUSEDSIGNAL", "*rope_pair_*", "*", "bits that rounding drops"),
    ("UNUSEDSIGNAL", "*reciprocal*", "*", "bits that rounding drops, and zeros above a proven bound"),
    ("UNUSEDSIGNAL", "*sigmoid.sv", "*", "bits that rounding drops"),
    ("UNUSEDSIGNAL", "*share_*.sv", "*", "bits that rounding drops"),
    ("UNUSEDSIGNAL", "*exp2_negative_*", "*", "bits that rounding drops"),
    ("UNUSEDSIGNAL", "*moments.sv", "*", "of a difference its sign counts, or what is left of it"),
    ("UNUSEDSIGNAL", "*attention_weighted.sv", "*'product_*", "bits that rounding drops"),
    ("UNUSEDSIGNAL", "*attention.sv", "*'rows_out_of_reach'*", "whole groups of rows are left out"),
)


FILE_LIST = "filelist.f"


def hw_to_sv(source: Design | str, top: str, directory: str | Path) -> list[Path]:
    """Write `top` and what it instantiates to `directory`, made if missing; returns the files in filelist order.

    Every file appears whole, the file list last; modules of an earlier list that are no longer used are removed.
    """
    if isinstance(source, Design) and source.target != "sv":
        raise IRError(f"expected a design for target 'sv', got {source.target!r}; build it again for 'sv'")
    module = parse_hw(source)
    keep_only(module, top)
    module.operation.attributes["circt.loweringOptions"] = ir.StringAttr.get(LOWERING_OPTIONS, module.context)
    run_steps(module, PASSES, "hw to SystemVerilog")
    for op in module.body.operations:
        if op.operation.name == "hw.module":
            _name_signals(op)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    earlier = set((directory / FILE_LIST).read_text().split()) if (directory / FILE_LIST).is_file() else set()
    with tempfile.TemporaryDirectory(dir=directory, prefix=".partial-") as work:
        export_split_verilog(module, work)
        Path(work, "lint.vlt").write_text(lint_configuration())
        names = Path(work, FILE_LIST).read_text().split()
        for name in (*names, "lint.vlt", FILE_LIST):
            Path(work, name).replace(directory / name)
    for name in earlier - set(names):
        (directory / name).unlink(missing_ok=True)
    return [directory / name for name in names]


def hw_ports(source: Design | str, top: str) -> tuple[Port, ...]:
    """The ports of module `top`; offsets are 0."""
    for op in parse_hw(source).body.operations:
        if op.operation.name == "hw.module" and op.attributes["sym_name"].value == top:
            kind = hw.ModuleType(ir.TypeAttr(op.attributes["module_type"]).value)
            return tuple(
                Port(name, 0, 1 if str(type_) == "!seq.clock" else ir.IntegerType(type_).width, direction)
                for names, types, direction in (
                    (kind.input_names, kind.input_types, "in"),
                    (kind.output_names, kind.output_types, "out"),
                )
                for name, type_ in zip(names, types, strict=True)
            )
    raise IRError(f"expected a module named {top!r}, got none")


def lint_configuration() -> str:
    """The waivers as a Verilator configuration file."""
    lines = ["`verilator_config"]
    for rule, files, text, reason in LINT_WAIVERS:
        match = "" if text == "*" else f' -match "{text}"'
        lines += [f"// {reason}", f'lint_off -rule {rule} -file "{files}"{match}']
    return "\n".join(lines) + "\n"


def _name_signals(module: ir.OpView) -> None:
    """Name unnamed values after what they feed (register, instance port, output), else the text says `_GEN_7`."""
    for op in module.regions[0].blocks[0].operations:
        kind = op.operation.name
        if kind == "sv.alwaysff":
            _name_assigned(op)
        elif kind == "hw.instance":
            ports = port_names(op)
            instance = ir.StringAttr(op.attributes["instanceName"]).value
            for port, operand in zip(ports, op.operands, strict=True):
                _hint(operand, f"{instance}_{port}")
        elif kind == "hw.output":
            for port, operand in zip(_output_names(module), op.operands, strict=True):
                _hint(operand, f"{port}_value")


def _name_assigned(op: ir.OpView) -> list[str]:
    """Name what registers load and the conditions they load under; returns the registers assigned inside `op`."""
    assigned: list[str] = []
    for region in op.regions:
        for block in region.blocks:
            for inner in block.operations:
                if inner.operation.name == "sv.passign":
                    register = ir.StringAttr(inner.operands[0].owner.attributes["name"]).value
                    _hint(inner.operands[1], f"{register}_next")
                    assigned.append(register)
                else:
                    assigned += _name_assigned(inner)
    if op.operation.name == "sv.if" and assigned:
        _hint(op.operands[0], f"{assigned[0]}_enable")
    return assigned


def _output_names(module: ir.OpView) -> list[str]:
    return list(hw.ModuleType(ir.TypeAttr(module.attributes["module_type"]).value).output_names)


def _hint(value: ir.Value, name: str) -> None:
    owner = value.owner
    if not isinstance(owner, ir.Block) and owner.name.startswith("comb.") and "sv.namehint" not in owner.attributes:
        owner.attributes["sv.namehint"] = ir.StringAttr.get(name, owner.context)
