"""The machine: what hardware is built of. Module level; the hardware generator reads these ops and nothing else.

`lut.machine` holds a `lut.linear_engine`, on-chip memories, FIFOs where they do not have their usual depth, and
`lut.clocks` where memory has a clock of its own.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any

from lutllm.bindings import ext, ir
from lutllm.dialect.base import Invalid, LutOp, elements, entries, expect, integer, read
from lutllm.dialect.machines.limits import (
    CLOCK_RANGES,
    ENGINE_RANGES,
    MACHINE_RANGES,
    MOST_WORDS,
    clock_problems,
    engine_problems,
    head_problems,
    machine_problems,
)

MEMORIES = ("r", "x", "y", "q")  # on chip


def check_inside(op: LutOp, parent: str) -> None:
    """The op must stand directly in an op of that name."""
    around = op.operation.parent
    name = "nothing" if around is None else around.operation.name
    expect(name == parent, f"a '{parent}' around it", f"'{name}'", f"move it to the {parent.rpartition('.')[2]}")


def check_module_level(op: LutOp) -> None:
    check_inside(op, "builtin.module")


class MachineOp(LutOp, name="machine", traits=[ir.NoTerminatorTrait]):
    """An accelerator: a LutLinear engine, the engines around it, the memories between them."""

    sym_name: ir.StringAttr
    engines: ir.ArrayAttr
    body: ext.Region
    __annotations__ |= dict.fromkeys(MACHINE_RANGES, ir.IntegerAttr)

    OPTIONAL = {"modes": ir.ArrayAttr}  # noqa: RUF012
    NOTES = {  # noqa: RUF012
        "engines": "which engines there are, one of each",
        "modes": "what they do besides, as docs/accelerator.md lists it",
        "head_lanes": "channels of a head that attention works on a cycle, in each unit and way",
        "attention_units": "KV heads that attention works on at a time, each with ports of its own",
        "attention_ways": "query heads of its KV head that each of them works on at a time",
        "attention_rows": "keys or values that each way takes a cycle",
        "attention_ports": "ports k and ports v of each unit, over which these are spread",
        "kv_bits": "width of ports k and v, which read the KV cache, and kv, which writes it",
        "context": "tokens of a sequence at most",
        "score_words": "scores a way of attention keeps in each of two banks",
        "item_words": "sums, of head_lanes channels, a way of attention keeps in each of two banks",
        "head_words": "vector words of a head at most",
        "watchdog": "cycles without progress that raise a flag",
        "latency": "cycles of memory that its FIFOs hide",
        "memory_bytes": "of external memory",
    }
    DEFINITION = "runs the functions of lut.cluster ops that stand beside it; the integers are those of the ops in them"
    EXAMPLE = """
