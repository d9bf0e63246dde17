"""A module of the placed or scheduled level in, plain data out: `Plan`. What tasks do is worked out here, from the
IR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from lutllm import dialect
from lutllm.bindings import ir, source_position
from lutllm.dialect.base import elements, read
from lutllm.dialect.symbols import ARGUMENT_REGION
from lutllm.errors import CapacityError, IRError
from lutllm.lowering.machine.accelerator import PARAMETERIZED
from lutllm.lowering.machine.form import read_machine
from lutllm.lowering.place.buffers import Buffer
from lutllm.lowering.place.clusters import Cluster, clusters_of, home, is_aside, memory_of
from lutllm.lowering.place.form import placed_functions
from lutllm.lowering.place.layouts import Layout
from lutllm.lowering.place.modes import mode_problem
from lutllm.lowering.place.patterns import NORM_ADD, OUTSIDE
from lutllm.lowering.place.rounds import Round, round_of
from lutllm.lowering.place.space import Region
from lutllm.lowering.schedule import fields as fields_of
from lutllm.lowering.schedule.data import Parameters, Plan, Task, Work
from lutllm.lowering.schedule.fields import Places
from lutllm.lowering.schedule.waits import pending_of
from lutllm.passes.lut_outline_head import HEAD

_SUFFIX = {"linear": "linear", "feed": "feed", "store": "store", "residual": "add", "swiglu": "swiglu", "pick": "pick",
           "save": "save"}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A task to be: the cluster, the engine, which of its rounds. Without a cluster it loads RoPE's rows, of `words`
    words a head, from `parameters`."""

    cluster: Cluster | None
    engine: str
    round: int | None = None
    parameters: str = ""
    words: int = 0


