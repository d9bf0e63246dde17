"""The parts of the dialect's README that belong to no single op: what integers mean, and why the dialect is as it is.

tools/gen_docs.py puts them around what it reads off the definitions.
"""

from lutllm.bindings import ir
from lutllm.dialect.attributes import fixed
from lutllm.dialect.linears.schemes import declare_scheme
from lutllm.scheme import Scheme

INTRODUCTION = """
A decoder-only language model in integers, its linear layers as table lookups. Every tensor holds integers with a
declared meaning, every op has one integer definition, and every level below - CPU, simulators, hardware - must give
the same integers.

A linear layer is: find the nearest centroid of each pair of activations (`lut.centroid_search`), get the row of
partial products of that centroid with the pair's weight centroids (a row source), select one entry of the row for
each output by its weight code (`lut.table_lookup`), add up along the pairs (`lut.prefix_sum`), bring the sum to the
output's scale (`lut.requantize`). `lut.linear` is the whole before it is split up. Between the linears are the decoder
ops; docs/numerics.md has the functions they use and measured errors.

The dialect is defined in Python over MLIR's IRDL; its text is MLIR's generic form. `lutllm.dialect.context()` makes a
context with it, `register_dialects(ctx)` loads it into any other; for every op there is a builder of the same name
(`lutllm.dialect.centroid_search(x, scheme="vq64x1", codebook=...)`) that infers the result type.
"""

NUMBERS = """
* Leading dimensions of a tensor, written `...`, are tokens: one or more, static or dynamic. K channels are P = K / 2
  pairs (an odd K is an error). N outputs lie in B = ceil(N / G) blocks, the last of which may be short.
* Decoder ops have one leading dimension, T tokens. A KV cache has M rows, one for each position.
* A value is `integer * 2**exponent`. Inputs of a linear have one exponent for each pair, outputs a single one.
* `round_shift(v, s) = v if s == 0 else (v + (1 << (s - 1))) >> s`: halves go up. There is no other rounding.
* `rescale(v, s)` multiplies by 2**s: `v << s` for s >= 0, else `round_shift(v, -s)`. |s| <= 62, and what does not fit
  63 bits is an error.
* `clamp(v, bits)` saturates to signed `bits`. Only where a definition says so: everywhere else a value that does not
  fit its width is an error, never wrapped and never clipped.
* `a . w` is the integer dot product of two pairs.
* All integer attributes are i64.
"""

SYMBOLS = """
Parameters are never literals in the IR. A symbol names an `ml_program.global` of the module with the value
`#ml_program.extern`; its data is the entry of the same name in the safetensors file that the module attribute
`lut.store` names. What a symbol attribute names is such a global, with two exceptions: `scheme` names a `lut.scheme` of
the module, and `weights = @NAME` stands for the globals `NAME.codes`, `NAME.weight_codebook` and so on that the op
reads. `lutllm.dialect.verify(module)` checks the ops and then every symbol they use, the exponents in
encodings too; `verify(module, store)` also checks the file's header.
"""

FLOATS = """
What raising makes of PyTorch's ops, and quantization replaces by integer ops, one by one. Each computes what PyTorch's
ops computed, in floats. Parameters are PyTorch's, of its types (`f32/bf16/f16`) and under its names. `name` is the key
by which quantization finds its constants of an op, so no two ops of a function have the same one; a module that is
used twice gives `proj` and `proj#1`.
"""

