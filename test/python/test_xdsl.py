"""xDSL reads every valid module of the tests, checks it by the dialect's IRDL, and writes it as it was."""

import contextlib
import io
import re
from pathlib import Path

import pytest

pytest.importorskip("xdsl", reason="xdsl is not installed; pip install xdsl==0.75.0, or test/bench/hosts.py xdsl")
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from lutllm import dialect
from lutllm.bindings import capture_diagnostics, ir, load_torch_dialects
from lutllm.dialect import documentation
from lutllm.embed import xdsl

TEST = Path(__file__).parents[1]


def parsed(text: str) -> ir.Module:
    context = dialect.context()
    load_torch_dialects(context)
    context.allow_unregistered_dialects = True
    return ir.Module.parse(text, context)


def generic(module: ir.Module) -> str:
    return module.operation.get_asm(print_generic_op_form=True)


def modules() -> dict[str, str]:
    """Each op's example, and each part of each lit test that is valid and has lut ops, in generic form."""
    parts = {}
    with dialect.context():
        for op in dialect.Lut.operations:
            parts[op.OPERATION_NAME] = f"{documentation.example_aliases()}\n{op.EXAMPLE}"
    for path in sorted(TEST.rglob("*.mlir")):
        for i, part in enumerate(path.read_text().split("// -----\n")):
            if '"lut.' in part and "expected-" not in part:
                parts[f"{path.relative_to(TEST)}:{i}"] = part
    found = {}
    for name, part in parts.items():
        context = dialect.context()
        load_torch_dialects(context)
        with capture_diagnostics(context), contextlib.suppress(ir.MLIRError):
            found[name] = generic(ir.Module.parse(part, context))
    return found


MODULES = modules()


def test_there_are_modules_of_every_kind() -> None:
    text = "\n".join(MODULES.values())
    ops = {op.OPERATION_NAME for op in dialect.Lut.operations}
    assert {name for name in ops if f'"{name}"' in text} == ops
    assert len(MODULES) > 90


@pytest.mark.parametrize("name", MODULES)
def test_every_module_is_read_and_written(name: str) -> None:
    module = Parser(xdsl.context(), MODULES[name]).parse_module()
    module.verify()
    assert {op.name for op in module.walk() if op.name.startswith("lut.")} == set(
        re.findall(r'"(lut\.\w+)"', MODULES[name])
    )
    written = io.StringIO()
    Printer(written, print_generic_format=True).print_op(module)
    assert generic(parsed(written.getvalue())) == MODULES[name]


WRONG = [
    ("weights = @q", "weights = 3 : i64", "3 : i64 should be of base attribute symbol_ref"),
    ("shift = 20 : i64, ", "", "attribute 'shift' expected in operation 'lut.linear'"),
    ('"lut.linear"(%arg0) {', '"lut.linear"() {', "Expected 1 operand"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG)
def test_refuses_what_is_wrong(old: str, new: str, message: str) -> None:
    text = MODULES["lut.linear"]
    assert old in text
    if "operand" in message:
        text = re.sub(r"} : \(tensor<[^)]*\) ->", "} : () ->", text)
    module = Parser(xdsl.context(), text.replace(old, new)).parse_module()
    with pytest.raises(VerifyException, match=message):
        module.verify()
