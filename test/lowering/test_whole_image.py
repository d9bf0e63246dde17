"""The image of a whole decoder: descriptors read back, vector parameters that compute what the golden model does."""

import hashlib
import json
from binascii import crc_hqx
from functools import cache
from typing import Any

import numpy as np
import pytest

from lutllm import dialect
from lutllm.accelerator.hardware import Hardware, copy_of
from lutllm.dialect import fixed_of
from lutllm.errors import CapacityError, InputError, IRError, NumericsError
from lutllm.functions import reciprocal
from lutllm.interpreter import decoder as golden
from lutllm.lowering.export.image.linear import static_image
from lutllm.lowering.export.image.whole import (
    manifest,
    model_id,
    physical_linear,
    whole_image,
)
from lutllm.lowering.machine.accelerator import (
    DYNAMIC_BITS,
    ENGINES,
    HEADER_BITS,
    IMAGE_HEADER,
    LEFT,
    LIST_BITS,
    LISTS,
    NO_WAIT,
    TASK_BITS,
)
from lutllm.lowering.place.clusters import Cluster, clusters_of
from lutllm.lowering.place.layouts import PAD, Layout
from lutllm.lowering.schedule.data import Plan, Task
from lutllm.lowering.schedule.read import Reader
from lutllm.numerics import round_shift, saturate
from lutllm.quantization import NORM_BITS
from lutllm.quantized.pretrained import QuantizedModel
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.scheme import EXACT

SCHEME = EXACT.with_(R=1, G=20)  # the residual stream has padding
HIDDEN, VOCABULARY, HEADS, KV_HEADS, HEAD_DIM = 44, 96, 4, 2, 10


@cache
def made() -> tuple[QuantizedModel, Plan, Hardware]:
    model = float_decoder(HIDDEN, 60, 2, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY, qk_norm=True)
    q = random_model(model, lambda name: SCHEME.with_(G=96) if name == "lm_head" else SCHEME, positions=24)
    hardware = Hardware.of(q.lut(20), q.tensors, target="tiny")
    return q, hardware.plan, hardware


@cache
def clusters() -> dict[tuple[str, str], tuple[Cluster, Layout]]:
    """By program and label."""
    reader = Reader(made()[2].module.operation)
    return {
        (program, cluster.label): (cluster, cluster.named("layout", reader.layouts))
        for program, function in reader.functions.items()
        for cluster in clusters_of(function)
    }


def exponent(value: Any) -> Any:
    """One, or the array of a tensor that has one for each pair."""
    meaning = fixed_of(value.type)
    assert meaning is not None
    return made()[0].tensors[meaning[1]] if isinstance(meaning[1], str) else meaning[1]


def bits(value: Any) -> int:
    meaning = fixed_of(value.type)
    assert meaning is not None
    return int(meaning[0])


def region(name: str) -> np.ndarray:
    _, plan, hardware = made()
    found = plan.regions[name]
    return hardware.image[found.address : found.address + found.size]


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
    q, plan, hardware = made()
    header = dict(zip(IMAGE_HEADER, hardware.image.view("<u8")[: len(IMAGE_HEADER)].tolist(), strict=True))
    assert hardware.image[:8].tobytes() == b"LUTLLM02"
    assert header["config"] == plan.config.identity and header["sizes"] == VOCABULARY << 32 | 20
    assert header["bytes"] == hardware.image.size
    assert crc_hqx(hardware.image[: 8 * len(IMAGE_HEADER)].tobytes(), 0) == 0
    assert header["model"] == model_id(q.tensors) != model_id(q.tensors, "ff" * 32) == (1 << 64) - 1
    for program in LISTS:
        own, found = plan.regions[f"{program}.d"], cut(header[program], LIST_BITS)
        assert (found["address"], 8 * found["words"]) == (own.address, own.size)


