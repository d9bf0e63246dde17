"""What hardware can be built: parameters of `lut.machine` and `lut.linear_engine` in, what is wrong with them out.

Said once: the verifiers of these ops and the configurations of the hardware generator both ask here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lutllm.functions import SHARES
from lutllm.scheme import ACC_BITS, METRICS, ROW_SOURCES

# What a task can run on, in the order of their numbers in descriptors; docs/accelerator.md says more.
ENGINES = (
    "linear",  # stream x, weights -> stream y
    "feed",  # memory x -> stream x
    "norm",  # memory r -> memory x: RMSNorm and rescale
    "residual",  # memory r + stream y (or stream e) -> memory r
    "store",  # stream y -> memory y
    "swiglu",  # memory y (gate) and stream y (up) -> memory x
    "heads",  # memory y -> memory q or the KV cache: head norm, RoPE, rescale
    "attention",  # memory q, KV cache -> memory x
    "embed",  # token ids -> stream e
    "pick",  # stream y (logits) -> token
    "load",  # external memory -> memory x
    "save",  # stream y -> external memory
)
# What engines do besides, where a machine says so. Activations are those of swiglu; where none is named, silu.
MODES = (
    *SHARES,
    "window",  # attention begins at a row, and sees no more rows than a task says
    "norm_after",  # norm of what a linear leaves in memory y, added to the residual stream
    "plain_mlp",  # swiglu of what a linear gives, alone
    "layer_norm",  # norm subtracts the mean, and adds a bias
    "no_norm",  # norm rescales the residual stream alone
    "wide_norm",  # heads norms all heads of a token together
    "softcap",  # attention takes the hyperbolic tangent of scores
    "logit_softcap",  # pick takes that of logits
    "positions",  # embed gives the row of a token's position, too, which residual adds to the stream
)
PORTS = ("w", "c", "q")  # of weights, of shifts and centroids, of requantizer parameters
PORT_BITS = (32, 64, 128, 256, 512, 1024)
ALL_ROW_SOURCES = tuple(source for sources in ROW_SOURCES.values() for source in sources)
COUNT_LIMIT = (1 << 31) - 1
ADDRESS_LIMIT = (1 << 62) - 1
MOST_WORDS = 1 << 16  # of a memory or FIFO: addresses of words are fields of 16 bits

# Counters have 16 bits, shifts 5, words of memory x 16 a channel; stream y leaves on at most 1024 wires.
ENGINE_RANGES = {
    "pairs": (1, 1024),
    "lanes": (4, 4096),
    "centroids": (1, 1024),
    "chains": (1, 1024),
    "act_stages": (1, 4),
    "row_entries": (16, 16),
    "row_writes": (1, 16),
    "sum_chains": (1, 1024),
    "operand_bits": (16, 16),
    "weight_bits": (2, 8),
    "table_bits": (2, 24),
    "term_bits": (8, 31),
    "acc_bits": (ACC_BITS, ACC_BITS),
    "bias_bits": (0, ACC_BITS),
    "out_bits": (2, 32),
    "requant_lanes": (4, 32),
    "tokens": (1, (1 << 16) - 1),
    "acc_words": (1, 1 << 16),
    "codes_depth": (2, 1 << 16),
    "weight_ports": (1, 64),
    "burst_beats": (1, 256),
    "outstanding": (1, 256),
}
MACHINE_RANGES = {
    "head_lanes": (4, 128),
    "attention_units": (1, 64),
    "attention_ways": (1, 16),
    "attention_rows": (1, 16),
    "attention_ports": (1, 64),
    "kv_bits": (32, 1024),
    "context": (1, 1 << 20),
    "score_words": (1, COUNT_LIMIT),
    "item_words": (1, MOST_WORDS),
    "head_words": (1, 255),
    "watchdog": (1, COUNT_LIMIT),
    "latency": (1, 1 << 16),
    "memory_bytes": (1, ADDRESS_LIMIT),
}
CLOCK_RANGES = {
    "core_mhz": (1, 1000),
    "memory_mhz": (1, 1000),
    "bus_bits": (PORT_BITS[0], PORT_BITS[-1]),
}
_POWERS_OF_TWO = (
    "row_writes", "requant_lanes", "burst_beats", "head_lanes", "attention_rows", "attention_ports", "kv_bits",
    "bus_bits",
)  # fmt: skip
_MULTIPLES = (
    ("centroids", "chains"), ("lanes", "requant_lanes"), ("pairs", "weight_ports"), ("pairs", "sum_chains"),
)  # fmt: skip
_AT_MOST = (("tokens", "acc_words"), ("table_bits", "term_bits"))


def engine_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Of a LutLinear engine, by the names of its attributes."""
    yield from _size_problems(values, ENGINE_RANGES)
    if values["metric"] not in METRICS:
        yield f"expected metric to be one of {', '.join(METRICS)}, got {values['metric']}; change it"
    wrong = [source for source in values["row_sources"] if source not in ALL_ROW_SOURCES]
    if wrong or not values["row_sources"]:
        yield f"expected row_sources among {', '.join(ALL_ROW_SOURCES)}, got {', '.join(wrong) or 'none'}; change them"
    for whole, part in _MULTIPLES:
        if values[whole] % values[part]:
            yield f"expected {part} to divide {whole} = {values[whole]}, got {values[part]}; change either"
    if values["bias_bits"] not in (0, ACC_BITS):
        yield f"expected bias_bits to be 0 or {ACC_BITS}, got {values['bias_bits']}; change it"
    for small, large in _AT_MOST:
        if values[small] > values[large]:
            yield f"expected {small} of at most {large} = {values[large]}, got {values[small]}; change either"
    group, word = 2 * values["pairs"], values["requant_lanes"]
    if max(group, word) % min(group, word):
        yield f"expected 2 * pairs = {group} and requant_lanes to divide each other, got {word}; change either"
    yield from _port_problems(values["port_bits"])


