"""The plan as IR and back: `lut.accelerator`, `lut.plan`, `lut.buffer`, `lut.task`; the engine, regions and rounds."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.errors import IRError
from lutllm.lowering.accelerator import AcceleratorConfig
from lutllm.lowering.lut_to_accelerator import ENGINE, write_engine, write_regions_and_rounds
from lutllm.lowering.plan.check import verify_plan
from lutllm.lowering.plan.data import Buffer, Parameters, Plan, Task
from lutllm.lowering.program import Program, plain, read_program

ACCELERATOR, PLAN = "accelerator", "plan"
_READ = ("lut.accelerator", "lut.plan", "lut.buffer", "lut.task")


def write_plan(plan: Plan) -> None:
    """Build the plan's ops at the insertion point; an op carries the name of its PyTorch module as location."""
    write_engine(plan.config.engine)
    sizes = {name: value for name, value in asdict(plan.config).items() if name != "engine"}
    dialect.accelerator(ACCELERATOR, engine=ENGINE, **sizes)
    dialect.plan(PLAN, accelerator=ACCELERATOR, context=plan.context, vocabulary=plan.vocabulary, decoder=plan.decoder)
    sources = {region.source for region in plan.regions.values()} | {task.source for task in plan.tasks}
    locations = {source: ir.Location.name(source) for source in sources if source}
    write_regions_and_rounds(Program(plan.config.engine, plan.regions, tuple(plan.rounds.values())), locations)
    for buffer in plan.buffers.values():
        values = asdict(buffer)
        dialect.buffer(values.pop("name"), **values)
    for task in plan.tasks:
        with locations.get(task.source, ir.Location.unknown()):
            _write_task(task)


def _write_task(task: Task) -> None:
    p = task.parameters
    taken: dict[str, Any] = {}
    if p is not None:
        taken = {"parameters": p.region, "beats": p.beats, "offset": p.offset, "stride": p.stride}
    dialect.task(
        task.name,
        program=task.program,
        engine=task.engine,
        source=task.source,
        fields=task.fields,
        reads=task.reads,
        writes=task.writes,
        waits=dict(task.waits),
        single=task.single,
        per_token=task.per_token,
        round=task.round or None,
        **taken,
    )


def plan_module(plan: Plan) -> ir.Module:
    """A verified module with nothing but a plan, in a context of its own."""
    with dialect.context(), ir.Location.unknown():
        module = ir.Module.create()
        with ir.InsertionPoint(module.body):
            write_plan(plan)
        if not dialect.verify(module):
            raise IRError("expected a valid plan, got the diagnostics above; plan again")
    return module


def read_plan(module: ir.Module) -> Plan:
    """The plan of a module, verified. Raises `IRError` unless there is exactly one."""
    found: dict[str, list[ir.OpView]] = {name: [] for name in _READ}
    for op in module.body.operations:
        if op.operation.name in found:
            found[op.operation.name].append(op)
    for name in _READ[:2]:
        if len(found[name]) != 1:
            raise IRError(f"expected one {name} in the module, got {len(found[name])}; write a plan to it")
    program = read_program(module)
    config = AcceleratorConfig(**{**plain(found["lut.accelerator"][0], AcceleratorConfig), "engine": program.engine})
    whole = plain(found["lut.plan"][0], Plan)
    buffers = [Buffer(**plain(op, Buffer, sym_name="name")) for op in found["lut.buffer"]]
    plan = Plan(
        config=config,
        regions=program.regions,
        buffers={buffer.name: buffer for buffer in buffers},
        rounds={round_.name: round_ for round_ in program.rounds},
        tasks=tuple(_read_task(op) for op in found["lut.task"]),
        **whole,
    )
    verify_plan(plan)
    return plan


def _read_task(op: ir.OpView) -> Task:
    values = plain(op, Task, sym_name="name")
    values["waits"] = tuple(sorted(values["waits"].items()))
    values |= {flag: bool(values[flag]) for flag in ("single", "per_token")}
    if "parameters" in values:
        rest = plain(op, Parameters)
        values["parameters"] = Parameters(values["parameters"], **rest)
    assert set(values) <= {f.name for f in fields(Task)}
    return Task(**values)
