"""Levels: what may stand where, and the location of the first op that may not."""

import pytest

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.errors import IRError
from lutllm.lowering.levels import LEVELS, check_level
from lutllm.lowering.pipelines import joined, to_lut, to_scheduled, to_steps

OPS = (
    "torch.aten.linear",
    "lut.float_norm",
    "lut.quantize",
    "lut.scheme",
    "lut.linear",
    "lut.exact_row",
    "lut.cluster",
    "lut.task",
    "func.func",
    "arith.constant",
)
ALLOWED = {
    "torch": {"torch.aten.linear", "func.func"},
    "float": {"lut.float_norm", "func.func"},
    "mixed": {"torch.aten.linear", "lut.quantize", "lut.scheme", "lut.linear", "func.func"},
    "lut": {"lut.scheme", "lut.linear", "func.func"},
    "steps": {"lut.scheme", "lut.exact_row", "func.func"},
    "placed": {"lut.scheme", "lut.exact_row", "lut.cluster", "func.func"},
    "scheduled": {"lut.scheme", "lut.exact_row", "lut.cluster", "lut.task", "func.func"},
}


def module_with(op: str) -> ir.Module:
    """The op at a PyTorch location, in a function. Only its name matters, so it is not verified."""
    module = ir.Module.parse("func.func private @g()\nfunc.func @f() { return }")
    block = module.body.operations[1].regions[0].blocks[0]
    with ir.InsertionPoint.at_block_begin(block):
        location = ir.Location.name("layers.3.q_proj", ir.Location.file("model.py", 12, 5))
        ir.Operation.create(op, loc=location)
    return module


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("level", LEVELS)
def test_what_may_stand_at_each_level(level: str, op: str) -> None:
    context = dialect.context()
    context.allow_unregistered_dialects = True
    with context, ir.Location.unknown():
        module = module_with(op)
        if op in ALLOWED[level]:
            check_level(module, level)
            return
        message = f"'{op}' op may not stand at level {level}, which has {', '.join(LEVELS[level].dialects)} only"
        with pytest.raises(IRError, match=message) as raised:
            check_level(module, level)
        assert raised.value.location == "model.py:12:5"
        assert str(raised.value) == f"model.py:12:5: error: {message}"


def test_all_levels_are_tested() -> None:
    assert set(LEVELS) == set(ALLOWED)


def test_every_lut_op_has_a_level() -> None:
    """Boundary ops stand at `mixed`; the others at `float` or one of the levels of integers."""
    allowed = {op for level in LEVELS.values() for op in level.lut_ops}
    defined = {getattr(getattr(dialect, name), "OPERATION_NAME", None) for name in dir(dialect) if name.endswith("Op")}
    assert allowed == defined - {None}


def test_pipelines_are_text_for_lutllm_opt() -> None:
    steps = to_steps("built_row")
    assert steps.startswith("builtin.module(lut-outline-head,lut-decompose{row-source=built_row},")
    whole = to_scheduled("tiny", "built_row")
    assert whole.startswith(steps.removesuffix(")")) and "lut-place{target=tiny}," in whole
    assert whole.endswith(",lut-serialize,lut-verify-schedule)") and joined(steps, whole).count("builtin.module") == 1
    assert "quantization=/a/b" in to_lut("/a/b")
