"""The tasks of the three programs, without waits: a decoder's structure and the plan's space in, tasks in order out.

The order here is that of the model; `plan.waits` moves linear tasks ahead and says what waits for what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lutllm.decoder import CACHE_BITS, Attention, Layer, Norm
from lutllm.decoder import NORM_BITS as NORM_OUTPUT_BITS
from lutllm.errors import CapacityError
from lutllm.lowering.accelerator import HEAD_MODES, LEFT
from lutllm.lowering.decoder_spec import DecoderSpec
from lutllm.lowering.engine import MODES, ROUND_MAGIC
from lutllm.lowering.plan.data import Buffer, Parameters, Task
from lutllm.lowering.plan.memory import ROTATIONS, MemoryMap
from lutllm.lowering.program import Round

MOST_RIGHT = 127  # of a right shift of 7 bits: no value an engine shifts has as many
# Rescales of the two terms of a sum must be exact: not saturated before they are added, and shifts of 6 bits.
EXACT_SHIFTS = range(LEFT - 63, LEFT + 1)
ATTENTION_FIELDS = ("keys", "values")


def right_of(shift: int) -> int:
    """What hardware holds of a rescale by `shift` whose result then saturates."""
    return min(max(LEFT - shift, 0), MOST_RIGHT)


class ProgramTasks:
    """Writes one program's tasks."""

    def __init__(
        self,
        program: str,
        spec: DecoderSpec,
        memory: MemoryMap,
        buffers: dict[str, Buffer],
        rounds: dict[str, list[Round]],
    ) -> None:
        self.program, self.spec, self.memory, self.buffers, self.rounds = program, spec, memory, buffers, rounds
        self.config, self.shape = memory.config, memory.shape
        self.tokens = self.config.tokens if program == "prefill" else 1

    def tasks(self) -> Iterator[Task]:
        """In the order of the model."""
        if self.program == "head":
            yield from self.next_token()
            return
        yield self.rotations()
        yield from self.embedding()
        exponent = self.spec.embedding.exponent
        for layer in self.spec.decoder.layers:
            middle, after = (self.spec.residuals[f"{layer.name}.{part}"] for part in ("attention", "mlp"))
            yield from self.attention_part(layer, exponent, middle)
            yield from self.mlp_part(layer, middle, after)
            exponent = after

    def attention_part(self, layer: Layer, before: int, after: int) -> Iterator[Task]:
        a = layer.attention
        yield self.norm(layer.input_norm, a.query)
        for part, name in (("key", a.key), ("value", a.value), ("query", a.query)):
            yield from self.linear(name, "x.hidden", self.store(name, f"y.{part}"))
        yield self.heads(a, "key", a.key, a.key_norm)
        yield self.heads(a, "value", a.value, None)
        yield self.heads(a, "query", a.query, a.query_norm)
        yield self.attention(a)
        yield from self.linear(a.output, "x.seen", self.residual(a.output, before, after))

    def mlp_part(self, layer: Layer, before: int, after: int) -> Iterator[Task]:
        yield self.norm(layer.mlp_norm, layer.gate)
        yield from self.linear(layer.gate, "x.hidden", self.store(layer.gate, "y.gate"))
        yield from self.linear(layer.up, "x.hidden", self.swiglu(layer))
        yield from self.linear(layer.down, "x.inner", self.residual(layer.down, before, after))

    def next_token(self) -> Iterator[Task]:
        d = self.spec.decoder
        yield self.norm(d.final_norm, d.head)
        yield from self.linear(d.head, "x.hidden", self.pick)

    def task(self, name: str, engine: str, source: str, fields: dict[str, int], **rest: object) -> Task:
        single = self.program == "head" and engine != "norm"  # which needs to know where the last token is
        return Task(f"{self.program}.{name}", self.program, engine, source, fields, single=single, **rest)  # type: ignore[arg-type]

    def rotations(self) -> Task:
        words, beat = self.shape.head_words, self.config.p_bits // 8
        fields = self.heads_fields("rotations", head_words=words)
        parameters = Parameters(ROTATIONS, words, stride=words * beat)
        return self.task("rotations", "heads", "", fields, per_token=True, parameters=parameters)

    def embedding(self) -> Iterator[Task]:
        d, words = self.spec.decoder, self.shape.residual
        fields = {
            "words": words,
            "shift": self.spec.embedding.shift,
            "vocabulary": d.vocabulary,
            "address": self.memory.address(f"{d.embedding}.e"),
        }
        yield self.task(d.embedding, "embed", d.embedding, fields)
        load = {"start": 0, "words": words, "residual_right": 0, "y_right": 0, "load": 1}
        yield self.task(f"{d.embedding}.load", "residual", d.embedding, load, writes=("r.stream",))

    def norm(self, norm: Norm, reader: str) -> Task:
        spec, words = self.spec.norms[norm.name], self.shape.residual
        fields = {
            "base": self.buffers["x.hidden"].base,
            "words": words,
            "shift": spec.gain_shift,
            "bits": self.spec.linears[reader].scheme.x_bits,
            "last": int(self.program == "head"),
            "epsilon": spec.epsilon,
        }
        parameters = Parameters(f"{norm.name}.p", words)
        return self.task(
            norm.name, "norm", norm.name, fields, reads=("r.stream",), writes=("x.hidden",), parameters=parameters
        )

    def linear(self, name: str, x: str, sink: Callable[[Round], Task]) -> Iterator[Task]:
        """For each round of a linear its task, that which feeds it from buffer `x`, and its sink."""
        for r in self.rounds[name]:
            fields = {
                "magic": ROUND_MAGIC,
                "mode": MODES.index(r.row_source),
                "stages": r.stages,
                "shift": r.shift,
                "tokens": self.tokens,
                "groups": r.groups,
                "blocks": r.blocks,
                "block_chunks": r.block_chunks,
                "last_chunks": r.last_chunks,
            }
            yield self.task(f"{r.name}.linear", "linear", name, fields, round=r.name)
            feed = {"base": self.buffers[x].base, "groups": r.groups}
            yield self.task(f"{r.name}.feed", "feed", name, feed, reads=(x,), round=r.name)
            yield sink(r)

    def words(self, r: Round) -> dict[str, int]:
        """Fields `start` and `words` of a round's sink."""
        lanes = self.config.lanes
        return {"start": r.output_offset // lanes, "words": r.chunks * self.config.engine.lanes // lanes}

    def store(self, name: str, y: str) -> Callable[[Round], Task]:
        def sink(r: Round) -> Task:
            fields = {"base": self.buffers[y].base, **self.words(r)}
            return self.task(f"{r.name}.store", "store", name, fields, writes=(y,), round=r.name)

        return sink

    def residual(self, name: str, before: int, after: int) -> Callable[[Round], Task]:
        rights = {}
        terms = (("residual_right", before - after), ("y_right", self.spec.linears[name].out_exponent - after))
        for field, shift in terms:
            if shift not in EXACT_SHIFTS:
                raise CapacityError(
                    f"{name}: expected exponents at most {-EXACT_SHIFTS[0]} below and {EXACT_SHIFTS[-1]} above that of "
                    f"the residual stream after it, {after}, got {shift + after}; quantize with closer exponents"
                )
            rights[field] = LEFT - shift

        def sink(r: Round) -> Task:
            fields = {**self.words(r), **rights, "load": 0}
            stream = ("r.stream",)
            return self.task(f"{r.name}.add", "residual", name, fields, reads=stream, writes=stream, round=r.name)

        return sink

    def swiglu(self, layer: Layer) -> Callable[[Round], Task]:
        mlp, beat = layer.down.rpartition(".")[0], self.config.p_bits // 8
        gate = self.spec.linears[layer.gate].out_exponent

        def sink(r: Round) -> Task:
            words = self.words(r)
            fields = {
                "gate": self.buffers["y.gate"].base,
                "base": self.buffers["x.inner"].base,
                **words,
                "sigmoid_right": right_of(gate + 12),
                "bits": self.spec.linears[layer.down].scheme.x_bits,
            }
            parameters = Parameters(f"{mlp}.p", words["words"], offset=words["start"] * beat)
            uses = {"reads": ("y.gate",), "writes": ("x.inner",), "parameters": parameters, "round": r.name}
            return self.task(f"{r.name}.swiglu", "swiglu", mlp, fields, **uses)

        return sink

    def pick(self, r: Round) -> Task:
        d = self.spec.decoder
        words, rounds = self.words(r), self.rounds[d.head]
        fields = {
            "words": words["words"],
            "first": int(r == rounds[0]),
            "last": int(r == rounds[-1]),
            "offset": r.output_offset,
        }
        return self.task(f"{r.name}.pick", "pick", d.head, fields, round=r.name)

    def heads_fields(self, mode: str, **values: int) -> dict[str, int]:
        names = ("norm", "rotate", "heads", "head_words", "shift", "wide", "epsilon", "source", "base", "head_stride")
        return {"mode": HEAD_MODES.index(mode), **dict.fromkeys((*names, "address"), 0), **values}

    def heads(self, a: Attention, mode: str, name: str, norm: Norm | None) -> Task:
        spec = None if norm is None else self.spec.norms[norm.name]
        count = a.heads if mode == "query" else a.kv_heads
        cache = "" if mode == "query" else f"{a.name}.{mode[0]}"
        fields = self.heads_fields(
            mode,
            norm=int(spec is not None),
            rotate=int(mode != "value"),
            heads=count,
            head_words=self.shape.head_words,
            shift=0 if spec is None else spec.gain_shift,
            wide=self.spec.linears[name].scheme.out_bits if spec is None else NORM_OUTPUT_BITS,
            epsilon=0 if spec is None else spec.epsilon,
            source=self.buffers[f"y.{mode}"].base,
            base=0 if cache else self.buffers["q.query"].base,
            head_stride=self.memory.head_stride if cache else 0,
            address=self.memory.address(cache) if cache else 0,
        )
        return self.task(
            f"{a.name}.{mode}",
            "heads",
            name,
            fields,
            reads=(f"y.{mode}",),
            writes=(cache or "q.query",),
            parameters=Parameters(f"{a.name}.{mode}.p", count * self.shape.head_words),
        )

    def attention(self, a: Attention) -> Task:
        spec = self.spec.attentions[a.name]
        if spec.cache_bits != CACHE_BITS:
            raise CapacityError(
                f"{a.name}: expected a KV cache of {CACHE_BITS} bits, got {spec.cache_bits}; quantize again"
            )
        items, reps = self.items(a)
        caches = f"{a.name}.k", f"{a.name}.v"
        fields = {
            "kv_heads": a.kv_heads,
            "items": items,
            "reps": reps,
            "beats": self.shape.beats,
            "shift": spec.shift,
            "bits": self.spec.linears[a.output].scheme.x_bits,
            "q": self.buffers["q.query"].base,
            "base": self.buffers["x.seen"].base,
            "head_stride": self.memory.head_stride,
        } | {field: self.memory.address(cache) for field, cache in zip(ATTENTION_FIELDS, caches, strict=True)}
        return self.task(
            a.name,
            "attention",
            a.name,
            fields,
            reads=("q.query", *caches),
            writes=("x.seen",),
            parameters=Parameters(self.memory.attention(a, items, reps), self.memory.attention_beats(a)),
        )

    def items(self, a: Attention) -> tuple[int, int]:
        """(items, reps): query heads a kv head's rows are read for, and how many of them at a time. One token's rows
        are read once for the whole group where it fits; many tokens keep the multipliers busy a head a time."""
        group = a.heads // a.kv_heads
        each = self.tokens * self.memory.context
        most = min(self.config.score_words // each, self.config.item_words // (self.tokens * self.shape.beats))
        fitting = [n for n in range(1, min(group, most) + 1) if group % n == 0]
        if not fitting:
            raise CapacityError(
                f"{a.name}: expected room for at least {each} scores, {self.tokens} tokens of a context of "
                f"{self.memory.context}, and {self.tokens * self.shape.beats} sums, got score_words = "
                f"{self.config.score_words} and item_words = {self.config.item_words}; enlarge them, or use a shorter "
                "context or fewer tokens a pass"
            )
        reps = fitting[0] if self.tokens > 1 else fitting[-1]
        return group // reps, reps
