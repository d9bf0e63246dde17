"""Schedule of linears on one engine in space and time: which rounds, in which order, and where all lies in memory.

A linear is one round if its tokens fit the engine's operand buffers and its sums the accumulator; otherwise it is cut
into steps of tokens, and these into ranges of whole codebook blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lutllm.errors import CapacityError
from lutllm.lowering.engine import DESCRIPTOR_PORT_BITS, EngineConfig
from lutllm.lowering.program import Program, Region, Round
from lutllm.scheme import Scheme

ALIGNMENT = 4096  # bytes; AXI bursts must not cross such a boundary, so regions start on one
DESCRIPTORS = "program"


@dataclass(frozen=True)
class Layer:
    """A linear to schedule: its shape, scheme, row source and requantizer shift."""

    name: str
    pairs: int
    outputs: int
    tokens: int
    scheme: Scheme
    row_source: str
    shift: int


def schedule(layers: list[Layer], engine: EngineConfig, memory_bytes: int) -> Program:
    """Place `layers` in order. Raises `CapacityError` where one cannot run on `engine` or the memory is too small."""
    for layer in layers:
        check_layer(layer, engine)
    space = AddressSpace(memory_bytes)
    rounds: list[Round] = []
    for layer in layers:
        rounds += rounds_of(layer, engine)
    for round_ in rounds:
        place_round(round_, engine, space)
    if not rounds:
        raise CapacityError(
            "expected at least one linear to schedule, got none; run torch-to-lut and lut-decompose first"
        )
    size = len(rounds) * engine.descriptor_words * DESCRIPTOR_PORT_BITS // 8
    space.add(DESCRIPTORS, "d", 0, "", size)
    return Program(engine, space.regions, tuple(rounds))


def check_layer(layer: Layer, engine: EngineConfig) -> None:
    """Raise `CapacityError` for the first thing of `layer` that `engine` is too small for."""
    s = layer.scheme
    needs = [
        ("activation stages", s.S, engine.act_stages),
        ("activation centroids", s.c_a, engine.centroids),
        ("weight centroids", s.c_w, engine.row_entries),
        ("bits of an input", s.x_bits, engine.operand_bits),
        ("bits of a weight centroid", s.weight_bits, engine.weight_bits),
        ("bits of a row entry", s.term_bits, engine.term_bits),
        ("groups of pairs", -(-layer.pairs // engine.pairs), (1 << 16) - 1),
    ]
    if layer.row_source in ("stored_table", "built_table"):
        needs.append(("bits of a table entry", s.table_bits, engine.table_bits))
    for what, needed, there in needs:
        if needed > there:
            raise CapacityError(
                f"{layer.name}: expected at most {there} {what} on this engine, got {needed}; use a larger engine"
            )
    if s.out_bits != engine.out_bits:
        raise CapacityError(f"{layer.name}: expected out_bits = {engine.out_bits} as the engine has, got {s.out_bits}")
    if layer.row_source not in engine.row_sources:
        raise CapacityError(
            f"{layer.name}: expected a row source among {', '.join(engine.row_sources)}, got {layer.row_source}; "
            "build the engine with it or decompose with another"
        )
    if layer.row_source != "exact_row" and s.metric != engine.metric:
        raise CapacityError(f"{layer.name}: expected metric {engine.metric} as the engine has, got {s.metric}")


def rounds_of(layer: Layer, engine: EngineConfig) -> list[Round]:
    """The rounds that compute `layer`; none of their regions is placed."""
    block_chunks = -(-min(layer.scheme.G, layer.outputs) // engine.lanes)
    tokens = min(layer.tokens, engine.tokens, engine.acc_words // block_chunks)
    if tokens == 0:
        raise CapacityError(
            f"{layer.name}: expected an accumulator of at least {block_chunks} words for one block of "
            f"{layer.scheme.G} outputs, got {engine.acc_words}; use smaller blocks or a larger accumulator"
        )
    blocks = max(1, engine.acc_words // tokens // block_chunks)
    return [
        _round(layer, engine, token, tokens, output, blocks)
        for output in range(0, layer.outputs, blocks * layer.scheme.G)
        for token in range(0, layer.tokens, tokens)
    ]


def _round(layer: Layer, engine: EngineConfig, token: int, tokens: int, output: int, blocks: int) -> Round:
    """The round of `tokens` tokens from `token` and `blocks` blocks from `output`."""
    block_outputs = min(layer.scheme.G, layer.outputs)
    outputs = min(layer.outputs - output, blocks * layer.scheme.G)
    blocks = -(-outputs // block_outputs)
    block_chunks = -(-block_outputs // engine.lanes)
    last_outputs = outputs - (blocks - 1) * block_outputs
    if blocks == 1:
        block_outputs, block_chunks = outputs, -(-outputs // engine.lanes)
    chunks = (blocks - 1) * block_chunks + -(-last_outputs // engine.lanes)
    name = f"{layer.name}.{token}.{output}"
    return Round(
        name=name,
        linear=layer.name,
        row_source=layer.row_source,
        tokens=min(tokens, layer.tokens - token),
        token_offset=token,
        outputs=outputs,
        output_offset=output,
        pairs=layer.pairs,
        groups=-(-layer.pairs // engine.pairs),
        stages=layer.scheme.R,
        blocks=blocks,
        chunks=chunks,
        block_chunks=block_chunks,
        block_outputs=block_outputs,
        shift=layer.shift,
        x=f"{layer.name}.{token}.x",
        c=f"{layer.name}.c",
        q=f"{layer.name}.{output}.q",
        y=f"{name}.y",
        w=tuple(f"{layer.name}.{output}.w{port}" for port in range(engine.weight_ports)),
    )


def place_round(round_: Round, engine: EngineConfig, space: AddressSpace) -> None:
    """Place the regions of a round that are not placed yet."""
    for region, kind, port, size in _regions_of(round_, engine):
        space.add(region, kind, port, round_.linear, size)


def _regions_of(round_: Round, engine: EngineConfig) -> list[tuple[str, str, int, int]]:
    """(name, kind, port, bytes) of every region a round reads or writes: none for x and y that are on-chip streams."""
    words = {
        "x": round_.groups * round_.tokens,
        "c": round_.groups * (1 if round_.row_source == "exact_row" else 1 + engine.chain_length),
        "q": round_.chunks * engine.lanes // engine.requant_lanes,
        "y": round_.chunks * engine.lanes // engine.requant_lanes * round_.tokens,
    }
    regions = [(round_.x, "x"), (round_.c, "c"), (round_.q, "q"), (round_.y, "y")]
    sized = [(n, k, 0, words[k] * engine.word_beats(k) * engine.port_bits[k] // 8) for n, k in regions if n]
    rows = engine.table_units if round_.row_source == "stored_table" else engine.codebook_units
    beats = round_.groups * round_.stages * (round_.blocks * rows + round_.chunks * engine.codes_units)
    return sized + [(name, "w", port, beats * engine.port_bits["w"] // 8) for port, name in enumerate(round_.w)]


class AddressSpace:
    """Hands out addresses from 0 up, aligned; a region named twice is one region."""

    def __init__(self, memory_bytes: int) -> None:
        self.regions: dict[str, Region] = {}
        self._next, self._limit = 0, memory_bytes

    def add(self, name: str, kind: str, port: int, source: str, size: int) -> Region:
        """The region of that name, placed after all others if it is new."""
        if name in self.regions:
            assert self.regions[name].size == size, name
            return self.regions[name]
        region = Region(name, self._next, size, kind, port, source)
        self._next = -(-(region.address + size) // ALIGNMENT) * ALIGNMENT
        if self._next > self._limit:
            raise CapacityError(
                f"memory map: expected at most {self._limit} bytes, got {self._next} with region {name} "
                f"of {size} bytes; schedule fewer linears or tokens, or a target with more memory"
            )
        self.regions[name] = region
        return region


def engine_for(schemes: list[Scheme], base: EngineConfig) -> EngineConfig:
    """`base` widened to the schemes: stages, centroids, widths and row sources of all of them."""
    searching = [s for s in schemes if s.kind == "vq"]
    metrics = {s.metric for s in searching}
    if len(metrics) > 1:
        raise CapacityError(f"expected one metric for an engine, got {', '.join(sorted(metrics))}")
    centroids = max([s.c_a for s in searching], default=base.chains)
    sources = tuple(m for m in base.row_sources if any(m in s.row_sources for s in schemes))
    ports = dict(base.port_bits)
    if not searching:  # without centroids, stream c is a word of shifts a group
        ports["c"] = min(ports["c"], max(32, 1 << (base.pairs * 16).bit_length() - 1))
    return replace(
        base,
        centroids=-(-centroids // base.chains) * base.chains,
        act_stages=max([s.S for s in searching], default=1),
        metric=next(iter(metrics), base.metric),
        term_bits=max(s.term_bits for s in schemes),
        table_bits=max([s.table_bits for s in searching], default=base.table_bits),
        out_bits=max(s.out_bits for s in schemes),
        row_sources=sources,
        port_bits=ports,
    )
