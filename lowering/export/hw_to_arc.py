"""hw -> arc -> LLVM IR: from a clocked module to a function that steps it.

In: a `Design` for target `arc`, or hw-level text, and the name of the top module. Out: LLVM IR text with one
function `void TOP_eval(ptr state)`, and where every port, register and memory lives inside `state`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from lutllm.errors import IRError
from lutllm.lowering.export.hw_blocks import Cut, cut, without_bodies
from lutllm.lowering.hardware.lib.circt import Design
from lutllm.lowering.hardware.lib.circt_bindings import comb, export_llvm_ir, hw, ir, parse, run_passes, seq
from lutllm.lowering.hardware.lib.memory import PART, WIDEST

# (passes, why they stand here). Each entry runs inside `builtin.module(...)`, in this order.
TO_ONE_MODULE: tuple[tuple[str, str], ...] = (
    ("hw.module(lower-seq-shiftreg,lower-seq-compreg-ce)", "arc has plain registers only; an enable reads as a loop"),
    ("lower-seq-firmem", "memories become generator ops, the form arc-infer-memories reads"),
    ("arc-strip-sv", "drops what only Verilog needs and rewrites firreg as compreg"),
    ("hw-convert-bitcasts", "array bitcasts have no arc lowering"),
    ("arc-infer-memories{tap-ports=0}", "generated memories become arc.memory; port taps would cost stores per cycle"),
    ("hw-flatten-modules", "instances look like combinational loops to arc; must run before any func op exists"),
    ("canonicalize,cse", "flattening leaves duplicate constants and dead logic"),
)
TO_ALLOCATED_STATE: tuple[tuple[str, str], ...] = (
    ("convert-to-arcs", "splits the module into state transfer functions"),
    ("arc-dedup", "equal functions of replicated instances are shared"),
    ("cse,arc-canonicalizer", "drops arguments that deduplication made equal"),
    ("arc-split-loops", "an arc with several results may look like a loop"),
    ("arc-dedup", "the split arcs are new candidates"),
    ("cse,arc-canonicalizer", "cleans up after them"),
    ("arc-inline", "calls of small functions cost more than their bodies"),
    ("cse,arc-canonicalizer", "inlining exposes common expressions"),
    ("arc-lower-state", "registers become loads and stores under a clock edge"),
    ("cse", "loads of one register are shared"),
    ("arc-merge-ifs,cse,arc-canonicalizer", "one branch per clock edge instead of one per register"),
    ("arc.model(arc-allocate-state)", "gives every port, register and memory its offset"),
)
TO_LLVM: tuple[tuple[str, str], ...] = (
    ("arc-lower-arcs-to-funcs", "arcs become functions"),
    ("arc-lower-clocks-to-funcs", "clock bodies become functions"),
    ("cse,arc-canonicalizer", "cleans up after them"),
    ("lower-arc-to-llvm", "the LLVM dialect"),
    ("cse,canonicalize", "less text for LLVM to read"),
)


@dataclass(frozen=True)
class Port:
    """A port of the top module: `bits` wide, little endian at byte `offset`; `direction` is `in` or `out`."""

    name: str
    offset: int
    bits: int
    direction: str

    @property
    def bytes(self) -> int:
        return -(-self.bits // 8)


@dataclass(frozen=True)
class State:
    """A register (`depth` 0) or a memory of `depth` words `stride` bytes apart; `name` is its path, joined by `/`."""

    name: str
    offset: int
    bits: int
    depth: int = 0
    stride: int = 0

    @property
    def bytes(self) -> int:
        return -(-self.bits // 8)


@dataclass(frozen=True)
class Layout:
    """What a simulator's state buffer holds. `function` steps it."""

    top: str
    function: str
    size: int
    ports: tuple[Port, ...]
    states: tuple[State, ...] = ()

    def port(self, name: str) -> Port:
        for port in self.ports:
            if port.name == name:
                return port
        raise KeyError(f"{self.top} has no port {name!r}; it has {', '.join(p.name for p in self.ports)}")

    def has_port(self, name: str) -> bool:
        return any(port.name == name for port in self.ports)

    def state(self, name: str) -> State:
        for state in self.states:
            if state.name == name:
                return state
        raise KeyError(f"{self.top} has no register or memory {name!r}")


