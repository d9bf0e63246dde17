"""The whole accelerator's form, at module level: what stands around the engine, its memories on chip, and its tasks.

Symbols are checked in lutllm.dialect.symbols; that tasks wait for each other as they must in
lutllm.lowering.plan.check.
"""

from lutllm.bindings import ir
from lutllm.dialect.accelerator import ADDRESS_LIMIT, COUNT_LIMIT, check_module_level
from lutllm.dialect.base import LutOp, elements, entries, expect, integer

TASK_PROGRAMS = ("prefill", "decode", "head")
TASK_ENGINES = ("linear", "feed", "norm", "residual", "store", "swiglu", "heads", "attention", "embed", "pick",
                "load", "save")  # fmt: skip
OF_A_ROUND = ("linear", "feed")  # and the sinks, where they take a linear's outputs
BUFFER_MEMORIES = ("r", "x", "y", "q")
WAITS = 4
MOST_PENDING = 14
MOST_DEPTH = 1 << 16

ACCELERATOR_RANGES = {
    "head_lanes": (4, 128),
    "context": (1, 1 << 20),
    "r_words": (1, 1 << 16),
    "x_words": (1, 1 << 16),
    "y_words": (1, 1 << 16),
    "q_words": (1, 1 << 16),
    "score_words": (1, COUNT_LIMIT),
    "item_words": (1, 1 << 16),
    "head_words": (1, 255),
    "watchdog": (1, COUNT_LIMIT),
}


class AcceleratorOp(LutOp, name="accelerator"):
    """A whole accelerator: a LutLinear engine, vector engines and attention around it, the memories between them."""

    sym_name: ir.StringAttr
    engine: ir.FlatSymbolRefAttr
    head_lanes: ir.IntegerAttr
    context: ir.IntegerAttr
    r_words: ir.IntegerAttr
    x_words: ir.IntegerAttr
    y_words: ir.IntegerAttr
    q_words: ir.IntegerAttr
    score_words: ir.IntegerAttr
    item_words: ir.IntegerAttr
    head_words: ir.IntegerAttr
    watchdog: ir.IntegerAttr

    OPTIONAL = {"depths": ir.DictAttr, "engines": ir.ArrayAttr}  # noqa: RUF012
    NOTES = {  # noqa: RUF012
        "engines": "which engines there are: those of a decoder, where nothing is said",
        "engine": "its LutLinear engine; vector words have its requant_lanes channels",
        "head_lanes": "channels of a head that attention works on a cycle",
        "context": "tokens of a sequence at most",
        "r_words": "words of the residual stream's memory",
        "x_words": "words of the memory of linears' inputs",
        "y_words": "words of the memory of linears' outputs",
        "q_words": "words, of head_lanes channels, of the memory of queries",
        "score_words": "scores attention keeps in each of two banks",
        "item_words": "sums, of head_lanes channels, attention keeps in each of two banks",
        "head_words": "vector words of a head at most",
        "watchdog": "cycles without progress that raise a flag",
        "depths": "{FIFO = words}: where they are not the usual ones",
    }
    DEFINITION = "runs the programs of lut.task ops that a lut.plan gives it; the integers are those of the decoder ops"
    EXAMPLE = """
"lut.accelerator"() {sym_name = "accelerator", engine = @engine, head_lanes = 8, context = 64, r_words = 48,
    x_words = 128, y_words = 128, q_words = 32, score_words = 256, item_words = 16, head_words = 4,
    watchdog = 1048576} : () -> ()"""

    def check(self) -> None:
        check_module_level(self)
        for name, (low, high) in ACCELERATOR_RANGES.items():
            integer(self.attributes[name], name, low, high)
        depths = self.optional("depths")
        for name, depth in {} if depths is None else entries(depths).items():
            integer(depth, f"depth {name}", 1, MOST_DEPTH)


class PlanOp(LutOp, name="plan"):
    """What the tasks of a module do together: a decoder, placed on an accelerator in space and time."""

    sym_name: ir.StringAttr
    accelerator: ir.FlatSymbolRefAttr
    context: ir.IntegerAttr
    vocabulary: ir.IntegerAttr
    decoder: ir.StringAttr

    NOTES = {  # noqa: RUF012
        "context": "tokens that the KV caches hold; at most the accelerator's",
        "decoder": "hash of the decoder's structure and constants",
    }
    DEFINITION = """
prefill: passes of up to the engine's tokens; decode: passes of one token; head: the last token of the pass before to
the next token. Each is the lut.task ops of that program, in order."""
    EXAMPLE = """
"lut.plan"() {sym_name = "plan", accelerator = @accelerator, context = 64, vocabulary = 320, decoder = "5eed"}
    : () -> ()"""

    def check(self) -> None:
        check_module_level(self)
        integer(self.context, "context", 1, 1 << 20)
        integer(self.vocabulary, "vocabulary", 1, COUNT_LIMIT)


