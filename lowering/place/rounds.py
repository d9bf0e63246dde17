"""Rounds of LutLinear: a linear, its layouts and an engine in; how its outputs are cut, and every count of a round,
out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lutllm import dialect
from lutllm.errors import CapacityError
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.lowering.place.clusters import Linear
from lutllm.lowering.place.layouts import Layout
from lutllm.scheme import ACC_BITS


@dataclass(frozen=True)
class Round:
    """`outputs` places of a linear from `first` on, computed at a time, from the regions c, q and one w for each port.

    `groups` of `engine.pairs` pairs, `stages` weight stages, `blocks` codebook blocks of `block_chunks` chunks of
    `engine.lanes`, `chunks` in all (the last block may be shorter).
    """

    name: str
    linear: str
    row_source: str
    first: int
    outputs: int
    pairs: int
    groups: int
    stages: int
    blocks: int
    chunks: int
    block_chunks: int
    shift: int
    c: str
    q: str
    w: tuple[str, ...]

    @property
    def last_chunks(self) -> int:
        return self.chunks - (self.blocks - 1) * self.block_chunks

    def block_size(self, block: int) -> int:
        """Chunks of block `block`."""
        return self.last_chunks if block == self.blocks - 1 else self.block_chunks

    def row_waits(self, engine: EngineConfig) -> int:
        """Cycles that a token's lookups wait for rows, which take longer to make than they last."""
        cycles = 0
        for block in {0, self.blocks - 1}:
            times = 1 if block else self.blocks - (self.blocks > 1)
            for first in range(0, self.block_size(block), engine.strip_chunks):
                strip = min(engine.strip_chunks, self.block_size(block) - first)
                cycles += times * max(0, engine.row_steps - strip)
        return self.groups * self.stages * cycles

    @property
    def lookups(self) -> int:
        """Lookups of one token, padding counted."""
        return self.pairs * self.stages * self.outputs


def round_of(op: dialect.RoundOp, linear: Linear, inputs: Layout, outputs: Layout, engine: EngineConfig) -> Round:
    """What a `lut.round` says of a linear laid out like this. Raises `CapacityError` where it is no range of blocks."""
    first, count = int(op.first.value), int(op.outputs.value)
    each = outputs.block_size
    name = op.sym_name.value
    if first % each or first + count > outputs.size or (count % each and first + count != outputs.size):
        raise CapacityError(
            f"round {name}: expected whole blocks of {each} of the {outputs.size} places of {linear.name}, got places "
            f"{first}..{first + count - 1}; cut it at blocks"
        )
    blocks, pairs = -(-count // each), len(inputs.pairs)
    return Round(
        name=name,
        linear=linear.name,
        row_source=linear.row_source,
        first=first,
        outputs=count,
        pairs=pairs,
        groups=-(-pairs // engine.pairs),
        stages=linear.scheme.R,
        blocks=blocks,
        chunks=count // engine.lanes,
        block_chunks=(each if blocks > 1 else count) // engine.lanes,
        shift=linear.shift,
        c=op.c.value,
        q=op.q.value,
        w=tuple(region.value for region in op.w),
    )


def cut(
    linear: Linear, outputs: Layout, tokens: int, engine: EngineConfig, *, awaited: bool = False
) -> Iterator[tuple[int, int]]:
    """(first, outputs) of each round: as many blocks as the accumulator holds for `tokens` tokens.

    Where all of the result is `awaited` before anything else goes on, the last block is a round of its own: no more
    than its sums are then requantized while the engine stands still. Centroids would be searched once more for that, so
    only exact rows are cut like this.
    """
    each = outputs.block_size
    chunks = each // engine.lanes
    if tokens * chunks > engine.acc_words:
        raise CapacityError(
            f"{linear.name}: expected an accumulator of at least {tokens * chunks} words for {tokens} tokens of a "
            "block "
            f"of {each} outputs, got {engine.acc_words}; use fewer tokens a pass, smaller blocks or a larger "
            "accumulator"
        )
    step = max(1, engine.acc_words // tokens // chunks) * each
    end = outputs.size
    last = (end - 1) // each * each if awaited and linear.row_source == "exact_row" else end
    for first in range(0, last, step):
        yield first, min(step, last - first)
    if last < end:
        yield last, end - last


def stream_bytes(round_: Round, engine: EngineConfig) -> dict[str, int]:
    """Bytes of the regions of a round: c, q, and w of each port."""
    words = {
        "c": round_.groups * (1 if round_.row_source == "exact_row" else 1 + engine.chain_length),
        "q": round_.chunks * engine.lanes // engine.requant_lanes,
    }
    sizes = {kind: n * engine.word_beats(kind) * engine.port_bits[kind] // 8 for kind, n in words.items()}
    rows = engine.table_units if round_.row_source == "stored_table" else engine.codebook_units
    beats = round_.groups * round_.stages * (round_.blocks * rows + round_.chunks * engine.codes_units)
    return sizes | {"w": beats * engine.port_bits["w"] // 8}


def check_linear(linear: Linear, inputs: Layout, engine: EngineConfig) -> None:
    """Raise `CapacityError` for the first thing of `linear` that `engine` is too small for."""
    s = linear.scheme
    if linear.whole > s.G:
        for i in range(0, linear.outputs, s.G):
            first, *rest = (int(channel) for channel in linear.channels[i : i + s.G])
            if first % s.G or rest != list(range(first + 1, min(first + s.G, linear.whole))):
                raise CapacityError(
                    f"{linear.name}: expected slices of whole codebook blocks of {s.G} outputs, got a part of that "
                    f"from {first // s.G * s.G} on; quantize it with one block, or with smaller ones"
                )
    needs = [
        ("activation stages", s.S, engine.act_stages),
        ("activation centroids", s.c_a, engine.centroids),
        ("weight centroids", s.c_w, engine.row_entries),
        ("bits of an input", s.x_bits, engine.operand_bits),
        ("bits of a weight centroid", s.weight_bits, engine.weight_bits),
        ("bits of a row entry", s.term_bits, engine.term_bits),
        ("bits of a bias", ACC_BITS * linear.biased, engine.bias_bits),
        ("groups of pairs", -(-len(inputs.pairs) // engine.pairs), (1 << 16) - 1),
    ]
    if linear.row_source in ("stored_table", "built_table"):
        needs.append(("bits of a table entry", s.table_bits, engine.table_bits))
    for what, needed, there in needs:
        if needed > there:
            raise CapacityError(
                f"{linear.name}: expected at most {there} {what} on this engine, got {needed}; use a larger engine"
            )
    if linear.out_bits != engine.out_bits:
        raise CapacityError(
            f"{linear.name}: expected outputs of {engine.out_bits} bits, as the engine gives them, got "
            f"{linear.out_bits}; "
            "quantize all linears to one width"
        )
    if linear.row_source not in engine.row_sources:
        raise CapacityError(
            f"{linear.name}: expected a row source among {', '.join(engine.row_sources)}, got {linear.row_source}; "
            "build the engine with it or decompose with another"
        )
    if linear.row_source != "exact_row" and s.metric != engine.metric:
        raise CapacityError(f"{linear.name}: expected metric {engine.metric} as the engine has, got {s.metric}")
