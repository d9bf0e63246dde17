"""`lut-allocate`: clusters with layouts in; buffers on chip, rounds of linears and the memory map out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.dialect import placement_builders as build
from lutllm.errors import CapacityError
from lutllm.lowering.accelerator import IMAGE_HEADER
from lutllm.lowering.place.buffers import Buffer, buffers_of
from lutllm.lowering.place.clusters import Cluster, clusters_of, functions_of, head_count
from lutllm.lowering.place.layouts import Layout
from lutllm.lowering.place.machine import machine_op, read_machine
from lutllm.lowering.place.rounds import check_linear, cut, round_of, stream_bytes
from lutllm.lowering.place.space import AddressSpace
from lutllm.passes import Pass

HEADER, ROTATIONS = "header", "rope.p"
REGION = "lut.region"  # of an argument of a function: where a KV cache lies


@dataclass(frozen=True)
class LutAllocate(Pass):
    """Give every result of a cluster its place: a buffer on chip, or a region of memory.

    Buffers follow from the liveness of values; the machine's memories are made as large as they need, unless it has
    lut.memory ops already: then these are the limit. Linears are cut into rounds that the accumulator holds. Functions
    share the regions of what they both read.
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
        self.functions = functions_of(module)
        self.clusters = {name: clusters_of(function) for name, function in self.functions.items()}
        self.layouts = {op.sym_name.value: Layout.of(op) for op in self._body() if isinstance(op, dialect.LayoutOp)}
        self.space = AddressSpace(self.machine.memory_bytes)
        self.of_linear: dict[tuple[str, str], list[str]] = {}

    def _body(self) -> Any:
        return self.module.regions[0].blocks[0].operations

    def fail(self, cluster: Cluster, message: str) -> NoReturn:
        self.owner.fail(cluster.op, message)

    def layout(self, cluster: Cluster) -> Layout:
        name = cluster.symbol("layout")
        if name is None or name not in self.layouts:
            self.fail(cluster, "expected a cluster with a layout, got none; run lut-layout first")
        return self.layouts[name]

    def run(self) -> None:
        chosen = {name: self._buffers(name) for name in self.functions}
        self._memories([b for found in chosen.values() for b in found if b is not None])
        self._tokens()
        self.space.add(HEADER, "h", 8 * len(IMAGE_HEADER))
        for name in self.functions:
            for cluster, buffer in zip(self.clusters[name], chosen[name], strict=True):
                try:
                    self._regions(name, cluster)
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
            needed[buffer.memory] = max(needed[buffer.memory], buffer.end)
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

    def _regions(self, function: str, cluster: Cluster) -> None:
        layout, config = self.layout(cluster), self.config
        words = layout.size // config.lanes
        embedding, attention = cluster.find("lut.embedding"), cluster.find("lut.attention")
        if embedding is not None:
            vocabulary = int(embedding.vocabulary.value)
            self._region(
                cluster, f"{embedding.rows.value.removesuffix('.rows')}.e", "e", vocabulary * (1 + words) * config.lanes
            )
        elif cluster.last == "load":
            self._region(cluster, f"{cluster.label}.x", "x", config.context * words * config.load_bits // 8)
        elif cluster.last == "save":
            self._region(cluster, f"{cluster.label}.y", "y", config.context * words * config.save_bits // 8)
        elif attention is not None:
            self._attention(function, cluster, attention)
        elif cluster.last in ("norm", "swiglu"):
            self._parameters(cluster, f"{cluster.label}.p", words)
        elif cluster.last == "heads":
            self._parameters(cluster, f"{cluster.label}.p", head_count(cluster) * self._head_words(cluster))
        if cluster.last == "heads" and cluster.find("lut.rope") is not None:
            self.space.add(ROTATIONS, "p", self._rows(cluster) * self._head_words(cluster) * config.p_bits // 8)
        if cluster.linear is not None:
            self._linear(cluster, layout)

    def _rows(self, cluster: Cluster) -> int:
        """Positions of RoPE that a run can reach."""
        return min(int(cluster.find("lut.rope").positions.value), self.config.context)

    def _head_words(self, cluster: Cluster) -> int:
        return self.layout(cluster).unit_size // self.config.lanes

    def _region(self, cluster: Cluster, name: str, kind: str, size: int) -> None:
        cluster.op.attributes["region"] = dialect.symbol(self.space.add(name, kind, size).name)

    def _parameters(self, cluster: Cluster, name: str, words: int) -> None:
        region = self.space.add(name, "p", words * self.config.p_bits // 8)
        cluster.op.attributes["parameters"] = dialect.symbol(region.name)

    def _attention(self, function: str, cluster: Cluster, op: Any) -> None:
        """One token's rows are read once for the whole group of query heads where it fits; many tokens keep the
        multipliers busy a head at a time."""
        heads, kv_heads = int(op.heads.value), int(op.kv_heads.value)
        tokens = 1 if op.query.type.shape[0] == 1 else self.config.tokens
        layout, context = self.layout(cluster), int(op.keys.type.shape[0])
        beats, group = layout.unit_size // self.config.head_lanes, heads // kv_heads
        most = min(self.config.score_words // (tokens * context), self.config.item_words // (tokens * beats))
        fitting = [n for n in range(1, min(group, most) + 1) if group % n == 0]
        if not fitting:
            raise CapacityError(
                f"expected room for at least {tokens * context} scores, {tokens} tokens of a context of {context}, and "
                f"{tokens * beats} sums, got score_words = {self.config.score_words} and item_words = "
                f"{self.config.item_words}; enlarge them, or use a shorter context or fewer tokens a pass"
            )
        reps = fitting[0] if tokens > 1 else fitting[-1]
        cluster.op.attributes["reps"] = dialect.i64(reps)
        words = heads * (1 + layout.unit_size // self.config.lanes)
        self._parameters(cluster, f"{cluster.label}.{group // reps}x{reps}.p", words)

    def _linear(self, cluster: Cluster, layout: Layout) -> None:
        linear, engine = cluster.linear, self.config.engine
        assert linear is not None
        inputs = self._inputs(cluster)
        check_linear(linear, inputs, engine)
        key = linear.name, linear.row_source
        if key not in self.of_linear:
            stem = linear.name if not any(name == key[0] for name, _ in self.of_linear) else ".".join(key)
            self.of_linear[key] = [
                self._round(cluster, inputs, layout, stem, first, outputs)
                for first, outputs in cut(linear, layout, self.most[linear.name], engine)
            ]
        cluster.op.attributes["rounds"] = ir.ArrayAttr.get([dialect.symbol(name) for name in self.of_linear[key]])

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

    def _inputs(self, cluster: Cluster) -> Layout:
        """The layout of what a linear reads: the result of another cluster."""
        assert cluster.linear is not None
        return self.layout(Cluster(cluster.linear.x.owner.opview))

    def _caches(self, name: str) -> None:
        """The regions of the KV caches among a function's arguments."""
        function, found = self.functions[name], {}
        for cluster in self.clusters[name]:
            cache = cluster.cache
            if cache is not None:
                row = head_count(cluster) * self._head_words(cluster) * self.config.lanes
                label, kind = cluster.label.removesuffix(".heads"), self._kind(cluster)
                found[cache.arg_number] = self.space.add(f"{label}.{kind}", kind, int(cache.type.shape[0]) * row).name
        if found:
            entries = [{REGION: dialect.symbol(found[i])} if i in found else {} for i in range(len(function.arguments))]
            function.attributes["arg_attrs"] = ir.ArrayAttr.get([ir.DictAttr.get(entry) for entry in entries])

    def _kind(self, cluster: Cluster) -> str:
        """Whether attention reads a cache as keys or as values."""
        for use in cluster.result.uses:
            op = use.owner.operation
            if op.name == "lut.attention":
                return "k" if op.operands[1] == cluster.result else "v"
        return "k"
