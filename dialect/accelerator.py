"""The accelerator form, at module level: the engine, its memory regions, and one round a linear and step of tokens.

Complete enough that the hardware generator and the simulators read nothing else. What crosses ops - an engine's limits
against a round, a region's kind - is checked in lutllm.dialect.symbols.
"""

from lutllm.bindings import ir
from lutllm.dialect.base import LutOp, elements, entries, expect, integer
from lutllm.scheme import ACC_BITS, MAX_SHIFT, METRICS, ROW_SOURCES

REGION_KINDS = ("w", "x", "c", "q", "y", "d", "p", "e", "k", "v", "h")
PORTS = ("w", "x", "c", "q", "y")
ALL_ROW_SOURCES = tuple(source for sources in ROW_SOURCES.values() for source in sources)
COUNT_LIMIT = (1 << 31) - 1
ADDRESS_LIMIT = (1 << 62) - 1

_ENGINE_NOTES = {
    "pairs": "pairs of channels a step, each with a centroid search and a chain of lookups",
    "lanes": "outputs of each lookup unit a cycle",
    "centroids": "centroids each search compares; without meaning for exact rows alone",
    "chains": "pipelined chains the centroids of a search are split into; divides centroids",
    "act_stages": "additive activation stages searched one after the other",
    "row_entries": "entries of a row: 16; schemes with a smaller c_w leave the rest unused",
    "operand_bits": "bits of an input and of an activation centroid",
    "requant_lanes": "outputs requantized a cycle; divides lanes",
    "tokens": "tokens of a round at most",
    "acc_words": "words of `lanes` sums in the accumulator",
    "codes_depth": "chunks of codes buffered for each pair",
    "row_sources": "array of names: what the rows can come from",
    "weight_ports": "memory ports of the weight stream; divides pairs",
    "port_bits": "width of each port, a power of two: {w, x, c, q, y}",
    "burst_beats": "longest burst",
    "outstanding": "bursts in flight on a port",
}
_MULTIPLES = (("centroids", "chains"), ("lanes", "requant_lanes"), ("pairs", "weight_ports"))
# What the generator can build: counters of 16 bits, shifts of 5, memory words of 8, 16 and 32.
ENGINE_RANGES = {
    "pairs": (1, 1024),
    "lanes": (1, 4096),
    "centroids": (1, 1024),
    "chains": (1, 1024),
    "act_stages": (1, 4),
    "row_entries": (16, 16),
    "operand_bits": (2, 16),
    "weight_bits": (2, 8),
    "table_bits": (2, 24),
    "term_bits": (8, 31),
    "acc_bits": (ACC_BITS, ACC_BITS),
    "out_bits": (2, 32),
    "requant_lanes": (1, 4096),
    "tokens": (1, (1 << 16) - 1),
    "acc_words": (1, 1 << 16),
    "codes_depth": (2, 1 << 16),
    "weight_ports": (1, 64),
    "burst_beats": (1, 256),
    "outstanding": (1, 256),
}


def check_module_level(op: LutOp) -> None:
    parent = op.operation.parent
    name = "builtin.module" if parent is None else parent.operation.name
    expect(name == "builtin.module", "a 'builtin.module' around it", f"a '{name}'", "move it to the module")


