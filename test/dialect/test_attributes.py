"""Attributes to Python values and back, for any scheme and any encoding."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutllm import dialect
from lutllm.bindings import ir

CTX = dialect.context()


@given(st.integers(2, 32), st.integers(-96, 96) | st.from_regex(r"[a-z][a-z_.0-9]{0,20}", fullmatch=True))
@settings(max_examples=50, deadline=None)
def test_encoding_round_trips_through_a_type(bits: int, exponent: int | str) -> None:
    with CTX, ir.Location.unknown():
        type_ = ir.RankedTensorType.get([2, 4], ir.Type.parse("i32"), dialect.fixed(bits, exponent))
        assert dialect.fixed_of(ir.Type.parse(str(type_))) == (bits, exponent)


@pytest.mark.parametrize(
    "text", ["tensor<2xi32>", "tensor<2xi32, loc(unknown)>", "i32", "tensor<2xi32, #lut.fixed<1 : i8, 2>>"]
)
def test_no_encoding_of_ours_is_none(text: str) -> None:
    assert dialect.fixed_of(ir.Type.parse(text, CTX)) is None


def test_store_attribute() -> None:
    with CTX:
        assert str(dialect.store_attr("a.safetensors", "0" * 64)) == f'#lut.store<"a.safetensors", "{"0" * 64}">'
