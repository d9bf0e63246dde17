"""Space: which engines compute what (`lut.cluster`), how channels lie (`lut.layout`), where words and bytes lie.

A function of the placed level has clusters and nothing else: its meaning is the ops in them. Layouts, buffers, rounds
and regions stand at module level; what crosses ops is checked in lutllm.dialect.symbols and by `lut-verify-schedule`.
"""

from typing import Any

from lutllm.bindings import ext, ir
from lutllm.dialect.base import LutOp, elements, expect, integer
from lutllm.dialect.machines.limits import ADDRESS_LIMIT, COUNT_LIMIT
from lutllm.dialect.machines.machine import MEMORIES, check_module_level

SINKS = ("residual", "store", "swiglu", "pick", "save")  # what takes the outputs of a linear
# The chains of engines that a cluster may have.
CHAINS = (
    ("norm",), ("heads",), ("attention",), ("embed", "residual"), ("norm", "residual"), ("load",),
    *(("feed", "linear", s) for s in SINKS),
)  # fmt: skip
# kind of region: what it holds
REGION_KINDS = {
    "h": "the image's header",
    "d": "the tasks of a program",
    "w": "weights of a round: codebooks or tables, and codes",
    "c": "shifts of a linear's pairs and, where it searches, its centroids",
    "q": "multipliers and biases of a round",
    "p": "parameters of vector engines",
    "e": "embedding rows",
    "k": "cache of keys",
    "v": "cache of values",
    "x": "inputs from outside",
    "y": "outputs to outside",
}


class YieldOp(LutOp, name="yield", traits=[ir.IsTerminatorTrait]):
    """Ends a cluster: its result."""

    value: ext.Operand[Any]

    TYPES = {"value": "any type"}  # noqa: RUF012
    DEFINITION = "the result of the cluster around it"
    EXAMPLE = """
func.func @prefill(%x: tensor<?x8xi16, #x>) -> tensor<?x8xi16, #x> {
  %0 = "lut.cluster"() ({
    "lut.yield"(%x) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "x", engines = ["load"]} : () -> tensor<?x8xi16, #x>
  return %0 : tensor<?x8xi16, #x>
}"""

    def check(self) -> None:
        around = self.operation.parent
        name = "nothing" if around is None else around.operation.name
        expect(name == "lut.cluster", "a 'lut.cluster' around it", f"'{name}'", "move it to a cluster")


class ClusterOp(LutOp, name="cluster"):
    """Ops that stream through one engine, or a chain of engines, one after the other."""

    label: ir.StringAttr
    engines: ir.ArrayAttr
    result: ext.Result[Any]
    body: ext.Region

    OPTIONAL = {  # noqa: RUF012
        "layout": ir.FlatSymbolRefAttr,
        "buffer": ir.FlatSymbolRefAttr,
        "parameters": ir.FlatSymbolRefAttr,
        "region": ir.FlatSymbolRefAttr,
        "rounds": ir.ArrayAttr,
        "reps": ir.IntegerAttr,
    }
    TYPES = {"result": "the type of what its lut.yield yields"}  # noqa: RUF012
    NOTES = {  # noqa: RUF012
        "label": "names it among the clusters of its function, and in reports",
        "engines": "an array of names: one engine, or those its words pass through",
        "layout": "lut.layout of the result's channels (lut-layout)",
        "buffer": "lut.buffer of the result, where it stays on chip (lut-allocate)",
        "parameters": "lut.region of kind p with what vector engines take beside their input (lut-allocate)",
        "region": "lut.region of embedding rows, of RoPE's rows, or of what is loaded or saved (lut-allocate)",
        "rounds": "array of lut.round: the parts in which a linear is computed (lut-allocate)",
        "reps": "of attention: query heads of a kv head computed at a time (lut-allocate)",
    }
    DEFINITION = "its region; values from outside are used as they are"
    EXAMPLE = """
func.func @prefill(%x: tensor<?x8xi32, #r>) -> tensor<?x8xi16, #x> {
  %0 = "lut.cluster"() ({
    %1 = "lut.rms_norm"(%x) {gain = @n.gain, groups = 1, epsilon = 40, shift = 12}
        : (tensor<?x8xi32, #r>) -> tensor<?x8xi32, #n>
    %2 = "lut.rescale"(%1) : (tensor<?x8xi32, #n>) -> tensor<?x8xi16, #x>
    "lut.yield"(%2) : (tensor<?x8xi16, #x>) -> ()
  }) {label = "norm", engines = ["norm"]} : () -> tensor<?x8xi16, #x>
  return %0 : tensor<?x8xi16, #x>
}"""

    def check(self) -> None:
        names = tuple(e.value if isinstance(e, ir.StringAttr) else str(e) for e in elements(self.engines))
        known = "; ".join(", ".join(chain) for chain in CHAINS)
        expect(names in CHAINS, f"engines to be one of: {known}", ", ".join(names) or "none", "change them")
        ops = list(self.operation.regions[0].blocks[0]) if len(self.operation.regions[0].blocks) else []
        last = ops[-1].operation.name if ops else "nothing"
        expect(last == "lut.yield", "a region that ends in 'lut.yield'", f"'{last}'", "add it")
        got = ops[-1].operation.operands[0].type
        expect(self.result.type == got, f"a result of the type it yields, {got}", self.result.type, "change either")
        rounds = self.optional("rounds")
        if rounds is not None:
            right = all(isinstance(r, ir.FlatSymbolRefAttr) for r in elements(rounds)) and len(rounds)
            expect(bool(right), "rounds to be an array of symbols, [@name, ...]", rounds, "change it")
        if self.optional("reps") is not None:
            integer(self.optional("reps"), "reps", 1, 255)


