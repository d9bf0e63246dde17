"""The constants of `kernels` for one accelerator and one memory, from what the units of the hardware declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from lutllm.cost import kernels
from lutllm.lowering.hardware.attention.attention import attention_timing
from lutllm.lowering.hardware.control.task import Timing
from lutllm.lowering.hardware.lib.axi import READ, WRITE, burst_limit
from lutllm.lowering.hardware.lib.memory import FIFO_LATENCY
from lutllm.lowering.hardware.linear.core import linear_timing
from lutllm.lowering.hardware.linear.front import JOBS
from lutllm.lowering.hardware.linear.psum import codebook_depth
from lutllm.lowering.hardware.linear.requantize import results_depth
from lutllm.lowering.hardware.top import fifo_depth
from lutllm.lowering.hardware.vector import feed, head_rows, load, norm, pick, residual, save, store, swiglu
from lutllm.lowering.hardware.vector.head_roots import root_latency, roots_depth
from lutllm.lowering.hardware.vector.heads import BEAT_LATENCY, kv_depth
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.machine.engine import MODES, OPERAND_BANKS, TABLE_BANKS

assert tuple(MODES.index(name) for name in ("exact_row", "built_row", "built_table", "stored_table")) == (
    kernels.EXACT_ROW, kernels.BUILT_ROW, kernels.BUILT_TABLE, kernels.STORED_TABLE,
)  # fmt: skip


def vector_timings(config: AcceleratorConfig) -> Mapping[str, Timing]:
    """Of engines that make a step a cycle."""
    return {
        "norm": norm.TIMING,
        "residual": residual.TIMING,
        "store": store.TIMING,
        "swiglu": swiglu.TIMING,
        "pick": pick.timing(config),
        "load": load.TIMING,
        "save": save.TIMING,
    }


def linear(config: AcceleratorConfig) -> kernels.Engine:
    engine, depths = config.engine, config.depths
    return kernels.Engine(
        codebook_units=engine.codebook_units,
        codes_units=engine.codes_units,
        table_units=engine.table_units,
        centroids=engine.centroids,
        centroid_words=engine.chain_length,
        c_beats=engine.word_beats("c"),
        q_beats=engine.word_beats("q"),
        joined=feed.joined_words(config),
        codes=engine.codes_depth,
        codebooks=codebook_depth(depths),
        tables=TABLE_BANKS,
        banks=OPERAND_BANKS,
        jobs=JOBS,
        x=feed.x_depth(config),
        results=results_depth(depths),
        fed=feed.LATENCY,
        **asdict(linear_timing(engine)),
    )


def heads(config: AcceleratorConfig) -> kernels.Heads:
    ratio = config.head_lanes // config.lanes
    leave = BEAT_LATENCY + FIFO_LATENCY
    return kernels.Heads(root_latency(config), roots_depth(config), ratio, kv_depth(config), leave, head_rows.SETTLE)


def attention(config: AcceleratorConfig) -> kernels.Attention:
    return kernels.Attention(config.head_lanes // config.lanes, **asdict(attention_timing(config)))


def ports(config: AcceleratorConfig, latency: int) -> dict[str, kernels.Port]:
    """Read masters; one stands for all weight ports, which move together. A port that is not there is never used."""
    found = {name[0]: bits for name, bits in config.read_ports.items()}
    made = {name: kernels.make_port(1, 1, 1) for name in "dpcqwekvx"}
    for name, bits in found.items():
        burst = burst_limit(bits, config.engine.burst_beats)
        made[name] = kernels.make_port(fifo_depth(config, f"read_{name}"), burst, latency + READ)
    return made


def writers(config: AcceleratorConfig, latency: int) -> dict[str, kernels.Writer]:
    """Write masters. One that is not there is never used."""
    made = {name: kernels.make_writer(1, 1, 1, 1, 1) for name in ("kv", "y")}
    for name, bits in config.write_ports.items():
        burst = burst_limit(bits, config.engine.burst_beats)
        outstanding = fifo_depth(config, {"kv": "responses", "y": "y_responses"}[name])
        made[name] = kernels.make_writer(fifo_depth(config, f"write_{name}"), burst, outstanding, WRITE, latency)
    return made