def test_the_store_that_the_module_names_is_the_model() -> None:
    q, _, hardware = made()
    module = copy_of(hardware.module)
    with module.context:
        module.operation.attributes["lut.store"] = dialect.store_attr("parameters.safetensors", "0f" * 32)
    image = whole_image(module, q.tensors)
    assert int(image[8:16].view("<u8")[0]) == 0x0F0F0F0F0F0F0F0F
    # Of the rest, the checks of header and lists alone differ, and the signatures of both.
    lists = [r for r in made()[1].regions.values() if r.kind in "hd"]
    same = np.ones(image.size, bool)
    for own in lists:
        same[own.address : own.address + own.size] = False
    assert np.array_equal(image[same], hardware.image[same])


@pytest.mark.parametrize("program", LISTS[:3])
def test_descriptors_say_what_the_tasks_say(program: str) -> None:
    _, plan, hardware = made()
    words = region(f"{program}.d").view("<u8").tolist()
    check_crc(hardware, words)
    for task in plan.program(program):
        header = cut(words[0], HEADER_BITS)
        own, words = words[: header["words"]], words[header["words"] :]
        check_descriptor(plan, task, header, own)
    assert not words


def check_crc(hardware: Hardware, words: list[int]) -> None:
    """Each descriptor has the CRC of all before it and of itself, from that of the header on."""
    crc = crc_hqx(hardware.image[: 8 * len(IMAGE_HEADER) - 8].tobytes(), 0)
    while words:
        header = cut(words[0], HEADER_BITS)
        own, words = [words[0] >> 16 << 16, *words[1 : header["words"]]], words[header["words"] :]
        crc = crc_hqx(np.array(own, "<u8").tobytes(), crc)
        assert header["check"] == crc


def times_x29(value: int) -> int:
    """In GF(2^64), a bit at a time."""
    for _ in range(29):
        value = value << 1 ^ (value >> 63) * (1 << 64 | 0b11011)
    return value


