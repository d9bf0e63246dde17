"""Physical layouts: a linear relaid computes the same integers elsewhere, and blocks that do not allow it are named."""

import re
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from lutllm import interpreter
from lutllm.decoder import Decoder
from lutllm.errors import CapacityError
from lutllm.lowering.decoder_spec import DecoderSpec
from lutllm.lowering.layout.channels import (
    PAD,
    Layout,
    check_pairs,
    heads_layout,
    logits_layout,
    one_head,
    outputs_layout,
    relaid,
)
from lutllm.lowering.layout.decoder import layout_decoder
from lutllm.lowering.plan.decoder import config_for
from lutllm.lowering.targets import TARGETS
from lutllm.quantize.random import random_linear
from lutllm.quantize.random_decoder import decoder_like, random_decoder
from lutllm.scheme import EXACT, QuantizedLinear, Scheme

VQ = Scheme(c_a=8, R=2)
SCHEMES = st.sampled_from([EXACT.with_(R=1), VQ])


def refused(message: str) -> AbstractContextManager:
    return pytest.raises(CapacityError, match=re.escape(f"error: {message}"))


def run(linear: QuantizedLinear, x: np.ndarray) -> np.ndarray:
    """The interpreter's outputs; it has no multipliers of 0, which padding has."""
    padding = (linear.multiplier == 0) & (linear.bias == 0)
    y = interpreter.linear(replace(linear, multiplier=np.maximum(linear.multiplier, 1)), x)
    return np.where(padding, 0, y)


def inputs_of(linear: QuantizedLinear, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(1 << 15), 1 << 15, (3, 2 * linear.pairs))


@settings(max_examples=30)
@given(SCHEMES, st.integers(1, 4), st.integers(1, 6), st.sampled_from([4, 8]), st.integers(0, 99))
def test_relaid_heads_put_out_the_same(scheme: Scheme, heads: int, half: int, head_lanes: int, seed: int) -> None:
    channels = 2 * half
    linear = random_linear(12, heads * channels, scheme, seed)
    interleaved = one_head(channels, head_lanes, interleaved=True)
    outputs = outputs_layout("q", linear.outputs, scheme.G, 8, interleaved)
    residual = outputs_layout("o", 12, 6, 8)  # inputs with padding between pairs
    assert list(residual.channels) == [0, 1, 2, 3, 4, 5, PAD, PAD, 6, 7, 8, 9, 10, 11, PAD, PAD]
    physical = relaid(linear, residual, outputs)
    x = inputs_of(linear, seed)
    y = run(physical, residual.place(x))
    assert physical.outputs % 8 == 0 and physical.pairs == 8
    assert np.array_equal(outputs.pick(y), interpreter.linear(linear, x))
    assert not y[:, outputs.channels == PAD].any()
    # pair j of a head's lanes is what RoPE turns together
    padded = len(interleaved)
    for head in range(heads):
        own = outputs.channels[head * padded : head * padded + channels]
        assert np.array_equal(own[0::2], head * channels + np.arange(half))
        assert np.array_equal(own[1::2], own[0::2] + half)


@settings(max_examples=30)
@given(SCHEMES, st.integers(1, 30), st.integers(1, 12), st.integers(0, 99))
def test_relaid_blocks_put_out_the_same(scheme: Scheme, outputs: int, block: int, seed: int) -> None:
    scheme = scheme.with_(G=block)
    linear = random_linear(8, outputs, scheme, seed)
    layout = outputs_layout("up", outputs, block, 4)
    plain = Layout(np.arange(8), 8)
    physical = relaid(linear, plain, layout)
    assert physical.blocks == linear.blocks and physical.scheme.G % 4 == 0
    x = inputs_of(linear, seed)
    y = run(physical, x)
    assert np.array_equal(layout.pick(y), interpreter.linear(linear, x))
    assert not y[:, layout.channels == PAD].any()


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(0, 99))
def test_padded_logits_never_win(outputs: int, seed: int) -> None:
    linear = random_linear(8, outputs, EXACT, seed)
    linear.bias = np.full(outputs, -(1 << 20), np.int32)  # all logits below zero
    layout = logits_layout("head", outputs, EXACT.G, 16)
    x = inputs_of(linear, seed)
    y = interpreter.linear(relaid(linear, Layout(np.arange(8), 8), layout), x)
    assert y.shape[1] % 16 == 0
    assert np.array_equal(y.argmax(axis=1), interpreter.linear(linear, x).argmax(axis=1))
    assert np.array_equal(layout.pick(y), interpreter.linear(linear, x))


