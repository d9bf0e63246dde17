"""The README says what the definitions say: it is fresh, its examples parse, its types are those the verifiers want."""

import re
from pathlib import Path

import pytest

from lutllm import dialect
from lutllm.bindings import capture_diagnostics, ext, ir
from lutllm.dialect import documentation
from lutllm.tools import gen_docs

OPS = dialect.Lut.operations


@pytest.fixture(params=OPS, ids=lambda op: op.OPERATION_NAME)
def op_class(request: pytest.FixtureRequest) -> type[dialect.LutOp]:
    return request.param


def _example(op_class: type[dialect.LutOp], ctx: ir.Context) -> str:
    with ctx:
        return documentation.example_aliases() + "\n" + op_class.EXAMPLE


def test_pages_are_fresh() -> None:
    assert gen_docs.main(["--check"]) == 0


@pytest.mark.parametrize("page", gen_docs.PAGES)
def test_a_stale_page_is_noticed(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gen_docs, "PAGES", {page: gen_docs.PAGES[page]})
    options = ["--root", str(tmp_path)]
    assert gen_docs.main(["--check", *options]) == 1
    assert gen_docs.main(options) == 0
    assert gen_docs.main(["--check", *options]) == 0
    path = tmp_path / page
    path.write_text(path.read_text() + "more\n")
    capsys.readouterr()
    assert gen_docs.main(["--check", *options]) == 1
    assert "run python -m lutllm.tools.gen_docs" in capsys.readouterr().out


def test_example_parses_and_uses_the_op(op_class: type[dialect.LutOp], ctx: ir.Context) -> None:
    module = ir.Module.parse(_example(op_class, ctx), ctx)
    used = {type(op)._op_name for op in dialect.lut_ops(module)}
    others = {"rms_norm", "rescale", *gen_docs.ACCELERATOR} if op_class._op_name in gen_docs.ACCELERATOR else set()
    assert {op_class._op_name, "scheme"} <= used <= {op_class._op_name, "scheme"} | others


def test_readme_has_every_op_with_its_definition(op_class: type[dialect.LutOp]) -> None:
    text = (gen_docs.ROOT / "dialect" / "README.md").read_text()
    assert f"### `{op_class.OPERATION_NAME}`\n" in text
    assert op_class.DEFINITION.strip() and op_class.DEFINITION.strip() in text
    for name in (*op_class.required(), *op_class.OPTIONAL):
        assert f"| `{name}` |" in text


def test_notes_are_on_attributes_the_op_has(op_class: type[dialect.LutOp]) -> None:
    assert set(op_class.NOTES) <= {*op_class.required(), *op_class.OPTIONAL}


def test_every_value_has_a_type(op_class: type[dialect.LutOp]) -> None:
    values = [*op_class.declared(ext.OperandDef), *op_class.declared(ext.ResultDef)]
    assert set(op_class.TYPES) == {value.name for value in values}


VALUES = [(op, name) for op in OPS for name, text in op.TYPES.items() if text.startswith("tensor")]


@pytest.mark.parametrize(("op_class", "name"), VALUES, ids=[f"{op._op_name}-{name}" for op, name in VALUES])
def test_verifier_asks_for_the_documented_type(op_class: type[dialect.LutOp], name: str, ctx: ir.Context) -> None:
    """Give one value of the example another type; the message must ask for the documented one."""
    module = ir.Module.parse(_example(op_class, ctx), ctx)
    op = dialect.lut_ops(module)[-1]
    operands = [value.name for value in op_class.declared(ext.OperandDef)]
    with ctx, op.location, ir.InsertionPoint(op), capture_diagnostics(ctx) as seen:
        wrong = ir.Type.parse("tensor<*xi1>")
        stand_in = ir.Operation.create("builtin.unrealized_conversion_cast", results=[wrong]).result
        values = [stand_in if n == name else v for n, v in zip(operands, op.operation.operands, strict=True)]
        types = [wrong] if name not in operands else [r.type for r in op.operation.results]
        attributes = {a: op.attributes[a] for a in (*op.required(), *op.OPTIONAL) if a in op.attributes}
        changed = ir.Operation.create(op_class.OPERATION_NAME, types, values, attributes)
        with pytest.raises(ir.MLIRError):
            changed.verify()
    assert f"expected {name} to be {op_class.TYPES[name]}, got tensor<*xi1>" in seen[0].message


def test_scheme_fields_are_all_described() -> None:
    described = set(re.findall(r"^\| `(\w+)` \|", gen_docs._scheme_table(), re.M))
    assert described == {"sym_name", *documentation.EXAMPLE_SCHEMES["vq"].to_dict()}