def _port_problems(widths: Mapping[str, Any]) -> Iterator[str]:
    if set(widths) != set(PORTS):
        yield f"expected port_bits of {', '.join(PORTS)}, got {', '.join(sorted(widths)) or 'none'}; change them"
    for port, bits in widths.items():
        if bits not in PORT_BITS:
            yield f"expected port_bits of {port} among {', '.join(map(str, PORT_BITS))}, got {bits}; change it"


def machine_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Of the machine around an engine, by the names of its attributes. Those that are missing are not looked at."""
    yield from _size_problems(values, MACHINE_RANGES)
    for what, known in (("engines", ENGINES), ("modes", MODES)):
        got = list(values.get(what, ()))
        if got != [name for name in known if name in got]:
            yield f"expected {what} among {', '.join(known)}, in this order, got {', '.join(got)}; change them"


def clock_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Of a machine's two clocks."""
    yield from _size_problems(values, CLOCK_RANGES)
    core, memory = values["core_mhz"], values["memory_mhz"]
    if core >= memory:
        yield f"expected memory_mhz above core_mhz = {core}, got {memory}; one clock needs no lut.clocks"


def head_problems(values: Mapping[str, Any], requant_lanes: int) -> Iterator[str]:
    """Of a machine's heads beside the vector words of its engine."""
    beat, words = values["head_lanes"], values["head_words"]
    if beat % requant_lanes:
        yield f"expected head_lanes to be a multiple of requant_lanes = {requant_lanes}, got {beat}; change either"
    if words * requant_lanes % beat:
        wanted = f"head_words to be a multiple of {beat // requant_lanes}, a beat of head_lanes"
        yield f"expected {wanted}, got {words}; change it"
    if not 8 * requant_lanes <= values["kv_bits"] <= 8 * beat:
        wanted = f"kv_bits in {8 * requant_lanes}..{8 * beat}, of requant_lanes to head_lanes channels"
        yield f"expected {wanted}, got {values['kv_bits']}; change it"
    rows, ports = values["attention_rows"], values["attention_ports"]
    if ports < rows or values["kv_bits"] * ports > 8 * beat * rows:
        wanted = f"attention_ports in {rows}..{8 * beat * rows // values['kv_bits']}, of a row to kv_bits of one"
        yield f"expected {wanted}, got {ports}; change it"
    if rows > values["context"]:
        yield f"expected attention_rows of at most context = {values['context']}, got {rows}; change either"


def _size_problems(values: Mapping[str, Any], ranges: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    for name, (low, high) in ranges.items():
        if name in values and not low <= values[name] <= high:
            wanted = f"{name} = {low}" if low == high else f"{name} in {low}..{high}"
            yield f"expected {wanted}, got {values[name]}; change it"
        if name in _POWERS_OF_TWO and values[name] & (values[name] - 1):
            yield f"expected {name} to be a power of two, got {values[name]}; change it"