class Reader:
    """Reads one module."""

    def __init__(self, module: ir.Operation) -> None:
        self.machine = read_machine(module)
        self.config = self.machine.config
        self.body = list(module.regions[0].blocks[0].operations)
        self.functions = placed_functions(module)
        self.layouts = {op.sym_name.value: Layout.of(op) for op in self._ops(dialect.LayoutOp)}
        self.buffers = {
            op.sym_name.value: Buffer(
                op.memory.value, *(int(op.attributes[k].value) for k in ("base", "words", "size"))
            )
            for op in self._ops(dialect.BufferOp)
        }
        self.regions = {
            op.sym_name.value: Region(
                op.sym_name.value, op.kind.value, int(op.address.value), int(op.attributes["bytes"].value)
            )
            for op in self._ops(dialect.RegionOp)
        }
        self.region_ops = {op.sym_name.value: op for op in self._ops(dialect.RegionOp)}
        self.round_ops = {op.sym_name.value: op for op in self._ops(dialect.RoundOp)}

    def _ops(self, kind: type) -> list[Any]:
        return [op for op in self.body if isinstance(op, kind)]

    def places(self, function: Any) -> Places:
        """Where everything lies, as one function has it."""
        found = {}
        arguments = read(function.attributes, "arg_attrs")
        for i, entry in enumerate(elements(arguments) if arguments is not None else ()):
            if ARGUMENT_REGION in entry:
                found[i] = entry[ARGUMENT_REGION].value
        return Places(self.config, self.layouts, self.buffers, self.regions, found)

    def round(self, cluster: Cluster, name: str) -> Round:
        """What a round of a cluster is. `IRError` where it is not in the module, or not a range of blocks."""
        linear = cluster.linear
        assert linear is not None
        layouts = cluster.fed.named("layout", self.layouts), cluster.named("layout", self.layouts)
        if name not in self.round_ops:
            raise cluster.missing("round")
        try:
            return round_of(self.round_ops[name], linear, *layouts, self.config.engine)
        except CapacityError as problem:
            raise dialect.fault(self.round_ops[name], problem.message) from None

    def task(self, program: str, places: Places, run: Run) -> Task:
        """What a run of an engine does; it waits for nothing yet."""
        cluster = run.cluster
        if cluster is None:
            return self._rotations(program, run)
        if (problem := mode_problem(cluster, self.config)) is not None:
            raise CapacityError(problem)
        if run.round is not None:
            return self._of_round(program, places, cluster, run)
        name = f"{program}.{cluster.label}"
        reads, writes = self._touched(places, cluster)
        if cluster.engines == NORM_ADD and run.engine == "residual":
            reads = {buffer: label for buffer, label in reads.items() if self.buffers[buffer].memory == "r"}
            return Task(f"{name}.add", program, run.engine, cluster.label, cluster.source,
                        fields_of.normed(places, cluster), tuple(reads), writes, values=reads,
                        location=source_position(cluster.op.location))  # fmt: skip
        if cluster.engines == NORM_ADD:
            reads, writes = {b: label for b, label in reads.items() if self.buffers[b].memory == "y"}, ()
        if cluster.find("lut.embedding") is not None:
            loads = run.engine == "residual"
            values = (fields_of.embedded if loads else fields_of.embed)(places, cluster)
            reads, writes = (reads, writes) if loads else ({}, ())
            return Task(f"{name}.load" if loads else name, program, run.engine, cluster.label, cluster.source, values,
                        tuple(reads), writes, values=reads, location=source_position(cluster.op.location))  # fmt: skip
        values = fields_of.ALONE[run.engine](places, cluster)
        source = cluster.label.removesuffix(".heads") if run.engine == "heads" else cluster.source
        parameters = None
        if run.engine in PARAMETERIZED:
            found = cluster.named("parameters", places.regions)
            parameters = Parameters(found.name, found.size * 8 // self.config.p_bits)
        return Task(
            name, program, run.engine, cluster.label, source, values, tuple(reads), writes, values=reads,
            parameters=parameters, rotations=cluster.symbol("region") or "" if run.engine == "heads" else "",
            single=program == HEAD and run.engine != "norm",  # which needs to know where the last token is
            location=source_position(cluster.op.location),
            in_order=min(values.get("items", 1), self.config.attention_units) == 1,  # units are a kv head apart
        )  # fmt: skip

    def _rotations(self, program: str, run: Run) -> Task:
        values, beat = fields_of.rotations(self.config, run.words), self.config.p_bits // 8
        parameters = Parameters(run.parameters, run.words, stride=run.words * beat)
        return Task(f"{program}.rotations", program, "heads", "", "", values, per_token=True, parameters=parameters)

    def _touched(self, places: Places, cluster: Cluster) -> tuple[dict[str, str], tuple[str, ...]]:
        """(reads, writes): the buffers and caches of what a cluster takes from outside, each with the label of the
        cluster whose result it must hold, and those of its own result."""
        reads: dict[str, str] = {}
        inside = {result for op in cluster.ops for result in op.operation.results}
        for value in (v for op in cluster.ops for v in op.operation.operands if v not in inside):
            if isinstance(value.owner, ir.Block):
                if home(value) == "r":
                    reads[self._stream(places, cluster)] = OUTSIDE
                continue
            maker = Cluster(value.owner.opview)
            if maker.cache is not None:
                reads[places.cache(maker)] = maker.label
            else:
                maker.named("buffer", self.buffers)
                reads[maker.symbol("buffer") or ""] = maker.label
        if cluster.cache is not None:
            return reads, (places.cache(cluster),)
        if memory_of(cluster) is None:
            return reads, ()
        cluster.named("buffer", self.buffers)
        return reads, (cluster.symbol("buffer") or "",)

    def _stream(self, places: Places, cluster: Cluster) -> str:
        """The buffer of the residual stream that a function finds when it starts."""
        words = places.words(cluster)
        found = [name for name, buffer in self.buffers.items() if (buffer.memory, buffer.words) == ("r", words)]
        if not found:
            raise CapacityError(
                f"{cluster.label}: expected a buffer of {words} words in memory r, got none; run lut-allocate"
            )
        return found[0]

    def _of_round(self, program: str, places: Places, cluster: Cluster, run: Run) -> Task:
        assert run.round is not None and cluster.linear is not None
        round_ = self.round(cluster, cluster.rounds[run.round])
        single, source = program == HEAD, cluster.linear.name
        name = f"{program}.{round_.name}.{_SUFFIX[run.engine]}"
        reads, writes = self._touched(places, cluster)
        fed, parameters = cluster.fed.symbol("buffer") or "", None
        if run.engine == "linear":
            values = fields_of.linear(round_)
            reads, writes = {}, ()
        elif run.engine == "feed":
            values = fields_of.feed(places, cluster, round_)
            reads, writes = {fed: reads[fed]}, ()
        else:
            values = fields_of.SINKS[run.engine](places, cluster, round_)
            reads = {buffer: label for buffer, label in reads.items() if buffer != fed}
            if run.engine == "swiglu":
                source = cluster.source
                region = cluster.named("parameters", places.regions)
                parameters = Parameters(region.name, values["words"], offset=values["start"] * self.config.p_bits // 8)
        return Task(
            name,
            program,
            run.engine,
            cluster.label,
            source,
            values,
            tuple(reads) or (writes if run.engine == "residual" and not is_aside(cluster) else ()),
            writes,
            single=single,
            values=reads,
            parameters=parameters,
            round=round_.name,
            location=source_position(cluster.op.location),
        )

    def runs(self, function: Any) -> Iterator[tuple[Run, dialect.TaskOp]]:
        """The tasks of a function as they stand in it."""
        for op in function.entry_block.operations:
            if isinstance(op, dialect.TaskOp):
                yield self._run(op), op

    def _run(self, op: Any) -> Run:
        owner, index = op.operation.operands[0].owner, op.optional("round")
        if isinstance(owner, ir.Block):
            region = op.optional("parameters")
            if op.engine.value != "heads" or region is None:
                raise _wrong(
                    op, "a task of a cluster, or of engine heads with the parameters of RoPE", "another", "change it"
                )
            words = self.rotation_words(self._turned(op, region.value))
            return Run(None, "heads", parameters=region.value, words=words)
        if not isinstance(owner.opview, dialect.ClusterOp):
            raise _wrong(
                op, "the result of a lut.cluster", f"that of '{owner.operation.name}'", "change its first operand"
            )
        cluster = Cluster(owner.opview)
        if op.engine.value not in cluster.engines:
            raise _wrong(op, f"an engine of its cluster, {', '.join(cluster.engines)}", op.engine.value, "change it")
        count = len(cluster.rounds)
        if cluster.linear is not None and (index is None or int(index.value) >= count):
            got = "none" if index is None else int(index.value)
            raise _wrong(op, f"a round in 0..{count - 1}, as its cluster has", got, "change it")
        return Run(cluster, op.engine.value, None if cluster.linear is None else int(index.value))

    def rotation_words(self, cluster: Cluster) -> int:
        """Vector words of a head that RoPE turns."""
        return cluster.named("layout", self.layouts).unit_size // self.config.lanes

    def _turned(self, op: Any, region: str) -> Cluster:
        """A cluster that RoPE turns by the rows that a task loads."""
        for cluster in clusters_of(op.operation.parent.opview):
            if cluster.last == "heads" and cluster.symbol("region") == region:
                return cluster
        raise _wrong(op, f"a cluster on engine heads with region @{region}", "none", "remove the task")

    def tasks(self, program: str) -> Iterator[Task]:
        """The tasks of a function with what they wait for."""
        function = self.functions[program]
        places, dispatched = self.places(function), Counter[str]()
        numbers: dict[ir.Value, tuple[str, int]] = {}
        names = Counter[str]()
        for run, op in self.runs(function):
            try:
                task = self.task(program, places, run)
            except CapacityError as problem:
                raise dialect.fault(op, problem.message) from None
            waits: dict[str, int] = {}
            for token in list(op.operation.operands)[1:]:
                engine, number = numbers[token]
                waits[engine] = min(waits.get(engine, dispatched[engine]), pending_of(dispatched[engine], number))
            numbers[op.done] = task.engine, dispatched[task.engine]
            dispatched[task.engine] += 1
            names[task.name] += 1
            name = task.name if names[task.name] == 1 else f"{task.name}#{names[task.name]}"
            yield replace(task, name=name, waits=tuple(sorted(waits.items())), location=source_position(op.location))


def _wrong(op: Any, expected: object, got: object, do: str) -> IRError:
    return dialect.fault(op, f"expected {expected}, got {got}; {do}")


def read_plan(module: ir.Module | ir.Operation) -> Plan:
    """Everything a module says of its machine, places and tasks. Raises `IRError` where something is missing."""
    reader = Reader(module.operation)
    clusters = {name: clusters_of(function) for name, function in reader.functions.items()}
    every = [cluster for found in clusters.values() for cluster in found]
    contexts = {int(c.cache.type.shape[0]) for c in every if c.cache is not None}
    embeddings = [op for c in every if (op := c.find("lut.embedding")) is not None and op.position is None]
    if len(contexts) > 1:
        raise IRError(f"expected KV caches of one length, got {', '.join(map(str, sorted(contexts)))}; use one context")
    rounds = {name: reader.round(c, name) for c in every for name in c.rounds}
    works = {(program, c.label): _work(reader, c) for program, found in clusters.items() for c in found}
    return Plan(
        config=reader.config,
        latency=reader.machine.latency,
        context=contexts.pop() if contexts else reader.config.context,
        vocabulary=max((int(op.vocabulary.value) for op in embeddings), default=1),
        regions=reader.regions,
        buffers=reader.buffers,
        rounds=rounds,
        tasks=tuple(task for program in reader.functions for task in reader.tasks(program)),
        works=works,
        programs=tuple(reader.functions),
    )


def _work(reader: Reader, cluster: Cluster) -> Work:
    ops = tuple(op.operation.name for op in cluster.ops)
    layout = cluster.named("layout", reader.layouts)
    return Work(cluster.label, ops, cluster.source, layout, cluster.engines)
