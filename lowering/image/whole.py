"""The memory image of a whole decoder: its plan and its integers in, the bytes that hardware reads from address 0 out.

Linears are relaid and written one after the other, so that a large model costs little more than its image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lutllm.decoder import QuantizedDecoder
from lutllm.errors import CapacityError, InputError
from lutllm.lowering.accelerator import (
    ENGINES,
    HEADER_BITS,
    IMAGE_HEADER,
    IMAGE_MAGIC,
    NO_WAIT,
    TASK_BITS,
    TASK_MAGIC,
    WAIT_BITS,
    WAIT_SLOTS,
)
from lutllm.lowering.decoder_spec import DecoderSpec
from lutllm.lowering.image.linear import static_image
from lutllm.lowering.image.vector_parameters import VectorParameters, embedding_image
from lutllm.lowering.layout.channels import relaid
from lutllm.lowering.layout.decoder import DecoderLayout, layout_decoder
from lutllm.lowering.plan.data import HEADER, PROGRAMS, Plan, Task
from lutllm.lowering.plan.decoder import descriptor_words
from lutllm.lowering.program import Program, Region

IMAGE, MANIFEST = "image.bin", "image.json"


def whole_image(plan: Plan, decoder: QuantizedDecoder, sha256: str | None = None) -> np.ndarray:
    """The image as bytes. `sha256` of the store identifies the model; without it that of its tensors does.

    Raises `InputError` where the plan is another decoder's.
    """
    spec = DecoderSpec.of(decoder)
    if spec.identity != plan.decoder:
        raise InputError("expected the decoder that was planned, got one of other shapes or exponents; plan it again")
    memory = np.zeros(plan.memory_bytes, np.uint8)
    for name, image in _images(plan, decoder, sha256, layout_decoder(spec, plan.config)):
        region = plan.regions[name]
        assert image.size == region.size, name
        memory[region.address : region.address + region.size] = image
    return memory


def _images(
    plan: Plan, decoder: QuantizedDecoder, sha256: str | None, layout: DecoderLayout
) -> Iterator[tuple[str, np.ndarray]]:
    """Every region's name and bytes, but those of the KV caches, which start as zeros."""
    yield HEADER, _words(header(plan, model_id(decoder, sha256)))
    for program in PROGRAMS:
        yield program, _words([word for task in plan.program(program) for word in descriptor(plan, task)])
    name = decoder.decoder.embedding
    yield f"{name}.e", embedding_image(decoder, layout.residual, plan.config.lanes)
    yield from VectorParameters(plan, decoder, layout).images().items()
    engine_program = Program(plan.config.engine, plan.regions, tuple(plan.rounds.values()))
    for name in decoder.decoder.linears:
        linear = relaid(decoder.linears[name], layout.inputs[name], layout.outputs[name])
        for round_ in (r for r in plan.rounds.values() if r.linear == name):
            yield from static_image(engine_program, round_, linear).items()


def header(plan: Plan, model: int) -> list[int]:
    """The 64-bit words at the image's base."""
    values = {
        "magic": IMAGE_MAGIC,
        "model": model,
        "config": plan.config.identity,
        "context": plan.context,
        "vocabulary": plan.vocabulary,
    }
    for program in PROGRAMS:
        values[f"{program}_address"] = plan.regions[program].address
        values[f"{program}_words"] = plan.regions[program].size // 8
    return [values[name] for name in IMAGE_HEADER]


def model_id(decoder: QuantizedDecoder, sha256: str | None = None) -> int:
    """The first 64 bits of the store's hash, or else of the tensors' in order of their names."""
    if sha256 is None:
        digest = hashlib.sha256()
        for name, tensor in sorted(decoder.tensors().items()):
            digest.update(f"{name} {tensor.dtype.str} {tensor.shape}\n".encode())
            digest.update(np.ascontiguousarray(tensor).data)
        sha256 = digest.hexdigest()
    return int.from_bytes(bytes.fromhex(sha256)[:8], "little")


def descriptor(plan: Plan, task: Task) -> list[int]:
    """The 64-bit words of a task: header, address and beats of stream p, fields; of a linear, also its streams."""
    p, address = task.parameters, 0
    if p is not None:
        address = plan.regions[p.region].address + p.offset
    fields = _record(task.name, TASK_BITS[task.engine], {"reserved": 0, **task.fields})
    words = [address, 0 if p is None else _fit(task.name, p.beats) | _fit(task.name, p.stride) << 32, *_cut(fields)]
    if task.engine == "linear":
        round_ = plan.rounds[task.round]
        for region in (plan.regions[name] for name in (round_.c, round_.q, *round_.w)):
            words += [region.address, _beats(plan, region)]
    values = {
        "check": 0,
        "engine": ENGINES.index(task.engine),
        "single": int(task.single),
        "per_token": int(task.per_token),
        "words": 1 + len(words),
        "waits": _waits(task),
    }
    words.insert(0, _record(task.name, HEADER_BITS, values)[0])
    assert len(words) == descriptor_words(task, plan.config), task.name
    parts = sum(word >> low & 0xFFFF for word in words for low in range(0, 64, 16))
    words[0] |= (TASK_MAGIC - parts) & 0xFFFF  # field `check` is the lowest
    return words


def _waits(task: Task) -> int:
    slots = [*task.waits, *[(ENGINES[0], NO_WAIT)] * (WAIT_SLOTS - len(task.waits))]
    width = sum(WAIT_BITS.values())
    packed = (ENGINES.index(engine) | pending << WAIT_BITS["engine"] for engine, pending in slots)
    return sum(slot << i * width for i, slot in enumerate(packed))


def _record(name: str, bits: dict[str, int], values: dict[str, int]) -> tuple[int, int]:
    """Fields packed lowest first, and how many bits they take."""
    record, low = 0, 0
    for field, width in bits.items():
        if not 0 <= values[field] < 1 << width:
            raise CapacityError(f"task {name}: expected {field} to fit {width} bits, got {values[field]}; plan again")
        record |= values[field] << low
        low += width
    return record, low


def _cut(record: tuple[int, int]) -> list[int]:
    value, bits = record
    return [value >> low & (1 << 64) - 1 for low in range(0, bits, 64)]


def _fit(name: str, value: int) -> int:
    return _record(name, {"beats or stride of stream p": 32}, {"beats or stride of stream p": value})[0]


def _beats(plan: Plan, region: Region) -> int:
    return region.size * 8 // plan.config.engine.port_bits[region.kind]


def _words(words: list[int]) -> np.ndarray:
    return np.array(words, dtype="<u8").view(np.uint8)


def manifest(plan: Plan, image: np.ndarray) -> dict:
    """What an image holds: its regions with hashes, and which accelerator it is for."""
    return {
        "bytes": image.size,
        "sha256": hashlib.sha256(image.data).hexdigest(),
        "model": f"{int.from_bytes(image[8:16].tobytes(), 'little'):016x}",
        "config": f"{plan.config.identity:016x}",
        "context": plan.context,
        "vocabulary": plan.vocabulary,
        "regions": [
            {
                "name": region.name,
                "kind": region.kind,
                "port": region.port,
                "source": region.source,
                "address": region.address,
                "bytes": region.size,
                "sha256": hashlib.sha256(image[region.address : region.address + region.size].data).hexdigest(),
            }
            for region in plan.regions.values()
        ],
    }


def write_image(folder: Path, plan: Plan, image: np.ndarray) -> None:
    """Write the image and its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    image.tofile(folder / IMAGE)
    (folder / MANIFEST).write_text(json.dumps(manifest(plan, image), indent=1) + "\n")
