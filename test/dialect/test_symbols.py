"""The walk over all symbols: one error for each wrong use, nothing for a right module; ops keep their own checks."""

import pytest

from lutllm import dialect
from lutllm.bindings import capture_diagnostics, ir
from lutllm.scheme import PAPER


def _problems(text: str, ctx: ir.Context) -> list[str]:
    module = ir.Module.parse(text, ctx)
    with capture_diagnostics(ctx) as seen:
        right = dialect.verify(module)
    assert right == (not seen)
    return [d.message for d in seen]


def test_each_use_of_a_dangling_symbol_is_reported(layers: ir.Module) -> None:
    text = str(layers)
    line = next(line for line in text.splitlines() if "ml_program.global" in line and "@q.tables(" in line)
    problems = _problems(text.replace(line, ""), layers.context)
    assert len(problems) == 1 and "@q.tables" in problems[0]
    line = next(line for line in text.splitlines() if "ml_program.global" in line and "@q.codes(" in line)
    problems = _problems(text.replace(line, ""), layers.context)
    assert len(problems) == text.count("lut.table_lookup") + 1 == 5


def test_verify_reports_ops_before_symbols(layers: ir.Module) -> None:
    op = next(op for op in dialect.lut_ops(layers) if isinstance(op, dialect.RequantizeOp))
    del op.operation.attributes["weights"]
    with capture_diagnostics(layers.context) as seen:
        assert not dialect.verify(layers)
    message = "'lut.requantize' op requires attribute 'weights' (a symbol @name): got none; add it"
    assert [d.message for d in seen if d.severity == "error"] == [message]


@pytest.mark.parametrize("name", ["q.input.exponents", "q.shifts"])
def test_symbol_table_has_module_level_symbols(layers: ir.Module, name: str) -> None:
    table = dialect.symbol_table(layers)
    assert table[name].operation.name == "ml_program.global"
    assert table["main"].operation.name == "func.func"


def test_a_symbol_inside_a_function_does_not_count(ctx: ir.Context) -> None:
    text = """
ml_program.global private @q.multiplier(#ml_program.extern : tensor<6xi32>) : tensor<6xi32>
func.func @q.bias(%a: tensor<?x6xi32>) -> tensor<?x6xi32, #lut.fixed<24, -6>> {
  %0 = "lut.requantize"(%a) {weights = @q, shift = 20}
      : (tensor<?x6xi32>) -> tensor<?x6xi32, #lut.fixed<24, -6>>
  return %0 : tensor<?x6xi32, #lut.fixed<24, -6>>
}"""
    declare = "declare it with #ml_program.extern : tensor<6xi32>"
    message = f"'lut.requantize' op expected a ml_program.global @q.bias for 'bias', got a 'func.func'; {declare}"
    assert _problems(text, ctx) == [message]


@pytest.mark.parametrize("channels", [7, 9])
def test_odd_channels_are_refused_by_the_parser_already(ctx: ir.Context, channels: int) -> None:
    x = f"tensor<?x{channels}x"
    with ctx:
        declared = ir.Module.create(ir.Location.unknown())
        scheme = dialect.declare_scheme(declared, PAPER)
    texts = (
        f'func.func @f(%x: {x}f32>) {{ "lut.quantize"(%x) : ({x}f32>) -> {x}i16, #lut.fixed<16, @e>> return }}',
        f'func.func @f(%x: {x}i16, #lut.fixed<16, 0>>) {{ "lut.linear"(%x) {{scheme = @{scheme}, '
        "weights = @w, shift = 1, codebook = @a} : "
        f"({x}i16, #lut.fixed<16, 0>>) -> tensor<?x6xi32, #lut.fixed<24, 0>> return }}\n{declared.body.operations[0]}",
    )
    for text in texts:
        with capture_diagnostics(ctx) as seen, pytest.raises(ir.MLIRError):
            ir.Module.parse(text, ctx)
        assert f"expected an even number of channels K, got {channels}" in seen[0].message
