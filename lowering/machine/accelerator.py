"""The whole accelerator's parameters, and the tasks its engines take: data that hardware, schedule and images share.

A task is one run of one engine. Its descriptor in memory is a header, an address of vector parameters, and the fields
listed here; the sequencer adds how many tokens this pass has and at which position they start. Nothing here depends on
a model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from math import gcd

import numpy as np

from lutllm.dialect.machines.limits import ENGINES, MOST_WORDS, clock_problems, head_problems, machine_problems
from lutllm.dialect.machines.machine import MEMORIES
from lutllm.errors import CapacityError
from lutllm.functions import SHARES
from lutllm.lowering.machine.engine import DESCRIPTOR_PORT_BITS, ROUND_BITS, EngineConfig
from lutllm.numerics import bits_for
from lutllm.quantization import CACHE_BITS, RESIDUAL_BITS

X_BITS = 16  # of a channel in memory x and q
PARAMETER_BITS = 32  # of a lane of stream p: a value of 24 bits, then a right shift of 8
VALUE_BITS, RIGHT_BITS = 24, 8
SAVE_BITS = 32  # of a channel that engine save writes

# A rescale by s with one rounding is round_shift(v << LEFT, LEFT - s): what is named `right` holds LEFT - s. Where the
# result is then saturated to at most 16 bits, more than LEFT to the left changes nothing.
LEFT = 16

DECODER_ENGINES = ENGINES[:10]  # what a decoder from token ids to token ids asks for
SINKS = ("residual", "store", "swiglu", "pick", "save")  # what takes stream y, in the order of their tasks
PARAMETERIZED = ("norm", "swiglu", "heads", "attention")  # what takes stream p
# Who writes and who reads each on-chip memory. Several never do at once: the schedule sees to that.
WRITERS = {"r": ("residual",), "x": ("norm", "swiglu", "attention", "load"), "y": ("store",), "q": ("heads",)}
READERS = {"r": ("residual", "norm"), "x": ("feed",), "y": ("swiglu", "heads"), "q": ("attention",)}
AFTER = {"write": "residual", "read": "norm"}  # what uses memory y besides, in mode norm_after

HEADER_BITS = {"check": 16, "engine": 6, "single": 1, "per_token": 1, "words": 8, "waits": 32}
WAIT_SLOTS = 4
WAIT_BITS = {"engine": 4, "pending": 4}  # dispatch once `engine` has at most `pending` unfinished tasks; 15: no wait
NO_WAIT = 15
# `check`: the CRC (lowering.machine.checks) of the list up to the end of this descriptor, with 0 for its own `check`. A
# list begins where the header's ended.
# A region that a linear reads; where each port has one, `address` is that of the first, `stride` from one to the next.
STREAM_BITS = {"address": 64, "beats": 32, "stride": 32}
LINEAR_STREAMS, STREAM_WORDS = ("c", "q", "w"), 2
# After the header: address of stream p (64), then beats (32) and bytes added for each position (32).
PARAMETER_WORDS = 2

# The image's first words of 64 bits. Addresses are relative to the image, whose own is a multiple of IMAGE_ALIGNMENT;
# `bytes`: its size, which nothing reaches beyond; `sizes` and lists are two fields each. With `check`, whose first two
# bytes are the CRC of all before them, the CRC of all words is 0.
IMAGE_MAGIC = 0x32304D4C4C54554C  # "LUTLLM02"
IMAGE_ALIGNMENT = 4096
PROGRAMS = ("prefill", "decode", "head")
VERIFY = "verify"  # the list of a task for each region that does not change, and the engine that runs them
LISTS = (*PROGRAMS, VERIFY)
IMAGE_HEADER = ("magic", "model", "config", "sizes", "bytes", *LISTS, "check")
SIZES_BITS = {"context": 32, "vocabulary": 32}
LIST_BITS = {"address": 40, "words": 24}

# Codes of the STATUS register, in order.
ERROR_MEANINGS = {
    "none": "",
    "prompt": "LENGTH is 0, not beyond POSITION, or more than the context",
    "context": "the context is full before all tokens are made; those made are right",
    "image": "no image, one of another format, or a damaged header",
    "model": "an image of another model than MODEL says",
    "config": "an image for another accelerator, or of a longer context",
    "task": "a descriptor that is damaged, or of an engine that is not there",
    "token": "a token id outside the vocabulary",
    "memory_read": "memory answered a read with an error",
    "memory_write": "memory answered a write with an error",
    "alignment": "IMAGE is not a multiple of 4096",
    "bounds": "a transfer beyond the image, or not aligned to its port",
    "checksum": "a region is not what it was when the image was made",
    "watchdog": "nothing moved for as many cycles as the watchdog waits",
    "abort": "the host ended the run",
    "reset": "`ap_rst_n` broke off a write; reset memory too, and `ap_rst_n` again",
}
ERRORS = tuple(ERROR_MEANINGS)

HEAD_MODES = ("query", "key", "value", "rotations")  # of engine heads; rotations loads its table of this pass

# FIFOs that a configuration may give a depth, in words; `lowering.hardware.streams.fifos` says what they are and need.
# Where it does not, a FIFO has the depth that its file names. The reader of port n is `read_n`, w stands for all weight
# ports.
SIZED_STREAMS = (
    "read_d", "read_p", "read_c", "read_q", "read_w", "read_e", "read_k", "read_v", "read_x", "write_kv", "responses",
    "write_y", "y_responses", "p_commands", "p_orders", "y_orders", "x", "codebooks", "results", "roots", "kv", "rows",
    "e", "n",
)  # fmt: skip

# Fields of each task, bits each, lowest first. Counts of words are of one token; bases are addresses of memory words,
# which do not depend on the tokens of a pass; `start` is the first word of the row that a round's outputs go to.
TASK_BITS: dict[str, dict[str, int]] = {
    "linear": ROUND_BITS,  # then STREAM_BITS of each of c, q and w
    "feed": {"base": 16, "groups": 16, "takes": 8},  # takes: words of the last group, if it follows who writes them
    "norm": {"base": 16, "words": 16, "shift": 8, "bits": 8, "last": 8, "reserved": 8, "epsilon": 64},
    "residual": {"start": 16, "words": 16, "residual_right": 8, "y_right": 8, "load": 8},
    "store": {"base": 16, "start": 16, "words": 16},
    "swiglu": {"gate": 16, "base": 16, "start": 16, "words": 16, "sigmoid_right": 8, "bits": 8},
    "heads": {
        "mode": 8, "norm": 8, "rotate": 8, "heads": 16, "head_words": 8, "shift": 8, "wide": 8,
        "epsilon": 64, "source": 16, "base": 16, "head_stride": 32, "address": 64,
    },
    "attention": {  # kv_heads: of each unit; items: of each of its ways
        "kv_heads": 16, "items": 8, "reps": 8, "beats": 8, "shift": 8, "bits": 8, "reserved": 8,
        "q": 16, "base": 16, "head_stride": 32, "keys": 64, "values": 64,
    },
    "embed": {"words": 16, "shift": 8, "reserved": 8, "vocabulary": 32, "address": 64},
    "pick": {"words": 16, "first": 8, "last": 8, "offset": 32},
    # From address + (words of the tokens before the pass) on, as they will lie in memory x.
    "load": {"base": 16, "words": 16, "reserved": 32, "address": 64},
    # To address + (row_words for each token before the pass, start for each of it) words of 32 bits a channel.
    "save": {"start": 16, "words": 16, "row_words": 16, "reserved": 16, "address": 64},
    # Of a region, read through a port by its number among the read ports.
    VERIFY: {"port": 8, "reserved": 24, "beats": 32, "address": 64, "signature": 64},
}  # fmt: skip
# Fields that modes add to those of tasks; of activations where there are several.
MODE_BITS: dict[str, dict[str, dict[str, int]]] = {
    "window": {"attention": {"reach": 32}},  # rows before its own that a token sees at most
    # aside: results go to memory y, from `base` on; after: rows come from there, and go to stream n, as residual takes
    # them where it is `normed`.
    "norm_after": {"norm": {"after": 8, "source": 16}, "residual": {"aside": 8, "normed": 8, "base": 16}},
    "plain_mlp": {"swiglu": {"plain": 8}},
    # Each word's parameters come after a beat of biases, where it is `biased`.
    "layer_norm": {"norm": {"centered": 8, "biased": 8, "channels": 32}},
    "no_norm": {"norm": {"bare": 8}},
    "wide_norm": {"heads": {"whole": 8}},
    "softcap": {"attention": {"softcap": 32}},  # 0: none
    "logit_softcap": {"pick": {"capped": 8, "sigmoid_right": 8}},
    # Rows by position, from number `first` on; `added` to the residual stream.
    "positions": {"embed": {"positions": 8, "first": 32}, "residual": {"added": 8}},
}
ACTIVATION = {"activation": 8}
# What changes no cycles.
ARITHMETIC = {"shift", "bits", "epsilon", "residual_right", "y_right", "sigmoid_right", "wide", "softcap", *ACTIVATION}
ENGINE_NUMBERS = {name: i for i, name in enumerate(ENGINES)} | {VERIFY: (1 << HEADER_BITS["engine"]) - 1}
# What the sequencer adds to each task's fields: tokens of the pass (1 where the header says single), first position.
DYNAMIC_BITS = {"tokens": 16, "position": 32}


@dataclass(frozen=True)
class Clocks:
    """Where memory has a clock of its own, faster than the core's: a port's bus has at most `bus_bits`, so that a beat
    of a wider port is several of the bus."""

    core_mhz: int
    memory_mhz: int
    bus_bits: int

    @property
    def periods(self) -> tuple[int, int]:
        """Of the core's clock and of memory's, in the largest unit in which both are whole."""
        unit = gcd(self.core_mhz, self.memory_mhz)
        return self.memory_mhz // unit, self.core_mhz // unit


@dataclass(frozen=True)
class AcceleratorConfig:
    """The whole accelerator: a LutLinear engine and what stands around it, `engines`.

    Vector engines work on `lanes` = `engine.requant_lanes` channels a cycle, each of `attention_ways` of each of
    `attention_units` on `head_lanes` of each of `attention_rows` rows: that many products each for QK^T and AV. Rows
    lie spread over `attention_ports` ports k and as many v of a unit; they, and port kv, have `kv_bits`. A pass has at
    most `engine.tokens` tokens, a sequence `context`. Capacities are in words:
    `r_words` of the residual stream, `x_words` of inputs of linears, `y_words` of outputs (all of `lanes` channels),
    `q_words` of queries (of `head_lanes` channels), `score_words` scores and `item_words` sums (of `head_lanes`
    channels) of an item of attention in each of two banks, `head_words` vector words of a head at most. `depths`: words
    of the FIFOs that do not have their usual depth. `modes`: what engines do besides.
    """

    engine: EngineConfig = field(default_factory=EngineConfig)
    engines: tuple[str, ...] = DECODER_ENGINES
    head_lanes: int = 64
    attention_units: int = 1
    attention_ways: int = 1
    attention_rows: int = 1
    attention_ports: int = 1
    kv_bits: int = 512
    context: int = 2048
    r_words: int = 1024
    x_words: int = 4096
    y_words: int = 4096
    q_words: int = 1024
    score_words: int = 32768
    item_words: int = 256
    head_words: int = 16
    watchdog: int = 1 << 20  # cycles without progress before the flag is raised
    depths: dict[str, int] = field(default_factory=dict)
    clocks: Clocks | None = None
    modes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise CapacityError(f"accelerator: {problem}")

    def _problems(self) -> Iterator[str]:
        yield from machine_problems(vars(self))
        yield from head_problems(vars(self), self.lanes)
        yield from self._engine_problems()
        yield from self._clock_problems()
        for memory in MEMORIES:
            words = getattr(self, f"{memory}_words")
            if not 1 <= words <= MOST_WORDS:
                yield f"expected {memory}_words in 1..{MOST_WORDS}, got {words}"
        for name, depth in self.depths.items():
            if name not in SIZED_STREAMS:
                yield f"expected depths of {', '.join(SIZED_STREAMS)}, got one of {name}"
            elif not 1 <= depth <= MOST_WORDS:
                yield f"expected depth {name} in 1..{MOST_WORDS}, got {depth}"

    def _engine_problems(self) -> Iterator[str]:
        """Engines without one at the other end of what they use."""
        needs = [("LutLinear", ("linear",)), ("stream x", ("feed",)), ("stream y", SINKS)]
        if "embed" in self.engines:
            needs.append(("stream e", ("residual",)))
        for memory in READERS:
            writers, readers = self.writers(memory), self.readers(memory)
            if self.having(writers + readers):
                needs += [(f"writes of memory {memory}", writers), (f"reads of memory {memory}", readers)]
        if "norm_after" in self.modes:
            needs += [("mode norm_after", (engine,)) for engine in AFTER.values()]
        if "layer_norm" in self.modes:
            needs += [("mode layer_norm", (engine,)) for engine in ("norm", "residual")]
        if "positions" in self.modes:
            needs.append(("mode positions", ("embed",)))
        for what, some in needs:
            if not self.having(some):
                yield f"expected an engine for {what} ({', '.join(some)}), got {', '.join(self.engines)}; add one"

        if "norm_after" in self.modes and self.y_bits > RESIDUAL_BITS:
            yield f"expected out_bits of at most {RESIDUAL_BITS} in mode norm_after, got {self.y_bits}; remove it"

    def _clock_problems(self) -> Iterator[str]:
        if self.clocks is None:
            return
        yield from clock_problems(vars(self.clocks))
        widest = max([*self.read_ports.values(), *self.write_ports.values()])
        least = widest // self.bus_bits(widest)
        if self.engine.burst_beats < least:
            wanted = f"burst_beats of at least {least}, a beat of {widest} bits on a bus of {self.clocks.bus_bits}"
            yield f"expected {wanted}, got {self.engine.burst_beats}; change either"

    def bus_bits(self, bits: int) -> int:
        """Of the bus of a port of `bits`."""
        return bits if self.clocks is None else min(bits, self.clocks.bus_bits)

    def bus_cycles(self, cycles: int) -> int:
        """Cycles of the buses that take as long as `cycles` of the core."""
        return cycles if self.clocks is None else -(-cycles * self.clocks.memory_mhz // self.clocks.core_mhz)

    def port_rate(self, bits: int) -> Fraction:
        """Beats of a port of `bits` in a cycle of the core at most."""
        if self.clocks is None:
            return Fraction(1)
        return min(Fraction(1), Fraction(self.clocks.memory_mhz * self.bus_bits(bits), self.clocks.core_mhz * bits))

    def burst_beats(self, bits: int) -> int:
        """Beats of a port of `bits` in the longest burst of its bus."""
        return self.engine.burst_beats * self.bus_bits(bits) // bits

    @property
    def has_sequence(self) -> bool:
        """Whether there are token ids: read to embed them, or picked."""
        return bool(self.having(("embed", "pick")))

    def having(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the engines `names` that this accelerator has."""
        return tuple(name for name in names if name in self.engines)

    def writers(self, memory: str) -> tuple[str, ...]:
        """Engines that may write an on-chip memory, there or not."""
        after = memory == "y" and "norm_after" in self.modes
        return WRITERS[memory] + ((AFTER["write"],) if after else ())

    def readers(self, memory: str) -> tuple[str, ...]:
        after = memory == "y" and "norm_after" in self.modes
        return READERS[memory] + ((AFTER["read"],) if after else ())

    @property
    def lanes(self) -> int:
        """Channels of a vector word."""
        return self.engine.requant_lanes

    @property
    def tokens(self) -> int:
        """Tokens of a pass at most."""
        return self.engine.tokens

    @property
    def y_bits(self) -> int:
        """Bits of a channel of stream and memory y."""
        return self.engine.out_bits

    @property
    def p_bits(self) -> int:
        """Width of stream p: a vector word's parameters a beat."""
        return self.lanes * PARAMETER_BITS

    @property
    def row_bits(self) -> int:
        """Bits of a word of attention's rows of keys and values: `head_lanes` channels."""
        return self.head_lanes * CACHE_BITS

    @property
    def row_parts(self) -> int:
        """Ports that a row lies in. Row r is in those from (r % attention_rows) * row_parts on, behind row r -
        attention_rows."""
        return self.attention_ports // self.attention_rows

    @property
    def part_bits(self) -> int:
        """Bits of a word of a row in each of its ports."""
        return self.row_bits // self.row_parts

    @property
    def rows_bits(self) -> int:
        """Bits of a word of all rows of a group."""
        return self.attention_rows * self.row_bits

    def row_groups(self, rows: int) -> int:
        """Steps of `attention_rows` in which attention takes rows."""
        return -(-rows // self.attention_rows)

    def skipped_groups(self, position: int, fields: Mapping[str, int]) -> int:
        """Of these, how many a task of attention leaves out at the beginning."""
        return max(0, position - fields.get("reach", position)) // self.attention_rows

    def cache_stride(self, context: int, words: int) -> int:
        """Bytes of the cache of a key or value head of `words` vector words. Each port has a part alike, from the
        beginning of a page on where there are several."""
        part = self.row_groups(context) * words * self.lanes // self.row_parts
        if self.attention_ports > 1:
            part = -(-part // IMAGE_ALIGNMENT) * IMAGE_ALIGNMENT
        return part * self.attention_ports

    def row_places(self, rows: np.ndarray, words: int, stride: int) -> np.ndarray:
        """Where in a head's cache of `stride` bytes the parts of rows lie, one after the other: [rows, parts], in
        bytes; of heads of `words` vector words."""
        part = self.part_bits // 8
        beat, piece = np.divmod(np.arange(words * self.lanes // part), self.row_parts)
        group, row = np.divmod(rows[:, None], self.attention_rows)
        port = row * self.row_parts + piece
        return port * (stride // self.attention_ports) + (group * (beat[-1] + 1) + beat) * part

    @property
    def attention_cores(self) -> int:
        """Ways of all attention units."""
        return self.attention_units * self.attention_ways

    @property
    def kv_words(self) -> int:
        """Vector words of a beat of port kv."""
        return self.kv_bits // (self.lanes * CACHE_BITS)

    @property
    def e_bits(self) -> int:
        """Width of port e: `lanes` channels of an embedding row."""
        return self.lanes * 8

    @property
    def load_bits(self) -> int:
        """Width of port x (reads): a word of memory x."""
        return self.lanes * X_BITS

    @property
    def save_bits(self) -> int:
        """Width of port y (writes): a word of stream y, 32 bits a channel."""
        return self.lanes * SAVE_BITS

    @property
    def joined_words(self) -> int:
        """Words of memory x that a group of pairs takes."""
        return max(1, 2 * self.engine.pairs // self.lanes)

    @property
    def read_ports(self) -> dict[str, int]:
        """Data bits of every AXI read master by name, in the order of their numbers."""
        engine = self.engine
        widths = {"d": DESCRIPTOR_PORT_BITS} | ({"p": self.p_bits} if self.having(PARAMETERIZED) else {})
        widths |= {"c": engine.port_bits["c"], "q": engine.port_bits["q"]}
        widths |= {name: engine.port_bits["w"] for name in engine.weight_streams}
        rows = {f"{name}{i}": self.kv_bits for name in "kv" for i in range(self.attention_units * self.attention_ports)}
        of_engines = {"embed": {"e": self.e_bits}, "attention": rows}
        of_engines["load"] = {"x": self.load_bits}
        for name in self.having(tuple(of_engines)):
            widths |= of_engines[name]
        return widths

    @property
    def write_ports(self) -> dict[str, int]:
        """Data bits of every AXI write master by name."""
        of_engines = {"heads": ("kv", self.kv_bits), "save": ("y", self.save_bits)}
        return dict(of_engines[name] for name in self.having(tuple(of_engines)))

    @property
    def activations(self) -> tuple[str, ...]:
        """Of engine swiglu, in the order of their numbers."""
        return tuple(mode for mode in self.modes if mode in SHARES) or ("silu",)

    def task_bits(self, engine: str) -> dict[str, int]:
        """Fields of a task, bits each, lowest first: those of TASK_BITS, then those of modes."""
        bits = dict(TASK_BITS[engine])
        for mode in self.modes:
            bits |= MODE_BITS.get(mode, {}).get(engine, {})
        return bits | (ACTIVATION if engine == "swiglu" and len(self.activations) > 1 else {})

    def task_words(self, engine: str) -> int:
        """64-bit words of a descriptor."""
        words = 1 + PARAMETER_WORDS + -(-sum(self.task_bits(engine).values()) // DESCRIPTOR_PORT_BITS)
        return words + (len(LINEAR_STREAMS) * STREAM_WORDS if engine == "linear" else 0)

    @property
    def token_bits(self) -> int:
        """Bits of a token's number in a pass."""
        return bits_for(self.tokens)

    @property
    def position_bits(self) -> int:
        """Bits that hold 0 .. context."""
        return bits_for(self.context + 1)

    @property
    def head_beats(self) -> int:
        """Words of `head_lanes` channels of a head at most."""
        return self.head_words * self.lanes // self.head_lanes

    def address_bits(self, memory: str) -> int:
        """Bits of a word address of memory r, x, y or q."""
        return bits_for(getattr(self, f"{memory}_words"))

    def word_bits(self, memory: str) -> int:
        """Bits of a word of memory r, x, y or q."""
        channel = {"r": RESIDUAL_BITS, "x": X_BITS, "y": self.y_bits, "q": X_BITS}[memory]
        return channel * (self.head_lanes if memory == "q" else self.lanes)

    def to_dict(self) -> dict:
        return {name: value for name, value in asdict(self).items() if name != "modes" or value}

    @property
    def identity(self) -> int:
        """64 bits of the hash of everything above: what an image says it was made for."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
