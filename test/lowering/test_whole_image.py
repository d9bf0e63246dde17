"""The image of a whole decoder: descriptors read back, vector parameters that compute what the golden model does."""

import hashlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lutllm.decoder import NORM_BITS, QUERY_BITS, QuantizedDecoder
from lutllm.errors import CapacityError, InputError, NumericsError
from lutllm.functions import reciprocal
from lutllm.interpreter import decoder as golden
from lutllm.lowering.accelerator import (
    DYNAMIC_BITS,
    ENGINES,
    HEADER_BITS,
    IMAGE_HEADER,
    LEFT,
    NO_WAIT,
    PROGRAMS,
    TASK_BITS,
    TASK_MAGIC,
)
from lutllm.lowering.decoder_spec import DecoderSpec
from lutllm.lowering.image.linear import static_image
from lutllm.lowering.image.whole import IMAGE, MANIFEST, manifest, model_id, whole_image, write_image
from lutllm.lowering.layout.channels import PAD, heads_layout, relaid
from lutllm.lowering.layout.decoder import DecoderLayout, layout_decoder
from lutllm.lowering.plan.data import Plan, Task
from lutllm.lowering.plan.decoder import config_for, plan_decoder
from lutllm.lowering.program import Program
from lutllm.lowering.targets import TARGETS
from lutllm.numerics import round_shift, saturate
from lutllm.quantize.random_decoder import decoder_like, random_decoder
from lutllm.scheme import EXACT

SCHEME = EXACT.with_(R=1, G=20)  # the residual stream has padding
DECODER = decoder_like(hidden=44, heads=4, head_dim=10, intermediate=60, vocabulary=96, layers=2, qk_norm=True)


@cache
def made() -> tuple[QuantizedDecoder, Plan, DecoderLayout, np.ndarray]:
    q = random_decoder(DECODER, lambda name: SCHEME.with_(G=96) if name == "lm_head" else SCHEME, positions=24)
    spec = DecoderSpec.of(q)
    plan = plan_decoder(spec, config_for(spec, TARGETS["tiny"]), context=20)
    return q, plan, layout_decoder(spec, plan.config), whole_image(plan, q)


def region(name: str) -> np.ndarray:
    _, plan, _, image = made()
    found = plan.regions[name]
    return image[found.address : found.address + found.size]


