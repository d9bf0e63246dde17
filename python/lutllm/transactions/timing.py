"""Constants of `kernels` for one accelerator, from what its units declare."""

from __future__ import annotations

from lutllm.lowering.accelerator import AcceleratorConfig
from lutllm.lowering.axi import burst_limit
from lutllm.lowering.engine import OPERAND_BANKS, TABLE_BANKS
from lutllm.lowering.engine_hw.search import search_latency
from lutllm.lowering.accelerator_hw.row_buffer import row_depth
from lutllm.lowering.accelerator_hw.scores import dot_latency
from lutllm.lowering.accelerator_hw.weighted import WEIGHT_STAGE
from lutllm.lowering.accelerator_hw.drain import READ_STAGE, PICKED_STAGE
from lutllm.lowering.accelerator_hw.attention_parameters import RIGHTS_DEPTH
from lutllm.lowering.accelerator_hw.top import read_ports
from lutllm.transactions import kernels


def linear(config: AcceleratorConfig) -> kernels.Engine:
    e, d = config.engine, config.depths
    sl = search_latency(e)
    return kernels.Engine(
        codebook_units=e.codebook_units, codes_units=e.codes_units, table_units=e.table_units, centroids=e.centroids,
        centroid_words=e.chain_length, c_beats=e.word_beats("c"), q_beats=e.word_beats("q"),
        joined=max(1, 2 * e.pairs // config.lanes), codes=e.codes_depth, codebooks=d.get("codebooks", 4),
        tables=TABLE_BANKS, banks=OPERAND_BANKS, jobs=2, x=d.get("x", 4), results=d.get("results", 16),
        weights_there=1, codes_room=e.pairs + 4, codebook_room=e.pairs + 1, build_room=e.pairs + 1,
        table_room=e.pairs + 3, table_reused=1, table_built=4, bank_room=e.pairs + 6, centroids_used=sl + 1,
        centroids_there=2, operands_there=sl + 2, fed=3, summed=e.pairs + 7, bank_drained=2, drained=6, searched=0,
    )


def port(config: AcceleratorConfig, name: str, latency: int, commands: int) -> kernels.Port:
    bits = read_ports(config)[name]
    burst = burst_limit(bits, config.engine.burst_beats)
    depth = config.depths.get(f"read_{name[0]}", burst * config.engine.outstanding)
    return kernels.make_port(depth, burst, latency + 2, commands)


def attention(config: AcceleratorConfig) -> kernels.Attention:
    beats = config.head_beats
    return kernels.Attention(
        k_rows=row_depth(beats, 0), v_rows=row_depth(beats, WEIGHT_STAGE), rights=row_depth(1, RIGHTS_DEPTH - 3),
        scored=dot_latency(config.head_lanes) + 4, bank_free=1, v_freed=WEIGHT_STAGE - 1, loaded=2,
        weighted=WEIGHT_STAGE + 4, sums_free=READ_STAGE + 1, right_freed=PICKED_STAGE + 2,
    )