def test_the_last_list_has_the_signature_of_every_region_that_does_not_change() -> None:
    _, plan, hardware = made()
    words = region("verify.d").view("<u8").tolist()
    check_crc(hardware, words)
    seen, ports = set(), list(plan.config.read_ports)
    for own in np.array(words, "<u8").reshape(-1, plan.config.task_words("verify")).tolist():
        task = cut(sum(word << 64 * i for i, word in enumerate(own[3:])), TASK_BITS["verify"])
        name = next(r.name for r in plan.regions.values() if r.address == task["address"])
        bits = plan.config.read_ports[ports[task["port"]]]
        end = task["address"] + task["beats"] * bits // 8
        assert end - plan.regions[name].size - task["address"] in range(bits // 8)
        value = 0
        for word in hardware.image[task["address"] : end].view(f"<u{min(bits, 64) // 8}").tolist():
            value = times_x29(value) ^ word
        assert value == task["signature"]
        seen.add(name)
    assert {plan.regions[name].kind for name in set(plan.regions) - seen - {"verify.d"}} == {"k", "v"}


def check_descriptor(plan: Plan, task: Task, header: dict[str, int], own: list[int]) -> None:
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


NORMS = [("prefill", "model.layers.1.self_attn.q_proj.input"), ("decode", "model.layers.0.mlp.gate_proj.input"),
         ("head", "lm_head.input")]  # fmt: skip


@pytest.mark.parametrize(("program", "label"), NORMS)
def test_norms(program: str, label: str) -> None:
    cluster, layout = clusters()[program, label]
    norm, rescale = cluster.find("lut.rms_norm"), cluster.find("lut.rescale")
    gain, right = lanes(cluster.symbol("parameters") or "")
    assert np.array_equal(layout.pick(gain), made()[0].tensors[norm.gain.value])
    x = integers((HIDDEN,), NORM_BITS)
    wanted = golden.rescale_channels(x, exponent(rescale.x), exponent(rescale.y), 16)
    got = rescaled(layout.place(x), right, 16)
    assert np.array_equal(layout.pick(got), wanted)
    padding = layout.places == PAD
    assert padding.any() and not gain[padding].any() and not right[padding].any()


@pytest.mark.parametrize("part", ["q", "k", "v"])
def test_heads(part: str) -> None:
    cluster, layout = clusters()["prefill", f"model.layers.1.self_attn.{part}_proj.heads"]
    norm, rescale = cluster.find("lut.rms_norm"), cluster.find("lut.rescale")
    count = HEADS if part == "q" else KV_HEADS
    assert (norm is None) == (part == "v") and layout.size == count * layout.unit_size
    gain, right = lanes(cluster.symbol("parameters") or "")
    expected = np.zeros(HEAD_DIM) if norm is None else made()[0].tensors[norm.gain.value]
    assert np.array_equal(layout.pick(gain), np.tile(expected, count))
    x = integers((count * HEAD_DIM,), NORM_BITS)
    wanted = golden.rescale_channels(x, exponent(rescale.x), exponent(rescale.y), bits(rescale.y))
    assert np.array_equal(layout.pick(rescaled(layout.place(x), right, bits(rescale.y))), wanted)


def test_swiglu() -> None:
    cluster, layout = clusters()["prefill", "model.layers.0.mlp.up_proj"]
    op = cluster.find("lut.swiglu")
    _, right = lanes(cluster.symbol("parameters") or "")
    product = integers((60,), 44)
    wanted = golden.rescale_channels(product, exponent(op.gate) + exponent(op.up), exponent(op.y), 16)
    assert np.array_equal(layout.pick(rescaled(layout.place(product), right, 16)), wanted)


@pytest.mark.parametrize("program", ["prefill", "decode"])
def test_attention(program: str) -> None:
    q, plan, _ = made()
    cluster, layout = clusters()[program, "model.layers.1.self_attn"]
    op = cluster.find("lut.attention")
    task = next(t for t in plan.program(program) if t.cluster == cluster.label)
    assert task.parameters is not None
    items, reps = task.fields["items"], task.fields["reps"]
    value, right = (v.reshape(KV_HEADS * items, -1, plan.config.lanes) for v in lanes(task.parameters.region))
    assert value.shape[1] == reps * (1 + plan.config.head_words)
    assert np.array_equal(value[:, :reps, 0].reshape(-1), q.tensors[op.multiplier.value])
    assert not value[:, reps:].any() and not value[..., 1:].any() and not right[:, :reps].any()
    sums, weights = integers((HEADS, HEAD_DIM), 30), np.array([40000, 3, 1 << 19, 65536])
    r, length = reciprocal(weights)
    of_value = np.repeat(exponent(op.values), 2).reshape(KV_HEADS, -1)
    of_value = np.repeat(of_value, HEADS // KV_HEADS, axis=0).astype(int)
    shift = of_value - np.repeat(exponent(op.y), 2).reshape(HEADS, -1) - 15 - length[:, None]
    wanted = saturate(round_shift(sums * r[:, None], -shift), 16)
    away = right[:, reps:].reshape(HEADS, -1) + length[:, None]
    assert away.max() < 128
    physical = layout.place((sums * r[:, None]).reshape(-1)).reshape(HEADS, -1)
    assert np.array_equal(layout.pick(rescaled(physical, away, 16).reshape(-1)), wanted.reshape(-1))


def test_rotations() -> None:
    q, plan, _ = made()
    words = region("rope.p").view("<i2").reshape(plan.context, plan.config.head_words, 2, -1)
    assert not words[:, :, 1].any()
    cosines, sines = np.moveaxis(words[:, :, 0].reshape(plan.context, -1, 2), -1, 0)
    half = HEAD_DIM // 2
    assert np.array_equal(cosines[:, :half], q.tensors["rope.cosines"][: plan.context])
    assert np.array_equal(sines[:, :half], q.tensors["rope.sines"][: plan.context])
    assert cosines.shape[1] > half and not cosines[:, half:].any()
    task = next(t for t in plan.tasks if t.name == "prefill.rotations")
    assert task.parameters is not None and task.parameters.stride * plan.context == region("rope.p").size


def test_embedding_rows() -> None:
    q, plan, _ = made()
    layout = clusters()["prefill", "model.embed_tokens"][1]
    rows = region("model.embed_tokens.e").reshape(VOCABULARY, -1)
    assert rows.shape[1] == (1 + layout.size // plan.config.lanes) * plan.config.lanes
    assert np.array_equal(rows[:, :2].copy().view("<u2")[:, 0], q.tensors["model.embed_tokens.multiplier"])
    assert np.array_equal(layout.pick(rows[:, plan.config.lanes :].view(np.int8)), q.tensors["model.embed_tokens.rows"])


def test_streams_are_those_of_relaid_linears_and_caches_are_zero() -> None:
    q, plan, hardware = made()
    reader = Reader(hardware.module.operation)
    done = set()
    for cluster, _ in clusters().values():
        for name in cluster.rounds:
            linear = physical_linear(reader, cluster, q.tensors)
            for part, image in static_image(plan.config.engine, plan.rounds[name], linear).items():
                assert np.array_equal(region(part), image)
                done.add(part)
    assert {r.name for kind in "wcq" for r in plan.regions_of(kind)} == done
    caches = [r for kind in ("k", "v") for r in plan.regions_of(kind)]
    assert len(caches) == 4 and not any(region(r.name).any() for r in caches)


def test_the_manifest_lists_every_region() -> None:
    q, plan, hardware = made()
    written = json.loads(json.dumps(manifest(plan, hardware.image)))
    assert written["sha256"] == hashlib.sha256(hardware.image.tobytes()).hexdigest()
    assert written["model"] == f"{model_id(q.tensors):016x}" and written["config"] == f"{plan.config.identity:016x}"
    assert [r["name"] for r in written["regions"]] == list(plan.regions)
    first = written["regions"][1]
    assert first["sha256"] == hashlib.sha256(region(first["name"]).tobytes()).hexdigest()
    assert np.array_equal(whole_image(copy_of(hardware.module), q.tensors), hardware.image)  # the same bytes


def test_what_is_missing_is_named() -> None:
    q, _, hardware = made()
    module = copy_of(hardware.module)
    for op in module.body.operations:
        if isinstance(op, dialect.RegionOp) and op.sym_name.value == "decode.d":
            op.operation.erase()
    with pytest.raises(
        IRError, match=r"expected a region decode.d of \d+ bytes in the module, got none; run lut-serial"
    ):
        whole_image(module, q.tensors)
    rest = {name: array for name, array in q.tensors.items() if name != "model.layers.1.mlp.up_proj.codes"}
    with pytest.raises(InputError, match=r"expected 'model.layers.1.mlp.up_proj.codes' in the store, got none; give"):
        whole_image(hardware.module, rest)


def test_numbers_hardware_cannot_hold_are_refused() -> None:
    q, _, hardware = made()

    def changed(name: str, change: Any) -> dict[str, np.ndarray]:
        return q.tensors | {name: change(q.tensors[name])}

    far = changed("model.layers.0.self_attn.value.exponents", lambda array: array + np.int8(60))
    with pytest.raises(CapacityError, match=r"self_attn: expected exponents of attention's output at least -31 above"):
        whole_image(hardware.module, far)
    big = changed("model.norm.gain", lambda array: array * 0 + (1 << 23))
    with pytest.raises(NumericsError, match=r"lm_head.input: expected values of 24 bits, got"):
        whole_image(hardware.module, big)
    loud = changed("model.embed_tokens.multiplier", lambda array: array * 4)
    with pytest.raises(NumericsError, match=r"expected multipliers of model.embed_tokens.e in 0..32767, got"):
        whole_image(hardware.module, loud)