def lanes(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values and right shifts of a region of kind p, [words * lanes]."""
    raw = region(name).view("<u4").astype(np.int64)
    value = raw & (1 << 24) - 1
    return np.where(value >> 23, value - (1 << 24), value), raw >> 24


def rescaled(x: np.ndarray, right: np.ndarray, bits: int) -> np.ndarray:
    """As hardware does it, in integers of any size."""
    wide = [(int(v) << LEFT) + (1 << int(r) >> 1) >> int(r) for v, r in np.broadcast(x, right)]
    return saturate(np.array(np.clip(np.array(wide, object), -(1 << 60), 1 << 60), np.int64).reshape(x.shape), bits)


def integers(shape: tuple[int, ...], bits: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-(1 << bits - 1), 1 << bits - 1, shape)


def cut(word: int, bits: dict[str, int]) -> dict[str, int]:
    found = {}
    for name, width in bits.items():
        found[name], word = word & (1 << width) - 1, word >> width
    return found


def test_the_header_says_whose_image_it_is() -> None:
    q, plan, _, image = made()
    header = dict(zip(IMAGE_HEADER, image.view("<u8")[: len(IMAGE_HEADER)].tolist(), strict=True))
    assert image[:8].tobytes() == b"LUTLLM01"
    assert header["config"] == plan.config.identity and (header["context"], header["vocabulary"]) == (20, 96)
    assert header["model"] == model_id(q) != model_id(q, "ff" * 32) == (1 << 64) - 1
    for program in PROGRAMS:
        own = plan.regions[program]
        assert (header[f"{program}_address"], 8 * header[f"{program}_words"]) == (own.address, own.size)


@pytest.mark.parametrize("program", PROGRAMS)
def test_descriptors_say_what_the_tasks_say(program: str) -> None:
    _, plan, _, _ = made()
    words = region(program).view("<u8").tolist()
    for task in plan.program(program):
        header = cut(words[0], HEADER_BITS)
        own, words = words[: header["words"]], words[header["words"] :]
        check_descriptor(plan, task, header, own)
    assert not words


def check_descriptor(plan: Plan, task: Task, header: dict[str, int], own: list[int]) -> None:
    assert sum(word >> low & 0xFFFF for word in own for low in (0, 16, 32, 48)) & 0xFFFF == TASK_MAGIC
    assert ENGINES[header["engine"]] == task.engine
    assert (header["single"], header["per_token"]) == (task.single, task.per_token)
    slots = [(header["waits"] >> 8 * i & 15, header["waits"] >> 8 * i + 4 & 15) for i in range(4)]
    assert tuple((ENGINES[e], n) for e, n in slots if n != NO_WAIT) == task.waits
    if task.parameters is None:
        assert own[1:3] == [0, 0]
    else:
        p = task.parameters
        assert own[1] == plan.regions[p.region].address + p.offset
        assert cut(own[2], {"beats": 32, "stride": 32}) == {"beats": p.beats, "stride": p.stride}
    record = sum(word << 64 * i for i, word in enumerate(own[3:]))
    got = cut(record, TASK_BITS[task.engine])
    assert {**got, "reserved": 0} == {"reserved": 0, **task.fields}
    if task.engine == "linear":
        round_ = plan.rounds[task.round]
        for i, name in enumerate((round_.c, round_.q, *round_.w)):
            found = plan.regions[name]
            port = plan.config.engine.port_bits[found.kind]
            assert own[5 + 2 * i : 7 + 2 * i] == [found.address, found.size * 8 // port]
    assert not set(DYNAMIC_BITS) - {"tokens"} & set(got)


@pytest.mark.parametrize("name", [DECODER.layers[1].input_norm.name, DECODER.layers[0].mlp_norm.name, "model.norm"])
def test_norms(name: str) -> None:
    q, _, layout, _ = made()
    reader = {"model.norm": "lm_head"}.get(name, f"{name.rpartition('.')[0]}.self_attn.q_proj")
    reader = reader.replace("self_attn.q_proj", "mlp.gate_proj") if "post" in name else reader
    norm, linear = q.norms[name], q.linears[reader]
    gain, right = lanes(f"{name}.p")
    assert np.array_equal(layout.residual.pick(gain), norm.gain)
    x = integers((DECODER.hidden,), NORM_BITS)
    wanted = golden.rescale_channels(x, norm.exponent, linear.exponents, linear.scheme.x_bits)
    got = rescaled(layout.residual.place(x), right, linear.scheme.x_bits)
    assert np.array_equal(layout.residual.pick(got), wanted)
    padding = layout.residual.channels == PAD
    assert padding.any() and not gain[padding].any() and not right[padding].any()


@pytest.mark.parametrize("part", ["query", "key", "value"])
def test_heads(part: str) -> None:
    q, _, layout, _ = made()
    a = DECODER.layers[1].attention
    own, linear = q.attentions[a.name], q.linears[getattr(a, part)]
    norm = {"query": a.query_norm, "key": a.key_norm}.get(part)
    exponents = {"query": own.query_exponents, "key": own.key_exponents, "value": own.value_exponents}[part]
    count = a.heads if part == "query" else a.kv_heads
    heads = heads_layout(count, layout.value_head if part == "value" else layout.head)
    gain, right = lanes(f"{a.name}.{part}.p")
    expected = np.zeros(a.head_dim) if norm is None else q.norms[norm.name].gain
    assert np.array_equal(heads.pick(gain), np.tile(expected, count))
    exponent = linear.out_exponent if norm is None else q.norms[norm.name].exponent
    bits = QUERY_BITS if part == "query" else own.cache_bits
    x = integers((count * a.head_dim,), NORM_BITS)
    wanted = golden.rescale_channels(x, exponent, exponents, bits)
    assert np.array_equal(heads.pick(rescaled(heads.place(x), right, bits)), wanted)


def test_swiglu() -> None:
    q, _, layout, _ = made()
    layer = DECODER.layers[0]
    gate, up, down = (q.linears[name] for name in (layer.gate, layer.up, layer.down))
    _, right = lanes(f"{layer.name}.mlp.p")
    product = integers((layer.intermediate,), 44)
    bits = down.scheme.x_bits
    wanted = golden.rescale_channels(product, gate.out_exponent + up.out_exponent, down.exponents, bits)
    own = layout.outputs[layer.gate]
    assert np.array_equal(own.pick(rescaled(own.place(product), right, bits)), wanted)


@pytest.mark.parametrize("program", ["prefill", "decode"])
def test_attention(program: str) -> None:
    q, plan, layout, _ = made()
    a = DECODER.layers[1].attention
    own, output = q.attentions[a.name], q.linears[a.output]
    task = next(t for t in plan.program(program) if t.source == a.name and t.engine == "attention")
    assert task.parameters is not None
    items, reps = task.fields["items"], task.fields["reps"]
    value, right = (v.reshape(a.kv_heads * items, -1, plan.config.lanes) for v in lanes(task.parameters.region))
    assert value.shape[1] == reps * (1 + plan.config.head_words)
    assert np.array_equal(value[:, :reps, 0].reshape(-1), own.multiplier)
    assert not value[:, reps:].any() and not value[..., 1:].any() and not right[:, :reps].any()
    sums, weights = integers((a.heads, a.head_dim), 30), np.array([40000, 3, 1 << 19, 65536])
    r, length = reciprocal(weights)
    group = a.heads // a.kv_heads
    of_value = np.repeat(np.repeat(own.value_exponents, 2).reshape(a.kv_heads, -1), group, axis=0).astype(int)
    shift = of_value - np.repeat(output.exponents, 2).reshape(a.heads, -1) - 15 - length[:, None]
    wanted = saturate(round_shift(sums * r[:, None], -shift), output.scheme.x_bits)
    heads = heads_layout(a.heads, layout.value_head)
    away = right[:, reps:].reshape(a.heads, -1) + length[:, None]
    assert away.max() < 128
    physical = heads.place((sums * r[:, None]).reshape(-1)).reshape(a.heads, -1)
    got = rescaled(physical, away, output.scheme.x_bits).reshape(-1)
    assert np.array_equal(heads.pick(got), wanted.reshape(-1))


def test_rotations() -> None:
    q, plan, layout, _ = made()
    words = region("rope.p").view("<i2").reshape(plan.context, plan.config.head_words, 2, -1)
    assert not words[:, :, 1].any()
    cosines, sines = np.moveaxis(words[:, :, 0].reshape(plan.context, -1, 2), -1, 0)
    half = DECODER.layers[0].attention.head_dim // 2
    assert np.array_equal(cosines[:, :half], q.cosines[: plan.context])
    assert np.array_equal(sines[:, :half], q.sines[: plan.context])
    assert cosines.shape[1] > half and not cosines[:, half:].any()
    task = next(t for t in plan.tasks if t.name == "prefill.rotations")
    assert task.parameters is not None and task.parameters.stride * plan.context == region("rope.p").size
    assert np.array_equal(layout.head[0 : 2 * half : 2], np.arange(half))


def test_embedding_rows() -> None:
    q, plan, layout, _ = made()
    rows = region("model.embed_tokens.e").reshape(DECODER.vocabulary, -1)
    assert rows.shape[1] == (1 + layout.residual.size // plan.config.lanes) * plan.config.lanes
    assert np.array_equal(rows[:, :2].copy().view("<u2")[:, 0], q.embedding.multiplier)
    assert np.array_equal(layout.residual.pick(rows[:, plan.config.lanes :].view(np.int8)), q.embedding.rows)


def test_streams_are_those_of_relaid_linears_and_caches_are_zero() -> None:
    q, plan, layout, _ = made()
    program = Program(plan.config.engine, plan.regions, tuple(plan.rounds.values()))
    for round_ in plan.rounds.values():
        name = round_.linear
        linear = relaid(q.linears[name], layout.inputs[name], layout.outputs[name])
        for part, image in static_image(program, round_, linear).items():
            assert np.array_equal(region(part), image)
    caches = [r for kind in ("k", "v") for r in plan.regions_of(kind)]
    assert len(caches) == 4 and not any(region(r.name).any() for r in caches)


def test_the_manifest_lists_every_region(tmp_path: Path) -> None:
    q, plan, _, image = made()
    write_image(tmp_path, plan, image)
    written = json.loads((tmp_path / MANIFEST).read_text())
    assert written == manifest(plan, image) and (tmp_path / IMAGE).read_bytes() == image.tobytes()
    assert written["sha256"] == hashlib.sha256(image.tobytes()).hexdigest()
    assert written["model"] == f"{model_id(q):016x}" and written["config"] == f"{plan.config.identity:016x}"
    assert [r["name"] for r in written["regions"]] == list(plan.regions)
    first = written["regions"][1]
    assert first["sha256"] == hashlib.sha256(region(first["name"]).tobytes()).hexdigest()
    assert np.array_equal(whole_image(plan, q), image)  # the same bytes


def test_an_image_of_another_decoder_is_refused() -> None:
    q, plan, _, _ = made()
    message = "expected the decoder that was planned, got one of other shapes or exponents; plan it again"
    with pytest.raises(InputError, match=message):
        whole_image(plan, replace(q, decoder=replace(q.decoder, layers=q.decoder.layers[:1])))
    with pytest.raises(InputError, match=message):  # the same shapes
        whole_image(plan, replace(q, residuals={name: value + 1 for name, value in q.residuals.items()}))


def test_numbers_hardware_cannot_hold_are_refused() -> None:
    q, plan, _, _ = made()
    name = DECODER.layers[0].attention.name
    far = replace(q.attentions[name], value_exponents=q.attentions[name].value_exponents + np.int8(60))
    with pytest.raises(CapacityError, match=r"self_attn: expected exponents of attention's output at least -31 above"):
        whole_image(plan, replace(q, attentions=q.attentions | {name: far}))
    norm = DECODER.final_norm.name
    big = replace(q.norms[norm], gain=q.norms[norm].gain * 0 + (1 << 23))
    with pytest.raises(NumericsError, match=r"model.norm: expected values of 24 bits, got"):
        whole_image(plan, replace(q, norms=q.norms | {norm: big}))
    loud = replace(q.embedding, multiplier=q.embedding.multiplier * 4)
    with pytest.raises(InputError, match=r"model.embed_tokens: expected multipliers in 0..32767, got"):
        whole_image(plan, replace(q, embedding=loud))