"lut.machine"() ({
  "lut.linear_engine"() {pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1, metric = "chebyshev",
      row_entries = 16, row_writes = 16, sum_chains = 1, operand_bits = 16, weight_bits = 8, table_bits = 8,
      term_bits = 24, acc_bits = 32, bias_bits = 32, out_bits = 24, requant_lanes = 4, tokens = 4, acc_words = 64,
      codes_depth = 64, row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, c = 64, q = 64},
      burst_beats = 16, outstanding = 4} : () -> ()
  "lut.memory"() {sym_name = "x", words = 128} : () -> ()
  "lut.fifo"() {sym_name = "read_w", depth = 64} : () -> ()
}) {sym_name = "machine", engines = ["linear", "feed", "load", "save"], head_lanes = 8, attention_units = 1,
    attention_ways = 1, attention_rows = 1, attention_ports = 1, kv_bits = 64, context = 64, score_words = 256,
    item_words = 16, head_words = 4, watchdog = 1048576, latency = 64, memory_bytes = 16777216}
    : () -> ()"""

    def check(self) -> None:
        check_module_level(self)
        for problem in machine_problems(_values(self, (*self.required(), *self.OPTIONAL))):
            raise Invalid(problem)
        inside = [op.operation.name for op in self.operation.regions[0].blocks[0]]
        wanted = "one 'lut.linear_engine', and 'lut.memory', 'lut.fifo' and at most one 'lut.clocks' ops, in it"
        known = {"lut.linear_engine", "lut.memory", "lut.fifo", "lut.clocks"}
        right = inside.count("lut.linear_engine") == 1 and set(inside) <= known and inside.count("lut.clocks") < 2
        expect(right, wanted, ", ".join(dict.fromkeys(inside)) or "nothing", "change its region")
        parts = list(self.operation.regions[0].blocks[0])
        named = [f"{op.operation.name} {read(op.operation.attributes, 'sym_name')}" for op in parts]
        again = next((name for i, name in enumerate(named) if name in named[:i]), None)
        expect(again is None, "each memory and each FIFO once", f"{again} again", "remove one")


class MemoryOp(LutOp, name="memory"):
    """An on-chip memory: r residual stream, x inputs of linears, y their outputs, q queries."""

    sym_name: ir.StringAttr
    words: ir.IntegerAttr

    NOTES = {"words": "of requant_lanes channels, in memory q, which each way of attention has, of head_lanes"}  # noqa: RUF012
    DEFINITION = "one read and one write port; what engines share it take turns"
    EXAMPLE = MachineOp.EXAMPLE

    def check(self) -> None:
        check_inside(self, "lut.machine")
        wanted = f"sym_name to be one of {', '.join(MEMORIES)}"
        expect(self.sym_name.value in MEMORIES, wanted, self.sym_name, "change it")
        integer(self.words, "words", 1, MOST_WORDS)


class FifoOp(LutOp, name="fifo"):
    """The depth of a FIFO that does not have its usual one."""

    sym_name: ir.StringAttr
    depth: ir.IntegerAttr

    NOTES = {"sym_name": "a stream, as docs/accelerator.md lists them", "depth": "in words"}  # noqa: RUF012
    DEFINITION = "changes no integer, only when words move"
    EXAMPLE = MachineOp.EXAMPLE

    def check(self) -> None:
        check_inside(self, "lut.machine")
        integer(self.depth, "depth", 1, MOST_WORDS)


class ClocksOp(LutOp, name="clocks"):
    """Memory has a clock of its own: every port crosses to it. Without this op there is one clock."""

    core_mhz: ir.IntegerAttr
    memory_mhz: ir.IntegerAttr
    bus_bits: ir.IntegerAttr

    NOTES = {  # noqa: RUF012
        "core_mhz": "of the engines",
        "memory_mhz": "of the ports, above core_mhz",
        "bus_bits": "width of a port's bus at most; a beat of a wider port is several of its bus",
    }
    DEFINITION = "changes no integer, only when words move"
    EXAMPLE = MachineOp.EXAMPLE.replace(
        '  "lut.fifo"', '  "lut.clocks"() {core_mhz = 250, memory_mhz = 400, bus_bits = 256} : () -> ()\n  "lut.fifo"'
    )

    def check(self) -> None:
        check_inside(self, "lut.machine")
        for problem in clock_problems(_values(self, CLOCK_RANGES)):
            raise Invalid(problem)


class LinearEngineOp(LutOp, name="linear_engine"):
    """A LutLinear engine: `pairs` x `lanes` lookups a cycle, and how much of everything it can hold."""

    metric: ir.StringAttr
    row_sources: ir.ArrayAttr
    port_bits: ir.DictAttr
    __annotations__ |= dict.fromkeys(ENGINE_RANGES, ir.IntegerAttr)

    NOTES = {  # noqa: RUF012
        "pairs": "pairs of channels a step, each with a centroid search and a chain of lookups",
        "lanes": "outputs of each lookup unit a cycle",
        "centroids": "centroids each search compares; without meaning for exact rows alone",
        "chains": "pipelined chains the centroids of a search are split into; divides centroids",
        "act_stages": "additive activation stages searched one after the other",
        "row_entries": "entries of a row: 16; schemes with a smaller c_w leave the rest unused",
        "row_writes": "entries of a row made a cycle; 16: each cycle a row, below: a row stays in the lanes meanwhile",
        "sum_chains": "chains of pairs, whose sums a tree adds; divides pairs",
        "operand_bits": "bits of an input and of an activation centroid",
        "bias_bits": "bits of a bias, which stream q brings with each multiplier; 0: no linear has one",
        "requant_lanes": "outputs requantized a cycle: a vector word; divides lanes, and 2 * pairs or the reverse",
        "tokens": "tokens of a pass at most",
        "acc_words": "words of `lanes` sums in the accumulator",
        "codes_depth": "chunks of codes buffered for each pair",
        "row_sources": "array of names: what the rows can come from",
        "weight_ports": "memory ports of the weight stream; divides pairs",
        "port_bits": "width of each port: {w, c, q}",
        "burst_beats": "longest burst",
        "outstanding": "bursts in flight on a port",
    }
    DEFINITION = "computes the linears of the clusters on it, a lut.round at a time; the integers are those of the ops"
    EXAMPLE = MachineOp.EXAMPLE

    def check(self) -> None:
        check_inside(self, "lut.machine")
        engine, machine = _values(self, self.required()), _values(self.operation.parent, MACHINE_RANGES)
        for problem in chain(engine_problems(engine), head_problems(machine, engine["requant_lanes"])):
            raise Invalid(problem)


def _values(op: Any, names: Iterable[str]) -> dict[str, Any]:
    """Attributes of an op as data."""
    return {name: _plain(op.attributes[name]) for name in names if name in op.attributes}


def _plain(attribute: ir.Attribute) -> Any:
    """An attribute as data; what is none of these as text, which no rule accepts."""
    if isinstance(attribute, ir.DictAttr):
        return {name: _plain(item) for name, item in entries(attribute).items()}
    if isinstance(attribute, ir.ArrayAttr):
        return tuple(_plain(item) for item in elements(attribute))
    if isinstance(attribute, ir.StringAttr):
        return attribute.value
    if isinstance(attribute, ir.IntegerAttr) and str(attribute.type) == "i64":
        return int(attribute.value)
    return str(attribute)
