"""`lut-allocate`: clusters with layouts in; buffers on chip, rounds of linears and the memory map out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.dialect.machines import builders as build
from lutllm.dialect.symbols import ARGUMENT_REGION
from lutllm.errors import CapacityError
from lutllm.lowering.machine.accelerator import IMAGE_HEADER
from lutllm.lowering.machine.form import machine_op, read_machine
from lutllm.lowering.place.buffers import Buffer, buffers_of, room
from lutllm.lowering.place.clusters import Cluster, cache_kind, clusters_of
from lutllm.lowering.place.contents import cache_bytes, cache_contents, contents_of, regions_of, round_contents
from lutllm.lowering.place.form import placed_functions
from lutllm.lowering.place.layout_rules import layouts_of, problems
from lutllm.lowering.place.layouts import Layout
from lutllm.lowering.place.rounds import check_linear, cut, round_of, stream_bytes
from lutllm.lowering.place.space import AddressSpace
from lutllm.passes import Pass

AWAITED = ("residual", "pick", "save")  # sinks whose last word the next engine, or the host, waits for
HEADER = "header"
_PLACES = (dialect.BufferOp, dialect.RegionOp, dialect.RoundOp)


@dataclass(frozen=True)
class LutAllocate(Pass):
    """Give every result of a cluster its place: a buffer on chip, or a region of memory.

    Buffers follow from the liveness of values; the machine's memories are made as large as they need, unless it has
    lut.memory ops already: then these are the limit. Linears are cut into rounds that the accumulator holds. Functions
    share the regions of what they both read. Places that stand there already are chosen anew.
    """

    name: ClassVar[str] = "lut-allocate"
    anchor: ClassVar[str | None] = "builtin.module"

    def run(self, op: ir.Operation) -> None:
        _Allocation(self, op).run()


class _Allocation:
    def __init__(self, owner: LutAllocate, module: ir.Operation) -> None:
        self.owner, self.module = owner, module
        self.machine = read_machine(module)
        self.config = self.machine.config
        self.functions = placed_functions(module)
        self.clusters = {name: clusters_of(function) for name, function in self.functions.items()}
        self.layouts = {op.sym_name.value: Layout.of(op) for op in self._body() if isinstance(op, dialect.LayoutOp)}
        self.space = AddressSpace(self.machine.memory_bytes)
        self.rounds: dict[str, list[str]] = {}  # of linears, by their names in the map
        self.names: dict[str, str] = {}

    def named(self, base: str, contents: str) -> str:
        """A name in the memory map: the same for the same contents, another one for others."""
        name, number = base, 1
        while self.names.setdefault(name, contents) != contents:
            number += 1
            name = f"{base}#{number}"
        return name

    def _body(self) -> Any:
        return self.module.regions[0].blocks[0].operations

    def fail(self, cluster: Cluster, message: str) -> NoReturn:
        self.owner.fail(cluster.op, message)

    def layout(self, cluster: Cluster) -> Layout:
        return cluster.named("layout", self.layouts)

    def run(self) -> None:
        for old in [op for op in self._body() if isinstance(op, _PLACES)]:
            old.operation.erase()
        self._check_layouts()
        chosen = {name: self._buffers(name) for name in self.functions}
        self._memories([b for found in chosen.values() for b in found if b is not None])
        self._tokens()
        self.space.add(HEADER, "h", 8 * len(IMAGE_HEADER))
        for name in self.functions:
            for cluster, buffer in zip(self.clusters[name], chosen[name], strict=True):
                try:
                    self._regions(cluster)
                except CapacityError as problem:
                    self.fail(cluster, problem.message)
                if buffer is not None:
                    cluster.op.attributes["buffer"] = dialect.symbol(buffer.name)
            self._caches(name)
        first = next(iter(self.functions.values()))
        with ir.InsertionPoint(first), self.module.location:
            for buffer in dict.fromkeys(b for found in chosen.values() for b in found if b is not None):
                build.buffer(buffer.name, memory=buffer.memory, base=buffer.base, words=buffer.words, size=buffer.size)
            for region in self.space.regions.values():
                region.write()

    def _check_layouts(self) -> None:
        of = layouts_of(self.functions, self.layouts)
        for cluster in (cluster for clusters in self.clusters.values() for cluster in clusters):
            for problem in problems(cluster, self.layout(cluster), of, self.config):
                self.fail(cluster, problem)

    def _buffers(self, name: str) -> list[Buffer | None]:
        clusters = self.clusters[name]
        return buffers_of(clusters, [self.layout(c) for c in clusters], self.config, self.fail)

    def _memories(self, buffers: list[Buffer]) -> None:
        """The machine's memories, as large as the buffers need."""
        op = machine_op(self.module)
        assert op is not None
        block = op.operation.regions[0].blocks[0]
        there = {m.sym_name.value: int(m.words.value) for m in block if isinstance(m, dialect.MemoryOp)}
        needed: dict[str, int] = defaultdict(int)
        for buffer in buffers:
            needed[buffer.memory] = max(
                needed[buffer.memory], buffer.base + room(buffer.memory, buffer.words, self.config)
            )
        with ir.InsertionPoint(block), op.location:
            for memory, words in needed.items():
                if memory not in there:
                    build.memory(memory, words)
                elif words > there[memory]:
                    self.owner.fail(
                        op, f"expected a memory {memory} of at least {words} words, got {there[memory]}; enlarge it"
                    )

    def _tokens(self) -> None:
        """Of each linear, the most tokens of a pass that computes it: one, where only functions of one token do."""
        self.most: dict[str, int] = defaultdict(lambda: 1)
        for clusters in self.clusters.values():
            for linear in (c.linear for c in clusters if c.linear is not None):
                tokens = 1 if linear.x.type.shape[0] == 1 else self.config.tokens
                self.most[linear.name] = max(self.most[linear.name], tokens)

    def _regions(self, cluster: Cluster) -> None:
        layout = self.layout(cluster)
        if cluster.find("lut.attention") is not None:
            self._attention(cluster, layout)
        for attribute, (kind, size) in regions_of(cluster, layout, self.config).items():
            name = self.named(_name(cluster, attribute), contents_of(cluster, layout, attribute))
            region = self.space.add(name, kind, size)
            cluster.op.attributes[attribute] = dialect.symbol(region.name)
        if cluster.linear is not None:
            self._linear(cluster, layout)

    def _attention(self, cluster: Cluster, layout: Layout) -> None:
        """One token's rows are read once for the whole group of query heads where it fits; many tokens for as few as
        keep the multipliers busy while the next row comes."""
        op = cluster.find("lut.attention")
        group = int(op.heads.value) // int(op.kv_heads.value)
        tokens, context = 1 if op.query.type.shape[0] == 1 else self.config.tokens, int(op.keys.type.shape[0])
        beats = layout.unit_size // self.config.head_lanes
        context = self.config.row_groups(context) * self.config.attention_rows
        most = min(self.config.score_words // (tokens * context), self.config.item_words // (tokens * beats))
        fitting = [n for n in range(1, min(group, most) + 1) if group % (n * self.config.attention_ways) == 0]
        if not fitting:
            raise CapacityError(
                f"expected room for at least {tokens * context} scores, {tokens} tokens of a context of {context}, and "
                f"{tokens * beats} sums, got score_words = {self.config.score_words} and item_words = "
                f"{self.config.item_words}; enlarge them, or use a shorter context or fewer tokens a pass"
            )
        busy = self.config.part_bits // self.config.kv_bits if tokens > 1 else group * tokens
        reps = next((n for n in fitting if n * tokens >= busy), fitting[-1])
        cluster.op.attributes["reps"] = dialect.i64(reps)

    def _linear(self, cluster: Cluster, layout: Layout) -> None:
        linear, engine = cluster.linear, self.config.engine
        assert linear is not None
        inputs = self.layout(cluster.fed)
        check_linear(linear, inputs, engine)
        stem = self.named(linear.name, round_contents(linear, inputs, layout))
        if stem not in self.rounds:
            self.rounds[stem] = [
                self._round(cluster, inputs, layout, stem, first, outputs)
                for first, outputs in cut(
                    linear, layout, self.most[linear.name], engine, awaited=cluster.last in AWAITED
                )
            ]
        cluster.op.attributes["rounds"] = ir.ArrayAttr.get([dialect.symbol(name) for name in self.rounds[stem]])

    def _round(self, cluster: Cluster, inputs: Layout, layout: Layout, stem: str, first: int, outputs: int) -> str:
        engine, linear = self.config.engine, cluster.linear
        assert linear is not None
        name = f"{stem}.{first}"
        w = [f"{name}.w{port}" for port in range(engine.weight_ports)]
        with ir.InsertionPoint(next(iter(self.functions.values()))), cluster.op.location:
            op: Any = build.round_(name, first=first, outputs=outputs, c=f"{stem}.c", q=f"{name}.q", w=w)
        round_ = round_of(op, linear, inputs, layout, engine)
        sizes = stream_bytes(round_, engine)
        for region, kind in ((round_.c, "c"), (round_.q, "q"), *((port, "w") for port in round_.w)):
            self.space.add(region, kind, sizes[kind])
        return name

    def _caches(self, name: str) -> None:
        """The regions of the KV caches among a function's arguments."""
        function, found = self.functions[name], {}
        for cluster in self.clusters[name]:
            if cluster.cache is not None:
                label, kind = cluster.label.removesuffix(".heads"), cache_kind(cluster)
                layout = self.layout(cluster)
                region = self.named(f"{label}.{kind}", cache_contents(cluster, layout))
                size = cache_bytes(cluster, layout, self.config)
                found[cluster.cache.arg_number] = self.space.add(region, kind, size).name
        if found:
            entries = [
                {ARGUMENT_REGION: dialect.symbol(found[i])} if i in found else {}
                for i in range(len(function.arguments))
            ]
            function.attributes["arg_attrs"] = ir.ArrayAttr.get([ir.DictAttr.get(entry) for entry in entries])


def _name(cluster: Cluster, attribute: str) -> str:
    """Of a region. What has one name is one region, so that functions share what they both read."""
    embedding, attention, rope = (cluster.find(f"lut.{name}") for name in ("embedding", "attention", "rope"))
    if embedding is not None:
        return f"{embedding.rows.value.removesuffix('.rows')}.e"
    if cluster.last in ("load", "save"):
        return f"{cluster.label}.{'x' if cluster.last == 'load' else 'y'}"
    if attribute == "region":
        return f"{rope.cosines.value.removesuffix('.cosines')}.p"
    if attention is not None:
        reps = int(cluster.op.operation.attributes["reps"].value)
        return f"{cluster.label}.{int(attention.heads.value) // int(attention.kv_heads.value) // reps}x{reps}.p"
    return f"{cluster.label}.p"
