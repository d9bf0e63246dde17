"""Schemes in a module: declared once under a name of their own, read back whole from the op that names them."""

from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutllm import dialect
from lutllm.bindings import ext, ir
from lutllm.errors import IRError
from lutllm.scheme import METRICS, NAMED_SCHEMES, PAPER, Scheme

CTX = dialect.context()

schemes = st.builds(
    Scheme,
    c_a=st.integers(1, 1024),
    c_w=st.integers(2, 16),
    G=st.integers(1, 4096),
    R=st.integers(1, 8),
    S=st.integers(1, 4),
    metric=st.sampled_from(METRICS),
    act_bits=st.integers(2, 16),
    table_bits=st.integers(2, 24),
) | st.builds(Scheme, kind=st.just("exact"), c_a=st.just(0), S=st.just(0), R=st.integers(1, 8))

LOOKUP = """
func.func @f(%a: tensor<?x4x2x2x16xi32>) {
  %0 = "lut.table_lookup"(%a) {scheme = @s, weights = @q} : (tensor<?x4x2x2x16xi32>) -> tensor<?x4x6xi32>
  return
}"""


def empty() -> ir.Module:
    return ir.Module.create(ir.Location.unknown(CTX))


@given(st.lists(schemes, min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_schemes_round_trip_through_text(found: list[Scheme]) -> None:
    module = empty()
    names = {dialect.declare_scheme(module, scheme): scheme for scheme in found}
    assert len(names) == len(set(found))
    assert [dialect.declare_scheme(module, scheme) for scheme in names.values()] == list(names)
    again = ir.Module.parse(str(module), CTX)
    assert dialect.schemes(again.operation) == names


@pytest.mark.parametrize(("name", "short"), [("paper", "vq64x1"), ("additive", "vq16x2"), ("exact", "exact2")])
def test_names_are_short(name: str, short: str) -> None:
    module = empty()
    assert dialect.declare_scheme(module, NAMED_SCHEMES[name]) == short
    assert dialect.declare_scheme(module, NAMED_SCHEMES[name].with_(G=64)) == f"{short}_2"


def test_a_name_in_use_is_not_taken() -> None:
    module = ir.Module.parse("func.func private @vq64x1()", CTX)
    assert dialect.declare_scheme(module, PAPER) == "vq64x1_2"
    assert dialect.declare_scheme(module, PAPER, "mine") == "mine"
    with pytest.raises(IRError, match=r"@mine: expected Scheme.* as declared before, got Scheme.*; use another name"):
        dialect.declare_scheme(module, PAPER.with_(R=2), "mine")


def test_schemes_stand_before_globals_and_functions() -> None:
    module = ir.Module.parse("func.func private @f()", CTX)
    dialect.declare(module, "q.a", (2,), "int8")
    for scheme in NAMED_SCHEMES.values():
        dialect.declare_scheme(module, scheme)
    dialect.declare(module, "q.b", (2,), "int8")
    names = [op.operation.attributes["sym_name"].value for op in module.body]
    assert names == ["vq64x1", "vq16x2", "exact2", "q.a", "q.b", "f"]


def test_scheme_of_reads_the_op_in_its_own_module() -> None:
    module = empty()
    scheme = PAPER.with_(c_a=16, G=4, R=2)
    dialect.declare_scheme(module, scheme, "s")
    module = ir.Module.parse(f"{LOOKUP}\n{module.body.operations[0]}", CTX)
    op = dialect.lut_ops(module)[0]
    assert dialect.scheme_of(op) == scheme
    module.body.operations[1].erase()
    with pytest.raises(IRError, match=r"'lut.table_lookup' op expected a 'lut.scheme' named @s for 'scheme', got none"):
        dialect.scheme_of(op)


def test_the_op_has_the_fields_of_a_scheme() -> None:
    declared = [f.name for f in dialect.SchemeOp._fields if isinstance(f, ext.AttributeDef)]
    assert declared == ["sym_name", *(f.name for f in fields(Scheme))]
