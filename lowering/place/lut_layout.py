"""`lut-layout`: clusters in; for each the layout of the channels it makes, as hardware keeps them, out.

A linear puts its codebook blocks out one after the other, each padded to whole words of lanes; that decides. Norms,
sums and products have the layout of what they read, so all of these must agree. Heads lie as attention wants them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.lowering.machine.form import read_machine
from lutllm.lowering.place.clusters import Cluster, Linear, clusters_of, heads_of
from lutllm.lowering.place.form import placed_functions
from lutllm.lowering.place.layout_rules import channels_of, like, problems
from lutllm.lowering.place.layouts import Layout
from lutllm.passes import Pass
from lutllm.passes.lut_outline_head import HEAD


@dataclass(frozen=True)
class LutLayout(Pass):
    """Choose the layout of every cluster's result and write the `lut.layout` ops they name.

    A layout that stands at a cluster already is kept, and what must agree with it follows.
    """

    name: ClassVar[str] = "lut-layout"
    anchor: ClassVar[str | None] = "builtin.module"

    def run(self, op: ir.Operation) -> None:
        found = _Layouts(self, op)
        for function in found.functions.values():
            for cluster in clusters_of(function):
                found.add(cluster)
        found.join_head()
        found.write(op)


class _Layouts:
    """Classes of values that share a layout, and what decides each."""

    def __init__(self, owner: LutLayout, module: ir.Operation) -> None:
        self.owner, self.config = owner, read_machine(module).config
        self.functions = placed_functions(module)
        self.known = {op.sym_name.value: Layout.of(op) for op in module.regions[0].blocks[0]
                      if isinstance(op, dialect.LayoutOp)}  # fmt: skip
        self.parents: dict[ir.Value, ir.Value] = {}
        self.decided: dict[ir.Value, tuple[Layout, Cluster]] = {}
        self.clusters: list[Cluster] = []

    def root(self, value: ir.Value) -> ir.Value:
        while value in self.parents:
            value = self.parents[value]
        return value

    def join(self, one: ir.Value, other: ir.Value) -> None:
        """Two values have one layout."""
        a, b = self.root(one), self.root(other)
        if a == b:
            return
        found = self.decided.pop(b, None)
        self.parents[b] = a
        if found:
            self.decide(a, *found)

    def decide(self, value: ir.Value, layout: Layout, cluster: Cluster) -> None:
        root = self.root(value)
        before = self.decided.setdefault(root, (layout, cluster))
        if before[0] != layout:
            first, second = before, (layout, cluster)
            self.owner.fail(
                cluster.op,
                f"expected outputs laid out like those of {first[1].label}, got blocks of {second[0].block} and "
                f"{first[0].block} channels, padded to {second[0].size} and {first[0].size}; quantize both with blocks "
                f"of a multiple of {self.config.engine.lanes} outputs, or of one size",
            )

    def add(self, cluster: Cluster) -> None:
        self.clusters.append(cluster)
        held, linear = cluster.symbol("layout"), cluster.linear
        if held is not None:
            self.decide(cluster.result, cluster.named("layout", self.known), cluster)
        elif linear is not None:
            self.decide(cluster.result, self.outputs(cluster, linear), cluster)
        for value in like(cluster):
            self.join(cluster.result, value)
        for op in cluster.ops:
            self._op(cluster, op)

    def _op(self, cluster: Cluster, op: Any) -> None:
        name = op.operation.name
        if name == "lut.append":
            self.join(cluster.result, op.cache)
        elif name == "lut.attention":
            self._attention(cluster, op)

    def _attention(self, cluster: Cluster, op: Any) -> None:
        heads = int(op.heads.value)
        head_dim = op.query.type.shape[-1] // heads
        size = -(-head_dim // self.config.head_lanes) * self.config.head_lanes
        if cluster.symbol("layout") is None:
            made = Layout(heads * head_dim, head_dim, size, 0, heads * head_dim, self.config.lanes)
            self.decide(cluster.result, made, cluster)

    def outputs(self, cluster: Cluster, linear: Linear) -> Layout:
        """What a linear puts out."""
        lanes, n = self.config.engine.lanes, linear.outputs
        block = min(linear.scheme.G, n)
        if cluster.last == "pick":
            if block < n and block % lanes:
                self.owner.fail(cluster.op, f"expected codebook blocks of whole chunks of {lanes} outputs, got "
                                            f"blocks of {block}; "
                                f"quantize the LM head with blocks of a multiple of {lanes}, or of at least "
                                f"{n}")  # fmt: skip
            return Layout(n, 1, 1, 0, block, lanes, repeat=1)
        unit, turned = heads_of(cluster)
        size = unit if unit == 1 else -(-unit // self.config.head_lanes) * self.config.head_lanes
        if block < n and block % unit:
            self.owner.fail(cluster.op, f"expected codebook blocks of whole heads of {unit} outputs, got blocks of "
                                        f"{block}; "
                            f"quantize with blocks of a multiple of {unit}, or of at least {n}")  # fmt: skip
        if block < n and unit > 1 and block // unit * size % lanes:  # a gap between two heads
            self.owner.fail(cluster.op, f"expected codebook blocks of whole chunks of {lanes} channels, got "
                                        f"{block // unit * size} "
                            f"for {block // unit} heads; quantize with other blocks, or of at least {n}")  # fmt: skip
        return Layout(n, unit, size, turned, block, lanes)

    def join_head(self) -> None:
        """What the head reads is what the programs before it left."""
        if HEAD not in self.functions:
            return
        for name, function in self.functions.items():
            if name != HEAD:
                results = list(function.entry_block.operations)[-1].operation.operands
                for argument, value in zip(self.functions[HEAD].entry_block.arguments, results, strict=False):
                    self.join(value, argument)

    def write(self, module: ir.Operation) -> None:
        names = {layout: name for name, layout in self.known.items()}
        new = []
        for cluster in self.clusters:
            layout = self._of(cluster)
            if layout not in names:
                new.append(layout)
                names[layout] = layout.name + "'" * (layout.name in self.known)
            cluster.op.attributes["layout"] = dialect.symbol(names[layout])
        for cluster in self.clusters:
            for problem in problems(cluster, self._of(cluster), lambda v: self.decided[self.root(v)][0], self.config):
                self.owner.fail(cluster.op, problem)
        with ir.InsertionPoint(self.functions[next(iter(self.functions))]), module.location:
            for layout in new:
                layout.write(names[layout])

    def _of(self, cluster: Cluster) -> Layout:
        found = self.decided.get(self.root(cluster.result))
        if found is not None:
            return found[0]
        channels = channels_of(cluster)
        layout = Layout(channels, 1, 1, 0, channels, self.config.lanes)
        self.decide(cluster.result, layout, cluster)
        return layout