@dataclass(frozen=True)
class ArcModel:
    """`cuts` are instances of `blocks`, models of their own, which `llvm_ir` leaves out."""

    llvm_ir: str
    layout: Layout
    cuts: tuple[Cut, ...] = ()
    blocks: Mapping[str, ArcModel] = field(default_factory=dict)


def hw_to_arc(source: Design | str, top: str, blocks: Collection[str] = ()) -> ArcModel:
    """Lower module `top` of `source` and everything it instantiates. `source` is not changed.

    `blocks` are modules of one clock, a port of `top`, that are lowered once each: a design that repeats them is
    compiled sooner by far.
    """
    if isinstance(source, Design) and source.target != "arc":
        raise IRError(f"expected a design for target 'arc', got {source.target!r}; build it again for 'arc'")
    parts = {name: hw_to_arc(source, name) for name in blocks}
    module = parse_hw(source)
    without_bodies(module, blocks)
    keep_only(module, top)
    for op in module.body.operations:
        if op.operation.name == "hw.module.extern" and (name := op.attributes["sym_name"].value) not in blocks:
            raise IRError(f"{top!r} instantiates external module {name!r}, which has no body; build for target 'arc'")
    run_steps(module, TO_ONE_MODULE, "hw to arc")
    cuts = cut(module, top) if blocks else []
    _reset_by_multiplexer(module)
    _wide_registers_in_parts(module)
    run_steps(module, TO_ALLOCATED_STATE, "hw to arc")
    layout = _layout(module, top)
    run_steps(module, TO_LLVM, "hw to arc")
    return ArcModel(export_llvm_ir(module), layout, tuple(cuts), parts)


def parse_hw(source: Design | str) -> ir.Module:
    """A copy of `source` in a context of its own."""
    try:
        return parse(source.text() if isinstance(source, Design) else source)
    except ir.MLIRError as error:
        raise IRError(f"hw module: {_first_diagnostic(error)}") from error


def run_steps(module: ir.Module, steps: tuple[tuple[str, str], ...], what: str) -> None:
    """Run (passes, reason) steps; `what` names the lowering in an error."""
    for passes, _reason in steps:
        try:
            run_passes(module, [passes])
        except ir.MLIRError as error:
            raise IRError(f"lowering {what}, pass {passes!r}: {_first_diagnostic(error)}") from error


def _first_diagnostic(error: Exception) -> str:
    """The first error line of an MLIRError and the op it stands on."""
    lines = [line.strip() for line in str(error).splitlines()]
    message = next((line for line in lines if line.startswith("error:")), lines[0])
    shown = [line.split("see current operation:")[1] for line in lines if "see current operation:" in line]
    operation = shown[0] if shown else ""
    name = re.search(r'"([a-z_]+\.[\w.]+)"|= ([a-z_]+\.[\w.]+)', operation)
    found = f' (op "{name.group(1) or name.group(2)}": {operation.strip()[:200]})' if name else ""
    return message.removeprefix("error:").strip() + found


def keep_only(module: ir.Module, top: str) -> None:
    """Erase modules `top` does not reach; make all but `top` private, so that flattening removes them."""
    ops = {op.attributes["sym_name"].value: op for op in module.body.operations if "sym_name" in op.attributes}
    if top not in ops:
        raise IRError(f"expected a module named {top!r}, got {', '.join(sorted(ops)) or 'none'}")
    reached, waiting = {top}, [top]
    while waiting:
        for name in _references(ops[waiting.pop()].operation):
            if name in ops and name not in reached:
                reached.add(name)
                waiting.append(name)
    for name, op in ops.items():
        if name not in reached:
            op.operation.erase()
        elif name != top:
            op.attributes["sym_visibility"] = ir.StringAttr.get("private", module.context)


def _references(op: ir.Operation) -> Iterator[str]:
    for region in op.regions:
        for block in region.blocks:
            for inner in block.operations:
                if inner.operation.name == "hw.instance":
                    yield ir.FlatSymbolRefAttr(inner.attributes["moduleName"]).value
                yield from _references(inner.operation)