class BufferOp(LutOp, name="buffer"):
    """A range of words of an on-chip memory: r residual stream, x inputs of linears, y their outputs, q queries."""

    sym_name: ir.StringAttr
    memory: ir.StringAttr
    base: ir.IntegerAttr
    words: ir.IntegerAttr
    size: ir.IntegerAttr

    NOTES = {  # noqa: RUF012
        "words": "of one token",
        "size": "of the most tokens of a pass",
    }
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
        wanted = f"memory to be one of {', '.join(BUFFER_MEMORIES)}"
        expect(self.memory.value in BUFFER_MEMORIES, wanted, self.memory, "change it")


_TASK_NOTES = {
    "fields": "{name = integer}: what the engine's record holds; addresses are relative to the image",
    "reads": "array of buffers and KV caches; of a buffer, words start .. start + words - 1 where it has a field start",
    "writes": "likewise",
    "waits": "{engine = pending}: dispatched once that engine has at most so many unfinished tasks",
    "single": "1: one token, whatever the pass has",
    "per_token": "1: takes `beats` of the parameters for each token",
    "parameters": "region of the vector parameters it takes; then beats, offset and stride are there too",
    "beats": "words of vector parameters",
    "offset": "byte of the region that the parameters begin at",
    "stride": "bytes further for each position of the pass",
    "round": "of a linear, its feed and its sink: the lut.round they compute together",
    "source": "the PyTorch module, for reports",
}
_PARAMETERS = ("parameters", "beats", "offset", "stride")


class TaskOp(LutOp, name="task"):
    """One run of an engine, in the order of dispatch among the tasks of its program."""

    sym_name: ir.StringAttr
    program: ir.StringAttr
    engine: ir.StringAttr
    source: ir.StringAttr
    fields: ir.DictAttr
    reads: ir.ArrayAttr
    writes: ir.ArrayAttr
    waits: ir.DictAttr
    single: ir.IntegerAttr
    per_token: ir.IntegerAttr

    OPTIONAL = {  # noqa: RUF012
        "parameters": ir.FlatSymbolRefAttr,
        "beats": ir.IntegerAttr,
        "offset": ir.IntegerAttr,
        "stride": ir.IntegerAttr,
        "round": ir.FlatSymbolRefAttr,
    }
    NOTES = _TASK_NOTES
    DEFINITION = """
engine: linear, feed, norm, residual, store, swiglu, heads, attention, embed, pick
a task waits for `waits` and for room in its engine's queue; the tasks of one engine run in order"""
    EXAMPLE = """
"lut.task"() {sym_name = "prefill.norm", program = "prefill", engine = "norm", source = "model.norm",
    fields = {base = 0, words = 12, shift = 20, bits = 16, last = 0, epsilon = 1}, reads = [@r.stream],
    writes = [@x.hidden], waits = {residual = 0}, single = 0, per_token = 0, parameters = @norm.p, beats = 12,
    offset = 0, stride = 0} : () -> ()"""

    def check(self) -> None:
        check_module_level(self)
        for name, known in (("program", TASK_PROGRAMS), ("engine", TASK_ENGINES)):
            value = self.attributes[name]
            expect(value.value in known, f"{name} to be one of {', '.join(known)}", value, "change it")
        for name in ("single", "per_token"):
            integer(self.attributes[name], name, 0, 1)
        for name in ("reads", "writes"):
            symbols = [isinstance(symbol, ir.FlatSymbolRefAttr) for symbol in elements(self.attributes[name])]
            wanted = f"{name} to be an array of symbols, [@name, ...]"
            expect(all(symbols), wanted, self.attributes[name], "change it")
        for name, value in entries(self.fields).items():
            expect(_count(value), f"field {name} to be an i64 integer from 0 on", value, "change it")
        self._check_waits()
        self._check_parameters()
        has = self.optional("round") is not None
        expect(has or self.engine.value not in OF_A_ROUND, f"a round of a {self.engine.value}", "none", "add it")

    def _check_waits(self) -> None:
        waits = entries(self.waits)
        expect(len(waits) <= WAITS, f"at most {WAITS} waits", len(waits), "change the order of tasks")
        for name, value in waits.items():
            expect(name in TASK_ENGINES, f"waits for engines among {', '.join(TASK_ENGINES)}", name, "change it")
            right = _count(value) and value.value <= MOST_PENDING
            expect(right, f"at most 0..{MOST_PENDING} tasks of {name} pending, as an i64", value, "change it")

    def _check_parameters(self) -> None:
        there = [name for name in _PARAMETERS if self.optional(name) is not None]
        expect(len(there) in (0, 4), f"{', '.join(_PARAMETERS)} or none of them", ", ".join(there), "add the others")
        for name in there[1:]:
            integer(self.optional(name), name, int(name == "beats"), ADDRESS_LIMIT)


def _count(value: ir.Attribute) -> bool:
    """Whether an attribute is an i64 from 0 on."""
    return isinstance(value, ir.IntegerAttr) and str(value.type) == "i64" and value.value >= 0
