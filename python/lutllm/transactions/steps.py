"""How many steps a task takes, of one a cycle: the plan's fields in, counts out. What `predicted` is made of."""

from __future__ import annotations

from dataclasses import dataclass

from lutllm.lowering.accelerator import AcceleratorConfig
from lutllm.lowering.engine import OPERAND_BANKS, EngineConfig
from lutllm.lowering.place.rounds import Round
from lutllm.lowering.schedule.data import Task

CODES_ROOM = 8  # cycles from a chunk's first lookup until its place for codes is filled again


@dataclass(frozen=True)
class Streams:
    """Of a round: `lookups` beats of the chain, `codes` cycles in which each port's weights pass into the engine;
    cycles of stream `x`, beats of `c` and of each port `w`; `search` cycles before the first lookup, `chain` after the
    last; a feed may be `ahead` so many cycles."""

    lookups: int
    codes: int
    x: int
    c: int
    w: int
    search: int
    chain: int
    ahead: int


@dataclass(frozen=True)
class AttentionSteps:
    """Of each of `items`: `beats` of QK^T, and as many of AV; `rows` beats of the ports k and v; `drain` words."""

    items: int
    beats: int
    rows: int
    drain: int


def task_steps(config: AcceleratorConfig, task: Task, tokens: int) -> int:
    """Steps of an engine other than linear and attention."""
    f = task.fields
    if task.engine == "feed":
        return f["groups"] * tokens * joined(config)
    if task.engine == "heads":
        words = f["head_words"] * tokens
        return f["heads"] * words * (1 + f["norm"]) if f["heads"] else words
    if task.engine == "norm" and f["last"]:
        return f["words"]
    if task.engine == "embed":
        return (f["words"] + 1) * tokens
    return f.get("words", 0) * tokens


def joined(config: AcceleratorConfig) -> int:
    """Vector words that engine feed reads for a word of stream x."""
    return max(1, 2 * config.engine.pairs // config.lanes)


def linear_streams(config: AcceleratorConfig, round_: Round, tokens: int) -> Streams:
    engine = config.engine
    stages, chunks, source = round_.stages, round_.chunks, round_.row_source
    searching = source != "exact_row"
    rows = engine.table_units if source == "stored_table" else engine.codebook_units
    lookups = stages * chunks * tokens
    if source == "built_table":  # the next group's tables are built while this one's are read
        lookups = max(lookups, stages * round_.blocks * engine.centroids)
    c = (1 + engine.chain_length * searching) * engine.word_beats("c")
    w = stages * (round_.blocks * rows + chunks * engine.codes_units)
    blocks = (weight_cycles(engine, rows, round_.block_size(block)) for block in range(round_.blocks))
    codes = stages * sum(blocks)
    x = tokens * joined(config)
    each = max(lookups, codes, c, x)
    return Streams(
        lookups=round_.groups * lookups,
        codes=round_.groups * codes,
        x=round_.groups * x,
        c=round_.groups * c,
        w=round_.groups * w,
        search=search_cycles(engine, searching) + x,
        chain=engine.pairs + 12,
        ahead=(OPERAND_BANKS - 1) * each,
    )


def weight_cycles(engine: EngineConfig, rows: int, chunks: int) -> int:
    """Cycles in which a block's rows and codes pass. Codes beyond what waits on chip need room to come back first."""
    units, waiting = engine.codes_units, min(chunks, engine.codes_depth)
    return rows + waiting * units + (chunks - waiting) * max(units, -(-CODES_ROOM // engine.codes_depth))


def search_cycles(engine: EngineConfig, searching: bool) -> int:
    """Cycles from a word of stream x to its lookup, where the whole group must be there."""
    return 6 + (engine.chain_length + 4 if searching else 0)


def attention_steps(config: AcceleratorConfig, task: Task, tokens: int, position: int) -> AttentionSteps:
    f = task.fields
    seen = position * tokens + tokens * (tokens + 1) // 2  # pairs (row, token) that meet
    channels = f["beats"] * config.head_lanes
    return AttentionSteps(
        items=f["kv_heads"] * f["items"],
        beats=f["reps"] * f["beats"] * seen,
        rows=f["beats"] * (position + tokens),
        drain=f["reps"] * tokens * channels // config.lanes,
    )