def _reset_by_multiplexer(module: ir.Module) -> None:
    """Give registers that reset to a value other than 0 a multiplexer instead: convert-to-arcs refuses them."""
    for top in module.body.operations:
        if top.operation.name != "hw.module":
            continue
        for op in list(top.regions[0].blocks[0].operations):
            if op.operation.name != "seq.compreg" or len(op.operands) != 4 or _is_zero(op.operands[3]):
                continue
            following, clock, reset, value = op.operands
            with ir.InsertionPoint(op), op.location:
                chosen = comb.mux(reset, value, following)
                plain = seq.compreg(chosen, clock, name=ir.StringAttr(op.attributes["name"]).value)
            op.operation.results[0].replace_all_uses_with(plain)
            op.operation.erase()


def _wide_registers_in_parts(module: ir.Module) -> None:
    """What takes some bits of a register then reads these alone: integers of thousands of bits are slow."""
    for top in module.body.operations:
        if top.operation.name != "hw.module":
            continue
        for op in list(top.regions[0].blocks[0].operations):
            if op.operation.name != "seq.compreg" or ir.IntegerType(op.operation.results[0].type).width <= WIDEST:
                continue
            value, clock, *reset = op.operands
            name, width = ir.StringAttr(op.attributes["name"]).value, ir.IntegerType(value.type).width
            with ir.InsertionPoint(op), op.location:
                zeros = dict(reset=reset[0]) if reset else {}
                parts: list[ir.Value] = []
                for low in range(0, width, PART):
                    type_ = ir.IntegerType.get_signless(min(PART, width - low))
                    if reset:
                        zeros["reset_value"] = hw.ConstantOp(ir.IntegerAttr.get(type_, 0)).result
                    part = comb.extract(type_, value, low)
                    parts.insert(0, seq.compreg(part, clock, name=f"{name}_{low}", **zeros))
                whole = comb.concat(parts)
            op.operation.results[0].replace_all_uses_with(whole)
            op.operation.erase()
    run_steps(module, (("canonicalize", "bits of a concatenation are those of a part"),), "hw to arc")


def _is_zero(value: ir.Value) -> bool:
    owner = value.owner
    return owner.name == "hw.constant" and int(ir.IntegerAttr(owner.attributes["value"])) == 0


_WIDTH = re.compile(r"!arc\.state<(?:i(\d+)|!seq\.clock)>")
_MEMORY = re.compile(r"!arc\.memory<(\d+) x i(\d+)")


def _layout(module: ir.Module, top: str) -> Layout:
    """Read offsets from the ops arc-allocate-state annotated."""
    model = next(op for op in module.body.operations if op.operation.name == "arc.model")
    size = int(re.search(r"storageBytes (\d+)", str(model).split("\n", 1)[0]).group(1))  # type: ignore[union-attr]
    ports: list[Port] = []
    states: list[State] = []
    for op in model.regions[0].blocks[0].operations:
        kind = op.operation.name
        if kind in ("arc.root_input", "arc.root_output"):
            direction = "in" if kind == "arc.root_input" else "out"
            ports.append(Port(_name(op), _integer(op, "offset"), _bits(op), direction))
        elif kind == "arc.alloc_state" and "name" in op.attributes:
            states.append(State(_name(op), _integer(op, "offset"), _bits(op)))
        elif kind == "arc.alloc_memory":
            depth, bits = map(int, _MEMORY.search(str(op.operation.results[0].type)).groups())  # type: ignore[union-attr]
            name = _name(op).removesuffix("_ext") if "name" in op.attributes else f"memory{len(states)}"
            states.append(State(name, _integer(op, "offset"), bits, depth, _integer(op, "stride")))
    return Layout(top, f"{top}_eval", size, tuple(ports), _unique(states))


def _unique(states: list[State]) -> tuple[State, ...]:
    """Registers of one name in one instance (the stages of a delay) numbered from the second on."""
    unique: list[State] = []
    taken: set[str] = set()
    for state in states:
        name, number = state.name, 0
        while name in taken:
            number += 1
            name = f"{state.name}_{number}"
        taken.add(name)
        unique.append(replace(state, name=name))
    return tuple(unique)


def _name(op: ir.OpView) -> str:
    return str(op.attributes["name"].value)


def _integer(op: ir.OpView, attribute: str) -> int:
    return int(ir.IntegerAttr(op.attributes[attribute]).value)


def _bits(op: ir.OpView) -> int:
    text = str(op.operation.results[0].type)
    found = _WIDTH.fullmatch(text)
    if not found:
        raise IRError(f"port or register {_name(op)!r}: expected an integer, got {text}; unpack aggregates before arc")
    return int(found.group(1) or 1)