def test_stored_tables_move_with_their_pairs() -> None:
    linear = random_linear(8, 10, VQ.with_(G=4), tables=True)
    inputs = outputs_layout("o", 8, 2, 4)
    outputs = outputs_layout("up", 10, 4, 8)
    x = inputs_of(linear, 1)
    physical = relaid(linear, inputs, outputs)
    physical = replace(physical, multiplier=np.maximum(physical.multiplier, 1))
    y = interpreter.linear(physical, inputs.place(x), "stored_table")
    assert np.array_equal(outputs.pick(y), interpreter.linear(linear, x))


def test_nothing_moves_nothing_is_copied() -> None:
    linear = random_linear(8, 16, EXACT)
    same = relaid(linear, Layout(np.arange(8), 8), outputs_layout("up", 16, EXACT.G, 8))
    assert same.codes is linear.codes and same.weight_codebook is linear.weight_codebook


def test_attention_output_has_no_chunks() -> None:
    layout = heads_layout(3, one_head(6, 4, interleaved=False))
    assert list(layout.channels) == [0, 1, 2, 3, 4, 5, PAD, PAD, *range(6, 12), PAD, PAD, *range(12, 18), PAD, PAD]
    assert layout.block == layout.size == 24
    check_pairs("o_proj", layout)


def test_blocks_hold_whole_heads() -> None:
    head = one_head(6, 4, interleaved=True)
    with refused("q: expected codebook blocks of whole heads of 6 outputs, got blocks of 9;"):
        outputs_layout("q", 18, 9, 8, head)
    with refused("q: expected codebook blocks of whole chunks of 16 channels, got 8 for 1 he"):
        outputs_layout("q", 18, 6, 16, head)
    assert outputs_layout("q", 24, 12, 16, head).block == 16
    assert outputs_layout("q", 18, 18, 16, head).block == 32  # one block may end anywhere


def test_blocks_of_the_head_are_whole_chunks() -> None:
    with refused("head: expected codebook blocks of whole chunks of 8 outputs, got blocks of"):
        logits_layout("head", 30, 12, 8)
    assert logits_layout("head", 30, 30, 8).block == 32


def test_pairs_stay_pairs() -> None:
    with refused("down: expected input channels in pairs, got 6 without 7; quantize the line"):
        check_pairs("down", outputs_layout("gate", 14, 7, 8))
    with refused("k: expected input channels in pairs, got 0 without 1"):
        check_pairs("k", heads_layout(2, one_head(8, 8, interleaved=True)))


def spec_of(decoder: Decoder | None = None, blocks: dict[str, int] | None = None) -> DecoderSpec:
    """The spec of a random decoder; `blocks` gives linears, by the end of their name, blocks of their own."""

    def scheme(name: str) -> Scheme:
        found = [block for end, block in (blocks or {}).items() if name.endswith(end)]
        return EXACT.with_(R=1, G=found[0]) if found else EXACT.with_(R=1)

    return DecoderSpec.of(random_decoder(decoder or decoder_like(layers=1), scheme, positions=16))


def layout_of(spec: DecoderSpec) -> Any:
    return layout_decoder(spec, config_for(spec_of(), TARGETS["tiny"]))


def test_layouts_of_a_decoder_agree() -> None:
    layout = layout_of(spec_of(blocks={"o_proj": 20, "down_proj": 20}))
    assert layout.residual.size == 24 + 24 + 8
    own = "model.layers.0"
    assert layout.outputs[f"{own}.mlp.down_proj"].same(layout.residual)
    assert layout.inputs["lm_head"] is layout.residual
    assert layout.inputs[f"{own}.mlp.down_proj"].same(layout.outputs[f"{own}.mlp.gate_proj"])
    assert layout.inputs[f"{own}.self_attn.o_proj"].size == 4 * 16
    layout_of(spec_of(blocks={"o_proj": 16, "down_proj": 24}))  # whole chunks: no padding in either


def test_layouts_of_a_decoder_that_differ() -> None:
    message = (
        "model.layers.0.mlp.down_proj: expected outputs laid out like those of model.layers.0.self_attn.o_proj, got "
        "blocks of 12 and 20; quantize both with blocks of a multiple of 8 outputs, or of one size"
    )
    with refused(message):
        layout_of(spec_of(blocks={"o_proj": 20, "down_proj": 12}))
    with refused("model.layers.0.mlp.up_proj: expected outputs laid out like those of model.layers.0.mlp.gate"):
        layout_of(spec_of(blocks={"up_proj": 12}))
