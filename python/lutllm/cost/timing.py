"""What `kernels` work on, for one accelerator and one memory: constants, from what the units of the hardware declare,
and states in which nothing has moved."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lutllm.cost import kernels as k
from lutllm.lowering.hardware.attention.attention import attention_timing
from lutllm.lowering.hardware.control.task import Timing
from lutllm.lowering.hardware.lib.axi import READ, WRITE, burst_limit
from lutllm.lowering.hardware.lib.crossing import SYNCHRONIZED
from lutllm.lowering.hardware.lib.stream import CROSSING_DEPTH, FIFO_LATENCY
from lutllm.lowering.hardware.linear.control import HALVES
from lutllm.lowering.hardware.linear.core import linear_timing
from lutllm.lowering.hardware.linear.front import JOBS
from lutllm.lowering.hardware.linear.psum import codebook_depth
from lutllm.lowering.hardware.linear.requantize import results_depth
from lutllm.lowering.hardware.top import fifo_depth
from lutllm.lowering.hardware.vector import feed, head_rows, load, norm, pick, residual, save, store, swiglu
from lutllm.lowering.hardware.vector.head_roots import root_latency, roots_depth
from lutllm.lowering.hardware.vector.heads import BEAT_LATENCY, kv_depth
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.machine.engine import MODES, TABLE_BANKS

assert tuple(MODES.index(name) for name in ("exact_row", "built_row", "built_table", "stored_table")) == (
    k.EXACT_ROW, k.BUILT_ROW, k.BUILT_TABLE, k.STORED_TABLE,
)  # fmt: skip


def vector_timings(config: AcceleratorConfig) -> Mapping[str, Timing]:
    """Of engines that make a step a cycle."""
    return {
        "norm": norm.timing(config),
        "residual": residual.TIMING,
        "store": store.TIMING,
        "swiglu": swiglu.TIMING,
        "pick": pick.timing(config),
        "load": load.TIMING,
        "save": save.TIMING,
    }


def linear(config: AcceleratorConfig) -> k.Engine:
    engine, depths = config.engine, config.depths
    return k.Engine(
        codebook_units=engine.codebook_units,
        codes_units=engine.codes_units,
        table_units=engine.table_units,
        row_steps=engine.row_steps,
        strip=engine.strip_chunks,
        centroids=engine.centroids,
        centroid_words=engine.chain_length,
        c_beats=engine.word_beats("c"),
        q_beats=engine.word_beats("q"),
        joined=config.joined_words,
        parts=feed.parts_of_word(config),
        codes=engine.codes_depth,
        codebooks=codebook_depth(engine, depths),
        tables=TABLE_BANKS,
        banks=engine.operand_banks,
        jobs=JOBS,
        x=feed.x_depth(config),
        results=results_depth(depths),
        fed=feed.LATENCY,
        written=feed.WRITTEN,
        **linear_timing(engine),
    )


def heads(config: AcceleratorConfig) -> k.Heads:
    leave = BEAT_LATENCY + FIFO_LATENCY
    return k.Heads(
        root_latency(config), roots_depth(config), config.kv_words, kv_depth(config), leave, head_rows.SETTLE
    )  # fmt: skip


def attention(config: AcceleratorConfig) -> k.Attention:
    parts, beats = config.head_lanes // config.lanes, config.part_bits // config.kv_bits
    return k.Attention(config.attention_ways, config.attention_rows, parts, beats, **attention_timing(config))


def linear_state(e: k.Engine) -> k.Linear:
    at = np.zeros(k.LINEAR_FIELDS, np.int64)
    at[[k.X_AT, k.Y_AT, k.SHADOW]] = k.NEVER
    sizes = (e.codes, e.codebooks, e.tables, e.banks, e.jobs, e.x, e.results)
    return k.Linear(at, *(np.full(size, k.NEVER) for size in (*sizes, HALVES)))


def clocks(config: AcceleratorConfig, begin: int) -> np.ndarray:
    """Of `kernels.Port.clocks`. The run begins `begin` cycles of the core after both clocks had an edge at a time, and
    its cycles count from the one before."""
    if config.clocks is None:
        return np.zeros(1, np.int64)
    core, bus = config.clocks.periods
    return np.array([core, bus, (1 - begin) * core % bus, CROSSING_DEPTH, SYNCHRONIZED])


def ports(config: AcceleratorConfig, latency: int, begin: int) -> dict[str, k.Port]:
    """Read masters; `w0` stands for all weight ports, which move together. A port that is not there is never used."""
    both, there = clocks(config, begin), latency + READ if config.clocks is None else config.bus_cycles(latency)
    made = {name: _port(1, 1, 1, 0, both) for name in ("d", "p", "c", "q", "w0", "e", "k0", "v0", "x")}
    for name, bits in config.read_ports.items():
        burst = burst_limit(bits, config.burst_beats(bits))
        parts = 0 if config.clocks is None else bits // config.bus_bits(bits)
        made[name] = _port(fifo_depth(config, f"read_{name[0]}"), burst, there, parts, both)
    return made


def _port(depth: int, burst: int, latency: int, parts: int, both: np.ndarray) -> k.Port:
    """A reader with room for `depth` beats, `latency` cycles from asking for a burst until its first beat is there."""
    state = np.zeros(k.PORT_FIELDS, np.int64)
    state[[k.DEPTH, k.BURST, k.LATENCY, k.PARTS]] = depth, burst, latency, parts
    state[[k.ASKED_AT, k.ARRIVED_AT, k.POPPED_AT, k.BUS_ASKED, k.BUS_BEAT]] = k.NEVER
    beats = np.zeros(max(depth + burst, 2 * CROSSING_DEPTH), np.int64)
    return k.Port(state, np.zeros((k.RING, k.COMMAND_FIELDS), np.int64), beats, beats.copy(), both)


def writers(config: AcceleratorConfig, latency: int, begin: int) -> dict[str, k.Writer]:
    """Write masters. One that is not there is never used."""
    both, answers = clocks(config, begin), config.bus_cycles(latency)
    made = {name: _writer(1, 1, 1, 1, 0, both) for name in ("kv", "y")}
    for name, bits in config.write_ports.items():
        burst = burst_limit(bits, config.burst_beats(bits))
        outstanding = fifo_depth(config, {"kv": "responses", "y": "y_responses"}[name])
        parts = 0 if config.clocks is None else bits // config.bus_bits(bits)
        made[name] = _writer(fifo_depth(config, f"write_{name}"), burst, outstanding, answers, parts, both)
    return made


def _writer(depth: int, burst: int, outstanding: int, latency: int, parts: int, both: np.ndarray) -> k.Writer:
    """A writer of `depth` words and `outstanding` bursts without an answer, which comes `latency` cycles after the last
    word of a burst."""
    state = np.zeros(k.WRITER_FIELDS, np.int64)
    state[[k.W_BURST, k.W_LATENCY, k.W_FIRST, k.W_PARTS]] = burst, latency, WRITE, parts
    state[[k.W_ACCEPTED, k.W_ISSUED_AT, k.W_BUS, k.W_ANSWER, k.W_BUS_ASKED, k.W_BUS_BEAT, k.W_BUS_ANSWER]] = k.NEVER
    words, lengths, answers, sent = (np.full(n, k.NEVER) for n in (depth, outstanding, outstanding, CROSSING_DEPTH))
    return k.Writer(state, words, lengths, answers, both, sent)