class LayoutOp(LutOp, name="layout"):
    """Where hardware keeps the channels of a tensor: units of channels, in blocks padded to whole words."""

    sym_name: ir.StringAttr
    channels: ir.IntegerAttr
    unit: ir.IntegerAttr
    unit_size: ir.IntegerAttr
    interleaved: ir.IntegerAttr
    block: ir.IntegerAttr
    pad: ir.IntegerAttr
    repeat: ir.IntegerAttr

    NOTES = {  # noqa: RUF012
        "channels": "as PyTorch counts them",
        "unit": "channels that stay together: of a head, else 1",
        "unit_size": "places of a unit: the rest is padding",
        "interleaved": "so many channels at the start of a unit, of which i and i + interleaved / 2 lie side by side",
        "block": "channels of a codebook block of the linear that puts them out, all of them where there is one",
        "pad": "a block has a multiple of so many places",
        "repeat": "1: padding repeats the last channel, so that it can only tie with it; 0: padding is zero",
    }
    DEFINITION = """
a block is its units one after the other, then padding up to a multiple of `pad` places; blocks follow each other"""
    EXAMPLE = """
"lut.layout"() {sym_name = "hidden", channels = 48, unit = 1, unit_size = 1, interleaved = 0, block = 48, pad = 8,
    repeat = 0} : () -> ()"""

    def check(self) -> None:
        check_module_level(self)
        channels = integer(self.channels, "channels", 1, COUNT_LIMIT)
        unit = integer(self.unit, "unit", 1, channels)
        integer(self.unit_size, "unit_size", unit, COUNT_LIMIT)
        block = integer(self.block, "block", unit, channels)
        integer(self.pad, "pad", 1, COUNT_LIMIT)
        integer(self.repeat, "repeat", 0, 1)
        turned = integer(self.interleaved, "interleaved", 0, unit)
        expect(channels % unit == 0, f"unit to divide channels, {channels}", unit, "change either")
        expect(block % unit == 0, f"block to be a multiple of unit, {unit}", block, "change either")
        expect(turned % 2 == 0, "an even number of interleaved channels", turned, "change it")


class BufferOp(LutOp, name="buffer"):
    """A range of words of an on-chip memory."""

    sym_name: ir.StringAttr
    memory: ir.StringAttr
    base: ir.IntegerAttr
    words: ir.IntegerAttr
    size: ir.IntegerAttr

    NOTES = {"words": "of one token", "size": "of the most tokens of a pass"}  # noqa: RUF012
    DEFINITION = """
addresses base .. base + size - 1; word w of token t of a pass of T tokens is at base + w * T + t
memory q: beat b of query head h is at base + (h * T + t) * beats + b"""
    EXAMPLE = """
"lut.buffer"() {sym_name = "x.hidden", memory = "x", base = 0, words = 12, size = 48} : () -> ()"""

    def check(self) -> None:
        check_module_level(self)
        integer(self.base, "base", 0, COUNT_LIMIT)
        words = integer(self.words, "words", 1, COUNT_LIMIT)
        integer(self.size, "size", words, COUNT_LIMIT)
        wanted = f"memory to be one of {', '.join(MEMORIES)}"
        expect(self.memory.value in MEMORIES, wanted, self.memory, "change it")


class RegionOp(LutOp, name="region"):
    """A range of bytes of external memory. What it holds follows from the ops that name it."""

    sym_name: ir.StringAttr
    kind: ir.StringAttr
    address: ir.IntegerAttr
    bytes: ir.IntegerAttr

    NOTES = {  # noqa: RUF012
        "address": "from the image's base on",
        "kind": "; ".join(f"{kind} {what}" for kind, what in REGION_KINDS.items()),
    }
    DEFINITION = "bytes address .. address + bytes - 1"
    EXAMPLE = """
"lut.region"() {sym_name = "norm.p", kind = "p", address = 0, bytes = 64} : () -> ()"""

    def check(self) -> None:
        check_module_level(self)
        integer(self.address, "address", 0, ADDRESS_LIMIT)
        integer(self.attributes["bytes"], "bytes", 1, ADDRESS_LIMIT)
        wanted = f"kind to be one of {', '.join(REGION_KINDS)}"
        expect(self.kind.value in REGION_KINDS, wanted, self.kind, "change it")


class RoundOp(LutOp, name="round"):
    """Outputs of a linear that LutLinear computes at a time, and the regions it reads for them.

    `first` and `outputs` count places of the layout of its results, so they are whole blocks.
    """

    sym_name: ir.StringAttr
    first: ir.IntegerAttr
    outputs: ir.IntegerAttr
    c: ir.FlatSymbolRefAttr
    q: ir.FlatSymbolRefAttr
    w: ir.ArrayAttr

    NOTES = {"w": "regions of the weight stream, one a weight port"}  # noqa: RUF012
    DEFINITION = "outputs first .. first + outputs - 1 of the linear of the cluster that names it"
    EXAMPLE = """
"lut.round"() {sym_name = "q.0", first = 0, outputs = 64, c = @q.c, q = @q.q, w = [@q.w]} : () -> ()"""

    def check(self) -> None:
        check_module_level(self)
        integer(self.first, "first", 0, COUNT_LIMIT)
        integer(self.outputs, "outputs", 1, COUNT_LIMIT)
        right = all(isinstance(region, ir.FlatSymbolRefAttr) for region in elements(self.w)) and len(self.w)
        expect(bool(right), "w to be an array of symbols, [@name, ...]", self.w, "change it")