RATIONALE = """
**Row sources are four ops, not an attribute of one.** Where rows come from is a choice of the schedule. As ops, the
choice is visible in the IR, each names exactly the parameters it reads, and dead symbols show. `stored_table`,
`built_table` and `built_row` give the same integers by construction, because a table entry is *defined* as a rounded
shift of an integer product; a test holds them to it. `exact_row` gives other integers, so it needs a scheme of another
kind: a schedule cannot choose it by accident.

**`prefix_sum` takes a partial sum.** A layer's sum is associative only while nothing overflows. The op is a running
sum with a start value, so a chain of engines, or groups of pairs in turn, is written as a chain of ops with the same
checks.

**`table_lookup` yields all terms, and no executor makes them.** The tensor of terms is tokens times the weight matrix
over two. It exists in the IR because lookup and sum are different hardware; executors fuse the two.

**A scheme is an op with a name.** Layers have different schemes, so it is not an attribute of the module; spelled out
on each op it hid everything else on the line. A verifier looks the name up in the module around its op; that two ops
agree is checked where one makes the other's operand.

**`weights` is one name for the arrays of a linear.** Five symbols that differ in their last word say no more than one.
A pass that erases globals has to know this, as `lut-symbol-dce` does.

**Exponents stand in types only.** An op that makes a tensor with one exponent for each pair reads the array that the
encoding of its result names; an attribute of the same name could only differ.

**Attention is one op.** Scores are never in the IR: they are tokens times context, and an executor streams them. The KV
cache is a value that goes in and comes out: functions stay pure, and memory is decided below.

**Non-linear functions are tables with one refinement.** A Newton step or a linear interpolation on a table of a few
hundred entries is a multiplier or two in hardware, and a handful of instructions on a CPU; its error is below that of
the widths around it.

**One exponent for each pair.** Single scales per layer make real models useless: a few channels carry values a
thousand times the median. A shift for each pair costs almost nothing in hardware.

**Encodings, not types of our own.** A tensor of integers stays a builtin tensor, so upstream passes and tools know
it. `#lut.fixed` says what the integers mean. A type `!lut.fixed<...>` as the element was left out: most upstream ops
would reject it.

Left out, and why:

* *Custom assembly*: dialects defined in Python have none. The generic form is what every tool reads.
* *Optional attributes in the IRDL*: the bindings cannot declare them. They are checked by the verifiers instead, so
  `torch-mlir-opt --irdl-file` does not see them.
* *Literal codebooks in the IR*: a layer has megabytes of them; text and diagnostics would drown.
* *Vectors of more than two channels* (`v` > 2): the field is there, the value is fixed. Tables grow with the number of
  centroids that longer vectors need; pairs with additive stages reach the same rate.
* *Wrapping accumulators*: cheaper by nothing, and a wrapped sum is a wrong answer that no test would see.
* *A zero point*: activations and weights of the models at hand are centred; the codebooks carry any offset.
"""

SCHEME_FIELDS = {
    "v": "channels that are coded together",
    "c_a": "activation centroids of each stage",
    "c_w": "weight centroids of each stage",
    "G": "outputs that share a weight codebook",
    "R": "additive weight stages",
    "S": "additive activation stages",
    "x_bits": "bits of an input",
    "act_bits": "bits of an activation codebook entry, <= x_bits",
    "weight_bits": "bits of a weight codebook entry",
    "table_bits": "bits of a table entry or of an exact row before its left shift, <= term_bits",
    "term_bits": "bits of a row entry",
    "out_bits": "bits of an output",
}

PARAMETERS = {
    "exponents": "of the input, one for each pair; linears that read the same tensor share them",
    "codebook": "activation centroids, shared likewise; none for kind `exact`",
    "weight_codebook": "weight centroids of each pair, block and stage",
    "codes": "the weights: one code for each pair, stage and output; unsigned, < c_w",
    "shifts": "(right, left) of each pair, 0..31",
    "multiplier": "of the requantizer, 1..32767; of an embedding for each token, of an attention for each head",
    "bias": "in units of the accumulator",
    "tables": "only for `stored_table`; int32 when table_bits > 8",
    "rows": "of the embedding, V tokens",
    "gain": "of a norm, for the C channels of a group; less than 2**23 in size",
    "cosines": "of RoPE, 14 fraction bits, for the C / 2 frequencies of a head; sines likewise",
    "query.exponents": "of an attention's query; `key.exponents` and `value.exponents` likewise",
}

EXAMPLE_SCHEMES = {
    "vq": Scheme(c_a=16, G=4, R=2),
    "exact": Scheme(kind="exact", c_a=0, S=0, G=4, R=2),
}
EXAMPLE_ENCODINGS: dict[str, tuple[int, int | str]] = {
    "x": (16, "q.input.exponents"),
    "y": (24, -6),
    "r": (26, -16),
    "n": (28, -20),
    "q": (16, "a.query.exponents"),
    "k": (8, "a.key.exponents"),
    "v": (8, "a.value.exponents"),
}


def example_aliases() -> str:
    """The attribute aliases and the schemes that the ops' examples use. A context must be current."""
    module = ir.Module.create(ir.Location.unknown())
    for name, scheme in EXAMPLE_SCHEMES.items():
        declare_scheme(module, scheme, name)
    lines = [f"#{name} = {fixed(*meaning)}" for name, meaning in EXAMPLE_ENCODINGS.items()]
    return "\n".join([*lines, *(str(op) for op in module.body)]).replace(" : i64", "")