class EngineOp(LutOp, name="engine"):
    """A LutLinear engine: `pairs` x `lanes` lookups a cycle, and how much of everything it can hold."""

    sym_name: ir.StringAttr
    pairs: ir.IntegerAttr
    lanes: ir.IntegerAttr
    centroids: ir.IntegerAttr
    chains: ir.IntegerAttr
    act_stages: ir.IntegerAttr
    metric: ir.StringAttr
    row_entries: ir.IntegerAttr
    operand_bits: ir.IntegerAttr
    weight_bits: ir.IntegerAttr
    table_bits: ir.IntegerAttr
    term_bits: ir.IntegerAttr
    acc_bits: ir.IntegerAttr
    out_bits: ir.IntegerAttr
    requant_lanes: ir.IntegerAttr
    tokens: ir.IntegerAttr
    acc_words: ir.IntegerAttr
    codes_depth: ir.IntegerAttr
    row_sources: ir.ArrayAttr
    weight_ports: ir.IntegerAttr
    port_bits: ir.DictAttr
    burst_beats: ir.IntegerAttr
    outstanding: ir.IntegerAttr

    NOTES = _ENGINE_NOTES
    DEFINITION = "computes each lut.round that names it; the integers are those of lut.linear"
    EXAMPLE = """
"lut.engine"() {sym_name = "engine", pairs = 2, lanes = 4, centroids = 16, chains = 1, act_stages = 1,
    metric = "chebyshev", row_entries = 16, operand_bits = 16, weight_bits = 8, table_bits = 8, term_bits = 24,
    acc_bits = 32, out_bits = 24, requant_lanes = 1, tokens = 4, acc_words = 64, codes_depth = 64,
    row_sources = ["built_row"], weight_ports = 1, port_bits = {w = 64, x = 64, c = 64, q = 64, y = 64},
    burst_beats = 16, outstanding = 4} : () -> ()"""

    def check(self) -> None:
        check_module_level(self)
        for name, (low, high) in ENGINE_RANGES.items():
            integer(self.attributes[name], name, low, high)
        expect(self.metric.value in METRICS, f"metric to be one of {', '.join(METRICS)}", self.metric, "change it")
        sources = [s.value if isinstance(s, ir.StringAttr) else str(s) for s in elements(self.row_sources)]
        wrong = [s for s in sources if s not in ALL_ROW_SOURCES]
        wanted = f"row_sources among {', '.join(ALL_ROW_SOURCES)}"
        expect(bool(sources) and not wrong, wanted, ", ".join(wrong) or "none", "change them")
        self._check_multiples()
        self._check_ports()

    def _check_multiples(self) -> None:
        for whole, part in _MULTIPLES:
            total, share = self.attributes[whole].value, self.attributes[part].value
            expect(
                total == 0 or (share > 0 and total % share == 0),
                f"{part} to divide {whole} = {total}",
                share,
                "change either",
            )

    def _check_ports(self) -> None:
        widths = entries(self.port_bits)
        wanted = f"port_bits with exactly the ports {', '.join(PORTS)}"
        expect(set(widths) == set(PORTS), wanted, ", ".join(sorted(widths)) or "none", "change it")
        for port, width in widths.items():
            bits = width.value if isinstance(width, ir.IntegerAttr) and str(width.type) == "i64" else 0
            right = 8 <= bits <= 1024 and bits & (bits - 1) == 0
            expect(right, f"port_bits of {port} to be an i64 power of two in 8..1024", width, "change it")


class RegionOp(LutOp, name="region"):
    """A range of bytes of the memory map, read or written through one port; `source` is the linear it belongs to."""

    sym_name: ir.StringAttr
    address: ir.IntegerAttr
    bytes: ir.IntegerAttr
    kind: ir.StringAttr
    port: ir.IntegerAttr
    source: ir.StringAttr

    DEFINITION = """
bytes address .. address + bytes - 1
kind: w weight stream, x activations, c activation centroids, q requantizer parameters, y outputs, d descriptors,
      p vector parameters, e embedding rows, k and v caches of keys and values, h the image's header"""
    EXAMPLE = """
"lut.region"() {sym_name = "q.x", address = 0, bytes = 64, kind = "x", port = 0, source = "q"} : () -> ()"""

    def check(self) -> None:
        check_module_level(self)
        integer(self.address, "address", 0, ADDRESS_LIMIT)
        integer(self.attributes["bytes"], "bytes", 1, ADDRESS_LIMIT)
        integer(self.port, "port", 0, 63)
        wanted = f"kind to be one of {', '.join(REGION_KINDS)}"
        expect(self.kind.value in REGION_KINDS, wanted, self.kind, "change it")


