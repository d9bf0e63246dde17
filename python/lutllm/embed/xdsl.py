"""`lut` in xDSL: the dialect's IRDL in, xDSL's dialect out. Needs the package `xdsl`.

xDSL's own interpreter makes it, with what of IRDL that one lacks: attributes, bases, regions, optional and variadic
parts. Counts and kinds are checked, not what the verifiers in Python do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.context import Context
from xdsl.dialects import get_all_dialects
from xdsl.dialects.builtin import Builtin, SymbolRefAttr
from xdsl.dialects.irdl import irdl
from xdsl.dialects.ml_program import GlobalOp
from xdsl.interpreter import Interpreter, PythonValues, impl, register_impls
from xdsl.interpreters.irdl import IRDLFunctions
from xdsl.ir import Attribute, Dialect, ParametrizedAttribute
from xdsl.irdl import (
    AttributeDef,
    BaseAttr,
    IRDLOperation,
    OperandDef,
    OptOperandDef,
    OptResultDef,
    ParamAttrDef,
    RegionDef,
    ResultDef,
    VarOperandDef,
    VarResultDef,
    irdl_attr_definition,
    irdl_op_definition,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.parser import AttrParser, Parser
from xdsl.printer import Printer
from xdsl.traits import IsTerminator, NoTerminator, Pure

from lutllm.bindings import ext, ir
from lutllm.dialect import Lut, irdl_text

OPERANDS = {"single": OperandDef, "optional": OptOperandDef, "variadic": VarOperandDef}
RESULTS = {"single": ResultDef, "optional": OptResultDef, "variadic": VarResultDef}


TRAITS = {ext.Pure: Pure(), ir.IsTerminatorTrait: IsTerminator(), ir.NoTerminatorTrait: NoTerminator()}


def context() -> Context:
    """A context with xDSL's dialects and `lut`; ops of others are read as they are.

    Its `ml_program` is as MLIR has it: xDSL's calls a property of loads `global_attr` and has no external values.
    """
    made = Context(allow_unregistered=True)
    own = {"lut": _dialect, "ml_program": lambda: Dialect("ml_program", [GlobalOp, LoadOp], [ExternAttr])}
    for name, dialect in (get_all_dialects() | own).items():
        made.register_dialect(name, dialect)
    return made


@irdl_op_definition
class LoadOp(IRDLOperation):
    """A constant's value."""

    name = "ml_program.global_load_const"
    symbol = prop_def(SymbolRefAttr, prop_name="global")
    result = result_def()
    traits = traits_def(Pure())


@irdl_attr_definition
class ExternAttr(ParametrizedAttribute):
    """`#ml_program.extern : TYPE`."""

    name = "ml_program.extern"
    type: Attribute

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        parser.parse_punctuation(":")
        return [parser.parse_type()]

    def print_parameters(self, printer: Printer) -> None:
        printer.print_string(" : ")
        printer.print_attribute(self.type)


def _dialect() -> Dialect:
    context = Context()
    for each in (Builtin, irdl.IRDL):
        context.load_dialect(each)
    module = Parser(context, irdl_text()).parse_module()
    functions = _Functions()
    interpreter = Interpreter(module)
    interpreter.register_implementations(functions)
    first = module.body.block.first_op
    assert first is not None
    interpreter.run_op(first, ())
    made = functions.get_dialect(interpreter, "lut")
    return Dialect("lut", list(made.operations), [*made.attributes, *functions.attributes])


@register_impls
class _Functions(IRDLFunctions):
    """xDSL's, and what they lack."""

    def __init__(self) -> None:
        self.attributes: list[type[ParametrizedAttribute]] = []

    @staticmethod
    def _set_op_def(interpreter: Interpreter, name: str, op_def: Any) -> None:
        """With the traits, which IRDL does not carry."""
        (op,) = (each for each in Lut.operations if name == each.OPERATION_NAME)
        op_def.traits = traits_def(*(TRAITS[each] for each in op._traits))
        IRDLFunctions._set_op_def(interpreter, name, op_def)

    @impl(irdl.AttributeOp)
    def run_attribute(self, interpreter: Interpreter, op: irdl.AttributeOp, args: PythonValues) -> PythonValues:
        name = op.qualified_name
        definition = ParamAttrDef(name, [])
        self._set_attr_def(interpreter, name, definition)
        interpreter.run_ssacfg_region(op.body, ())
        members = {"name": name, "get_irdl_definition": classmethod(lambda cls: definition)}
        self.attributes.append(type(op.sym_name.data, (ParametrizedAttribute,), members))
        return ()

    @impl(irdl.BaseOp)
    def run_base(self, interpreter: Interpreter, op: irdl.BaseOp, args: PythonValues) -> PythonValues:
        if op.base_ref is not None:
            return (BaseAttr(self.get_attr(interpreter, op.base_ref.string_value())),)
        assert op.base_name is not None  # IRDL: one of the two
        name = op.base_name.data[1:].removeprefix("builtin.")
        return (BaseAttr(next(each for each in Builtin.attributes if each.name == name)),)

    @impl(irdl.AttributesOp)
    def run_attributes(self, interpreter: Interpreter, op: irdl.AttributesOp, args: PythonValues) -> PythonValues:
        names = (name.data for name in op.attribute_value_names)
        self._definition(interpreter, op).attributes = {n: AttributeDef(a) for n, a in zip(names, args, strict=True)}
        return ()

    @impl(irdl.RegionOp)
    def run_region(self, interpreter: Interpreter, op: irdl.RegionOp, args: PythonValues) -> PythonValues:
        return (RegionDef(),)

    @impl(irdl.RegionsOp)
    def run_regions(self, interpreter: Interpreter, op: irdl.RegionsOp, args: PythonValues) -> PythonValues:
        self._definition(interpreter, op).regions = [(n.data, a) for n, a in zip(op.names, args, strict=True)]
        return ()

    @impl(irdl.OperandsOp)
    def run_operands(self, interpreter: Interpreter, op: irdl.OperandsOp, args: PythonValues) -> PythonValues:
        self._definition(interpreter, op).operands = _parts(op, args, OPERANDS)
        return ()

    @impl(irdl.ResultsOp)
    def run_results(self, interpreter: Interpreter, op: irdl.ResultsOp, args: PythonValues) -> PythonValues:
        self._definition(interpreter, op).results = _parts(op, args, RESULTS)
        return ()

    def _definition(self, interpreter: Interpreter, op: Any) -> Any:
        return self._get_op_def(interpreter, op.parent_op().qualified_name)


def _parts(op: Any, args: PythonValues, kinds: dict[str, Any]) -> list[tuple[str, Any]]:
    variadicity = (each.data.value for each in op.variadicity.value)
    return [(n.data, kinds[v](a)) for n, v, a in zip(op.names, variadicity, args, strict=True)]
