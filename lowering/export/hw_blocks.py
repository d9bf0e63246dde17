"""A design cut at instances of some modules, so that each of these is lowered once, however often it stands there.

In: hw ops. An instance of a block becomes ports of the top module; the simulator connects them again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lutllm.errors import IRError
from lutllm.lowering.hardware.lib.circt_bindings import hw, ir, port_names

Named = list[tuple[str, ir.Type]]


@dataclass(frozen=True)
class Cut:
    """An instance of `block` at `path`, whose ports are the top module's ports `path`/port; its `clock` is the top
    module's port of that name."""

    path: str
    block: str
    clock: str


def without_bodies(module: ir.Module, blocks: Collection[str]) -> None:
    """Make modules extern, so that flattening leaves their instances."""
    for op in list(module.body.operations):
        if op.operation.name == "hw.module" and op.attributes["sym_name"].value in blocks:
            kept = {name: op.attributes[name] for name in ("sym_name", "module_type", "parameters")}
            with module.context, ir.Location.unknown(), ir.InsertionPoint(op):
                ir.Operation.create("hw.module.extern", attributes=kept, regions=1)
            op.operation.erase()


def cut(module: ir.Module, top: str) -> list[Cut]:
    """Turn the instances of extern modules in the flattened `top` into its ports; the extern modules are gone."""
    op = next(op for op in module.body.operations if op.attributes["sym_name"].value == top)
    block, found = op.regions[0].blocks[0], []
    kind = hw.ModuleType(ir.TypeAttr(op.attributes["module_type"]).value)
    inputs: Named = list(zip(kind.input_names, kind.input_types, strict=True))
    outputs: Named = list(zip(kind.output_names, kind.output_types, strict=True))
    *_, end = block.operations
    gone: list[ir.OpView] = []
    with module.context, ir.Location.unknown():
        for instance in [each for each in block.operations if each.operation.name == "hw.instance"]:
            path, clock = instance.attributes["instanceName"].value, ""
            for name, value in zip(port_names(instance), instance.operands, strict=True):
                if str(value.type) != "!seq.clock":
                    outputs.append((f"{path}/{name}", value.type))
                    continue
                if not isinstance(value.owner, ir.Block):
                    raise IRError(f"block {path!r}: expected a clock that is a port of {top!r}, got one made there")
                clock = inputs[ir.BlockArgument(value).arg_number][0]
            for name, result in zip(port_names(instance, results=True), list(instance.operation.results), strict=True):
                inputs.append((f"{path}/{name}", result.type))
                result.replace_all_uses_with(block.add_argument(result.type, ir.Location.unknown()))
            found.append(Cut(path, ir.FlatSymbolRefAttr(instance.attributes["moduleName"]).value, clock))
            gone.append(instance)
        wanted = [value for each in gone for value in each.operands if str(value.type) != "!seq.clock"]
        with ir.InsertionPoint(end):
            ir.Operation.create("hw.output", operands=[*end.operands, *wanted])
        for each in (end, *gone):
            each.operation.erase()
        ports = [f"{way} {ir.StringAttr.get(name)} : {type_}" for way, named in (("input", inputs), ("output", outputs))
                 for name, type_ in named]  # fmt: skip
        for name in ("result_locs", "port_locs", "per_port_attrs"):
            if name in op.attributes:
                del op.attributes[name]
        op.attributes["module_type"] = ir.TypeAttr.get(ir.Type.parse(f"!hw.modty<{', '.join(ports)}>"))
    for other in [other for other in module.body.operations if other.operation.name == "hw.module.extern"]:
        other.operation.erase()
    return found
