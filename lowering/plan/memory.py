"""The plan's space: a decoder's shapes and its layouts in, buffers on chip, rounds and the memory map out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lutllm.decoder import Attention
from lutllm.errors import CapacityError
from lutllm.lowering.accelerator import IMAGE_HEADER, AcceleratorConfig
from lutllm.lowering.decoder_spec import DecoderSpec
from lutllm.lowering.layout.decoder import DecoderLayout
from lutllm.lowering.plan.data import HEADER, MEMORIES, Buffer
from lutllm.lowering.program import Round
from lutllm.lowering.schedule import AddressSpace, Layer, check_layer, place_round, rounds_of

ROTATIONS = "rope.p"


@dataclass(frozen=True)
class Shape:
    """Vector words of one token: `residual`, `seen` (attention's output), `inner` (between gate, up and down), `key`,
    `value` and `query` outputs; `head_words` of a head, `beats` of one in memory q."""

    residual: int
    seen: int
    inner: int
    key: int
    value: int
    query: int
    head_words: int
    beats: int
    heads: int

    @classmethod
    def of(cls, spec: DecoderSpec, layout: DecoderLayout, lanes: int, head_lanes: int) -> Shape:
        """Raises `CapacityError` unless all layers have one shape."""
        shapes: dict[Shape, str] = {}
        for layer in spec.decoder.layers:
            a = layer.attention
            shape = cls(
                residual=layout.residual.size // lanes,
                seen=layout.inputs[a.output].size // lanes,
                inner=layout.outputs[layer.gate].size // lanes,
                key=layout.outputs[a.key].size // lanes,
                value=layout.outputs[a.value].size // lanes,
                query=layout.outputs[a.query].size // lanes,
                head_words=len(layout.head) // lanes,
                beats=len(layout.head) // head_lanes,
                heads=a.heads,
            )
            shapes.setdefault(shape, layer.name)
        if len(shapes) > 1:
            (one, first), (other, second) = list(shapes.items())[:2]
            raise CapacityError(
                f"{second}: expected layers of one shape, got {other} here and {one} in {first}; quantize both alike"
            )
        return next(iter(shapes))


def buffers_of(shape: Shape, config: AcceleratorConfig) -> dict[str, Buffer]:
    """Every buffer on chip. Memories x and y hold first one layer's attention, then its MLP: `x.hidden` serves both,
    what only one of them needs shares its place with what only the other does."""
    whole = max(1, 2 * config.engine.pairs // config.lanes)  # words that engine feed joins to one

    def wide(words: int) -> int:
        return -(-words // whole) * whole * config.tokens

    plain = shape.key * config.tokens, shape.value * config.tokens
    places = [
        ("r.stream", "r", 0, shape.residual, shape.residual * config.tokens),
        ("x.hidden", "x", 0, shape.residual, wide(shape.residual)),
        ("x.seen", "x", wide(shape.residual), shape.seen, wide(shape.seen)),
        ("x.inner", "x", wide(shape.residual), shape.inner, wide(shape.inner)),
        ("y.key", "y", 0, shape.key, plain[0]),
        ("y.value", "y", plain[0], shape.value, plain[1]),
        ("y.query", "y", sum(plain), shape.query, shape.query * config.tokens),
        ("y.gate", "y", 0, shape.inner, shape.inner * config.tokens),
        ("q.query", "q", 0, shape.heads * shape.beats, shape.heads * shape.beats * config.tokens),
    ]
    return {place[0]: Buffer(*place) for place in places}


def words_needed(buffers: dict[str, Buffer]) -> dict[str, int]:
    """Words of each on-chip memory."""
    return {memory: max(b.end for b in buffers.values() if b.memory == memory) for memory in MEMORIES}


def rounds_of_decoder(
    spec: DecoderSpec, layout: DecoderLayout, config: AcceleratorConfig, row_source: str | None
) -> dict[str, list[Round]]:
    """The rounds of each linear, cut for passes of the most tokens (the head's for one): a weight stream is laid out
    by the cut, so one cut serves prefill and decode."""
    found = {}
    for name in spec.decoder.linears:
        linear, inputs, outputs = spec.linears[name], layout.inputs[name], layout.outputs[name]
        source = row_source if row_source in linear.scheme.row_sources else linear.scheme.row_sources[-1]
        tokens = 1 if name == spec.decoder.head else config.tokens
        scheme = linear.scheme.with_(G=outputs.block)
        layer = Layer(name, inputs.size // 2, outputs.size, tokens, scheme, source, linear.shift)
        check_layer(layer, config.engine)
        rounds = [replace(r, x="", y="") for r in rounds_of(layer, config.engine)]
        if rounds[0].tokens < tokens:
            chunks = -(-outputs.block // config.engine.lanes)
            raise CapacityError(
                f"{name}: expected an accumulator of at least {tokens * chunks} words for {tokens} tokens of a block "
                f"of {outputs.block} outputs, got {config.engine.acc_words}; use fewer tokens a pass, smaller blocks "
                "or a larger accumulator"
            )
        found[name] = rounds
    return found


class MemoryMap:
    """Places everything in memory but the descriptor lists, whose size follows from the tasks."""

    def __init__(
        self, spec: DecoderSpec, shape: Shape, config: AcceleratorConfig, context: int, memory_bytes: int
    ) -> None:
        self.spec, self.shape, self.config, self.context = spec, shape, config, context
        self.space = AddressSpace(memory_bytes)
        self.space.add(HEADER, "h", 0, "", 8 * len(IMAGE_HEADER))

    def fill(self, rounds: dict[str, list[Round]]) -> None:
        """Everything but attention's parameters, whose order the programs choose."""
        d, shape = self.spec.decoder, self.shape
        row = (1 + shape.residual) * self.config.lanes
        self.space.add(f"{d.embedding}.e", "e", 0, d.embedding, d.vocabulary * row)
        self.parameters(ROTATIONS, "", self.context * shape.head_words)
        for layer in d.layers:
            a = layer.attention
            self.parameters(f"{layer.input_norm.name}.p", layer.input_norm.name, shape.residual)
            for part, heads in (("query", a.heads), ("key", a.kv_heads), ("value", a.kv_heads)):
                self.parameters(f"{a.name}.{part}.p", a.name, heads * shape.head_words)
            for part in ("k", "v"):
                self.space.add(f"{a.name}.{part}", part, 0, a.name, a.kv_heads * self.head_stride)
            self.parameters(f"{layer.mlp_norm.name}.p", layer.mlp_norm.name, shape.residual)
            mlp = layer.down.rpartition(".")[0]
            self.parameters(f"{mlp}.p", mlp, shape.inner)
            self.rounds(rounds, layer.linears)
        self.parameters(f"{d.final_norm.name}.p", d.final_norm.name, shape.residual)
        self.rounds(rounds, (d.head,))

    def rounds(self, rounds: dict[str, list[Round]], names: tuple[str, ...]) -> None:
        for round_ in (r for name in names for r in rounds[name]):
            place_round(round_, self.config.engine, self.space)

    def parameters(self, name: str, source: str, beats: int) -> str:
        """A region of `beats` words of stream p."""
        return self.space.add(name, "p", 0, source, beats * self.config.p_bits // 8).name

    def attention(self, a: Attention, items: int, reps: int) -> str:
        """Attention's parameters for so many items of so many query heads."""
        return self.parameters(f"{a.name}.{items}x{reps}.p", a.name, self.attention_beats(a))

    def attention_beats(self, a: Attention) -> int:
        return a.heads * (1 + self.shape.head_words)

    @property
    def head_stride(self) -> int:
        """Bytes of the cache of one key or value head."""
        return self.context * self.shape.head_words * self.config.lanes

    def address(self, name: str) -> int:
        return self.space.regions[name].address