_ROUND_NOTES = {
    "linear": "name of the linear, for reports",
    "token_offset": "first token of the round within the region of activations",
    "output_offset": "first output of the round within the linear",
    "pairs": "P of the linear",
    "groups": "ceil(pairs / pairs of the engine)",
    "stages": "R, additive weight stages",
    "blocks": "blocks of outputs that share a weight codebook",
    "chunks": "words of `lanes` outputs, in all blocks; tokens * chunks <= acc_words",
    "block_chunks": "words of `lanes` outputs in each block but the last, which may have fewer",
    "block_outputs": "outputs in each block but the last, which may have fewer",
    "shift": "of the requantizer",
    "x": "region of the activations; none where they come from memory on chip, and then no y",
    "c": "region of the pairs' shifts and, where the row source searches, the activation centroids",
    "q": "region of multipliers and biases",
    "y": "region of the outputs; none where engines on chip take them",
    "w": "regions of the weight stream, one a weight port",
}
_ROUND_RANGES = {
    "tokens": (1, COUNT_LIMIT),
    "token_offset": (0, COUNT_LIMIT),
    "outputs": (1, COUNT_LIMIT),
    "output_offset": (0, COUNT_LIMIT),
    "pairs": (1, COUNT_LIMIT),
    "groups": (1, COUNT_LIMIT),
    "stages": (1, 8),
    "blocks": (1, COUNT_LIMIT),
    "chunks": (1, COUNT_LIMIT),
    "block_chunks": (1, COUNT_LIMIT),
    "block_outputs": (1, COUNT_LIMIT),
    "shift": (0, MAX_SHIFT),
}


class RoundOp(LutOp, name="round"):
    """One run of an engine: `tokens` tokens of one linear, for `outputs` outputs, from the regions it names."""

    sym_name: ir.StringAttr
    engine: ir.FlatSymbolRefAttr
    linear: ir.StringAttr
    row_source: ir.StringAttr
    tokens: ir.IntegerAttr
    token_offset: ir.IntegerAttr
    outputs: ir.IntegerAttr
    output_offset: ir.IntegerAttr
    pairs: ir.IntegerAttr
    groups: ir.IntegerAttr
    stages: ir.IntegerAttr
    blocks: ir.IntegerAttr
    chunks: ir.IntegerAttr
    block_chunks: ir.IntegerAttr
    block_outputs: ir.IntegerAttr
    shift: ir.IntegerAttr
    c: ir.FlatSymbolRefAttr
    q: ir.FlatSymbolRefAttr
    w: ir.ArrayAttr

    OPTIONAL = {"x": ir.FlatSymbolRefAttr, "y": ir.FlatSymbolRefAttr}  # noqa: RUF012
    NOTES = _ROUND_NOTES
    DEFINITION = """
y[token_offset + t, output_offset + o] = lut.linear of the parameters in w, c and q, for t < tokens, o < outputs"""
    EXAMPLE = """
"lut.round"() {sym_name = "q.0", engine = @engine, linear = "q", row_source = "built_row", tokens = 4, token_offset = 0,
    outputs = 6, output_offset = 0, pairs = 4, groups = 2, stages = 2, blocks = 2, chunks = 2, block_chunks = 1,
    block_outputs = 4, shift = 20, x = @q.x, c = @q.c, q = @q.q, y = @q.y, w = [@q.w]} : () -> ()"""

    def check(self) -> None:
        check_module_level(self)
        for name, (low, high) in _ROUND_RANGES.items():
            integer(self.attributes[name], name, low, high)
        source = self.row_source.value
        wanted = f"row_source to be one of {', '.join(ALL_ROW_SOURCES)}"
        expect(source in ALL_ROW_SOURCES, wanted, f"'{source}'", "change it")
        blocks, chunks, each = (self.attributes[n].value for n in ("blocks", "chunks", "block_chunks"))
        wanted = f"chunks in {(blocks - 1) * each + 1}..{blocks * each} for {blocks} blocks of {each}"
        expect((blocks - 1) * each < chunks <= blocks * each, wanted, chunks, "schedule the round again")
        outputs, each = self.outputs.value, self.block_outputs.value
        wanted = f"outputs in {(blocks - 1) * each + 1}..{blocks * each} for {blocks} blocks of {each}"
        expect((blocks - 1) * each < outputs <= blocks * each, wanted, outputs, "schedule the round again")
        there = [name for name in ("x", "y") if self.optional(name) is not None]
        expect(len(there) != 1, "both x and y, or none of them", ", ".join(there), "add the other")
        symbols = [isinstance(region, ir.FlatSymbolRefAttr) for region in elements(self.w)]
        expect(bool(symbols) and all(symbols), "w to be an array of symbols, [@name, ...]", self.w, "change it")
