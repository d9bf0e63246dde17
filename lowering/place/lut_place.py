"""`lut-place`: functions of steps in; clusters of ops on the engines of a machine, and that machine, out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from lutllm import dialect
from lutllm.bindings import func, ir, module_path
from lutllm.dialect.linears.schemes import after
from lutllm.dialect.machines import builders as build
from lutllm.dialect.machines.limits import MODES
from lutllm.errors import CapacityError
from lutllm.functions import SHARES
from lutllm.lowering.machine.accelerator import ENGINES, AcceleratorConfig
from lutllm.lowering.machine.choice import engine_for
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.lowering.machine.form import Machine, machine_op, read_machine, write_machine
from lutllm.lowering.machine.targets import find_target
from lutllm.lowering.place.clusters import Cluster, Linear, heads_of, is_fixed
from lutllm.lowering.place.form import check_program, placed_functions
from lutllm.lowering.place.modes import mode_problem, modes_of
from lutllm.lowering.place.patterns import LINEAR, Match, matches, ops_of, sliced, users
from lutllm.passes import Pass
from lutllm.passes.walk import ops_in

INPUT_BITS = 16


@dataclass(frozen=True)
class LutPlace(Pass):
    """Put every op of a function into a cluster, on a chain of engines that can compute it.

    `target` names the machine, which is made with the engines and widths that the functions need; a lut.machine that
    stands in the module already is taken as it is. What no engine can compute is an error at the op.
    """

    name: ClassVar[str] = "lut-place"
    anchor: ClassVar[str | None] = "builtin.module"
    target: str = "small"

    def __post_init__(self) -> None:
        find_target(self.target)

    def run(self, op: ir.Operation) -> None:
        functions = [child for child in op.regions[0].blocks[0] if isinstance(child, func.FuncOp)]
        if not functions:
            self.fail(op, "expected functions to place, got none; extract linears, or convert a model")
        for function in functions:
            check_program(function)
            _Placement(self, function).run()
        placed_functions(op)
        if machine_op(op) is None:
            try:
                machine = self._machine(op)
            except CapacityError as problem:
                self.fail(op, problem.message)
            with after(op.regions[0].blocks[0], "lut.scheme"), op.location:
                write_machine(machine)
        self._check_engines(op)

    def _machine(self, op: ir.Operation) -> Machine:
        """The target with what the clusters need. Attention keeps a score for each token of a pass and each position: a
        pass has as many tokens as there is room for in a long context."""
        target = find_target(self.target)
        schemes = dict.fromkeys(dialect.scheme_of(lookup) for lookup in ops_in(op, dialect.TableLookupOp))
        clusters = [Cluster(cluster) for cluster in ops_in(op, dialect.ClusterOp)]
        used = {engine for cluster in clusters for engine in cluster.engines}
        biased = any("unbiased" not in end.attributes for end in ops_in(op, dialect.RequantizeOp))
        engine = engine_for(list(schemes), target.engine, biased=biased)
        attentions = ops_in(op, dialect.AttentionOp)
        context = min((int(a.keys.type.shape[0]) for a in attentions), default=target.accelerator.context)
        groups = [int(a.heads.value) // int(a.kv_heads.value) for a in attentions]
        sizes = [int(a.query.type.shape[-1]) // int(a.heads.value) for a in attentions]
        around, kv_heads = target.accelerator, [int(a.kv_heads.value) for a in attentions]
        scores = -(-context // around.attention_rows) * around.attention_rows
        head_lanes, most = around.head_lanes, around.score_words // scores if attentions else engine.tokens
        if not most:
            raise CapacityError(
                f"expected a context of at most {around.score_words} tokens, as many as the target keeps scores of, "
                f"got {context}; shorten it, or enlarge score_words of the target"
            )
        engine = replace(engine, tokens=min(engine.tokens, most))
        beats = max((-(-size // head_lanes) for size in sizes), default=1)
        at_once = min(max(engine.tokens, *groups, 1), most)
        words = [_block_words(c, c.linear, engine, head_lanes) for c in clusters if c.linear is not None]
        modes = {mode for cluster in clusters for mode in modes_of(cluster)}
        modes -= {"silu"} if modes & SHARES.keys() == {"silu"} else set()  # which is there where none is named
        config = AcceleratorConfig(
            engine=replace(engine, acc_words=max(engine.acc_words, *words)),
            engines=tuple(name for name in ENGINES if name in used),
            head_lanes=head_lanes,
            attention_units=max(n for n in range(1, around.attention_units + 1) if not any(k % n for k in kv_heads)),
            attention_ways=max(n for n in range(1, around.attention_ways + 1) if not any(g % n for g in groups)),
            attention_rows=around.attention_rows,
            attention_ports=around.attention_ports,
            kv_bits=around.kv_bits,
            context=context,
            score_words=at_once * scores,
            item_words=at_once * beats,
            head_words=beats * head_lanes // engine.requant_lanes,
            depths={},
            clocks=target.clock.crossing,
            modes=tuple(mode for mode in MODES if mode in modes),
        )
        return Machine(config, target.memory.latency, target.memory.bytes)

    def _check_engines(self, op: ir.Operation) -> None:
        config = read_machine(op).config
        for cluster in map(Cluster, ops_in(op, dialect.ClusterOp)):
            for engine in cluster.engines:
                if engine not in config.engines:
                    wanted = f"a machine with engine '{engine}'"
                    self.fail(
                        cluster.op, f"expected {wanted}, got {', '.join(config.engines)}; add it to the lut.machine"
                    )
            if (problem := mode_problem(cluster, config)) is not None:
                self.fail(cluster.op, problem)


def _block_words(cluster: Cluster, linear: Linear, engine: EngineConfig, head_lanes: int) -> int:
    """Words of sums of one codebook block of a linear, for all tokens of a pass, heads padded to whole words of
    attention; of an LM head for one token."""
    (unit, _), block = heads_of(cluster), min(linear.scheme.G, linear.outputs)
    places = block // unit * -(-unit // head_lanes) * head_lanes if unit > 1 else block
    return -(-places // engine.lanes) * (1 if linear.x.type.shape[0] == 1 else engine.tokens)


class _Placement:
    """Rewrites one function."""

    def __init__(self, owner: LutPlace, function: Any) -> None:
        self.owner, self.function, self.block = owner, function, function.entry_block
        self.values: dict[ir.Value, ir.Value] = {}
        self.labels: dict[ir.Value, str] = {}

    def run(self) -> None:
        self._part_linears()
        old = [op.operation for op in self.block.operations]
        found = list(matches(self.block))
        self._check_covered(old, found)
        for argument in self.block.arguments:
            self._argument(argument)
        for match in found:
            self._cluster(match)
        for i, value in enumerate(old[-1].operands):
            old[-1].operands[i] = self.values.get(value, value)
        for op in reversed(old[:-1]):
            op.erase()

    def _part_linears(self) -> None:
        """A linear of which others take slices becomes one for each slice."""
        for end in [op.operation for op in self.block.operations if op.operation.name == "lut.requantize"]:
            whole, parts = ops_of(end, LINEAR), sliced(end)
            if whole is None or users(end.result) == parts[:1]:
                continue
            for part in parts:
                made = {}
                with ir.InsertionPoint(part):
                    for op in whole:
                        made[op.result] = op.clone().result
                for new in made.values():
                    for i, value in enumerate(new.owner.operands):
                        new.owner.operands[i] = made.get(value, value)
                part.operands[0] = made[end.result]
            if not users(end.result):
                for op in reversed(whole):
                    if not users(op.result):
                        op.erase()

    def _check_covered(self, old: list[ir.Operation], found: list[Match]) -> None:
        covered = {op for match in found for op in match.ops}
        for op in old[:-1]:
            if op.name == "lut.linear":
                self.owner.fail(op, "expected decomposed linears, got lut.linear; run lut-decompose first")
            if op not in covered:
                self.owner.fail(op, "expected an op that an engine computes where it stands, got none that does; "
                                "docs/accelerator.md lists what each engine can do")  # fmt: skip

    def _argument(self, argument: ir.BlockArgument) -> None:
        """Inputs of linears are loaded; what is wider is the residual stream of the program before."""
        if not is_fixed(argument):
            return
        if {user.name for user in users(argument)} & {"lut.append", "lut.attention"}:
            return
        if str(argument.type.element_type) != f"i{INPUT_BITS}":
            return
        with ir.InsertionPoint.at_block_terminator(self.block), argument.location:
            label = self._label(module_path(argument.location) or f"input{argument.arg_number}")
            with build.cluster(label, ["load"], argument.type) as op:
                build.yield_(argument)
        self._keep(argument, op.operation.result, label)

    def _cluster(self, match: Match) -> None:
        root, inner = match.root, dict(self.values)
        with ir.InsertionPoint.at_block_terminator(self.block), root.location:
            label = self._label(self._name(match))
            with build.cluster(label, match.engines, root.result.type) as op:
                for old in match.ops:
                    new = old.clone()
                    for i, value in enumerate(old.operands):
                        new.operands[i] = inner.get(value, value)
                    inner[old.result] = new.result
                build.yield_(inner[root.result])
        self._keep(root.result, op.operation.result, label)

    def _keep(self, old: ir.Value, new: ir.Value, label: str) -> None:
        self.values[old], self.labels[new] = new, label

    def _name(self, match: Match) -> str:
        """The module path of a linear where there is one; of heads that of the linear they read."""
        if match.engines == ("heads",):
            before = self.labels.get(self.values.get(match.ops[0].operands[0], match.ops[0].operands[0]))
            if before:
                return f"{before}.heads"
        if len(match.engines) == 3:
            lookup: Any = next(op for op in match.ops if op.name == "lut.table_lookup")
            return module_path(match.ops[0].location) or lookup.attributes["weights"].value
        return module_path(match.root.location) or match.root.name.removeprefix("lut.")

    def _label(self, base: str) -> str:
        label, number, known = base, 1, set(self.labels.values())
        while label in known:
            number += 1
            label = f"{base}#{number}"
        return label
