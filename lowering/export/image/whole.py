"""The memory image: a scheduled module and the arrays it names in, the bytes that hardware reads from address 0 out.

Every region follows from the ops that name it. Linears are relaid and written one after the other, so that a large
model costs little more than its image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from lutllm import dialect, store
from lutllm.bindings import ir
from lutllm.errors import IRError
from lutllm.lowering.export.image.linear import quantized_linear, static_image
from lutllm.lowering.export.image.vector_parameters import VectorParameters, embedding_image
from lutllm.lowering.machine.accelerator import IMAGE_HEADER, IMAGE_MAGIC, LIST_BITS, LISTS, SIZES_BITS, VERIFY
from lutllm.lowering.machine.checks import crc, signature
from lutllm.lowering.place.clusters import Cluster, Linear, clusters_of
from lutllm.lowering.place.layouts import Layout, relaid, taken
from lutllm.lowering.place.lut_allocate import HEADER
from lutllm.lowering.schedule.data import Plan, Task
from lutllm.lowering.schedule.descriptors import checked, descriptor, list_region, packed, verified
from lutllm.lowering.schedule.fields import Places
from lutllm.lowering.schedule.read import Reader, read_plan
from lutllm.scheme import QuantizedLinear

IMAGE, MANIFEST = "image.bin", "image.json"
Tensors = Mapping[str, np.ndarray]


def whole_image(module: ir.Module, tensors: Tensors) -> np.ndarray:
    """The image as bytes. The hash of the store that the module names identifies the model; without one that of its
    arrays does."""
    memory = np.zeros(read_plan(module).memory_bytes, np.uint8)
    for address, part in image_parts(module, tensors):
        memory[address : address + part.size] = part
    return memory


def write_image(path: Path | str, module: ir.Module, tensors: Tensors) -> None:
    """`whole_image` to a file, region by region: it is never in memory as a whole."""
    store.write_places(path, read_plan(module).memory_bytes, image_parts(module, tensors))


def image_parts(module: ir.Module, tensors: Tensors) -> Iterator[tuple[int, np.ndarray]]:
    """(address, bytes) of every region; what lies between is zero."""
    plan = read_plan(module)
    start = header(plan, model_id(tensors, dialect.store_of(module)))
    lists = {program: plan.program(program) for program in plan.programs}
    checks = _Checks(plan)
    for name, image in chain(
        [(HEADER, _words(start))],
        ((list_region(program), _list(plan, tasks, start)) for program, tasks in lists.items()),
        _images(Reader(module.operation), plan, tensors),
        ((list_region(VERIFY), _list(plan, tasks, start)) for tasks in [checks.tasks()]),
    ):
        region = plan.regions.get(name)
        if region is None or region.size != image.size:
            got = "none" if region is None else f"one of {region.size}"
            raise IRError(
                f"expected a region {name} of {image.size} bytes in the module, got {got}; run lut-serialize and "
                "lut-verify-schedule"
            )
        checks.add(name, image)
        yield region.address, image


def _list(plan: Plan, tasks: Iterable[Task], start: list[int]) -> np.ndarray:
    """The list of these tasks, after a header."""
    return _words(checked((descriptor(plan, task) for task in tasks), crc(start[:-1])) or [0])


class _Checks:
    """The signatures of regions that a run verifies, as their bytes come by."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.ports, self.found = plan, verified(plan), dict[str, int]()

    def add(self, name: str, image: np.ndarray) -> None:
        if name in self.ports:
            bits = self.plan.config.read_ports[self.ports[name]]
            whole = np.zeros(self._beats(name) * bits // 8, np.uint8)  # what follows in a last beat is zero
            whole[: image.size] = image.view(np.uint8)
            self.found[name] = signature(whole, bits)

    def tasks(self) -> Iterator[Task]:
        """Those that check every region, in their order; to be taken after the last."""
        names = list(self.plan.config.read_ports)
        for name, port in self.ports.items():
            fields = dict(port=names.index(port), beats=self._beats(name), address=self.plan.regions[name].address)
            yield Task(f"{VERIFY}.{name}", VERIFY, VERIFY, "", "", fields | dict(signature=self.found[name]))

    def _beats(self, name: str) -> int:
        return -(-self.plan.regions[name].size * 8 // self.plan.config.read_ports[self.ports[name]])


def _images(reader: Reader, plan: Plan, tensors: Tensors) -> Iterator[tuple[str, np.ndarray]]:
    """Name and bytes of every region that clusters read, but those that start as zeros."""
    done: set[str] = set()
    for function in reader.functions.values():
        places = reader.places(function)
        for cluster in clusters_of(function):
            for name, image in _of_cluster(reader, places, cluster, tensors, done):
                done.add(name)
                yield name, image


def _of_cluster(
    reader: Reader, places: Places, cluster: Cluster, tensors: Tensors, done: set[str]
) -> Iterator[tuple[str, np.ndarray]]:
    vectors = VectorParameters(places, tensors)
    parameters, embedding = cluster.symbol("parameters"), cluster.find("lut.embedding")
    if parameters is not None and parameters not in done:
        yield parameters, vectors.image(cluster)
    if embedding is not None and (region := cluster.symbol("region")) not in done and region is not None:
        rows, multipliers = tensors[embedding.rows.value], tensors[embedding.multiplier.value]
        yield region, embedding_image(rows, multipliers, region, places.layout(cluster), places.config.lanes)
    if cluster.find("lut.rope") is not None and (table := cluster.named("region", places.regions)).name not in done:
        row = places.layout(cluster).unit_size // places.config.lanes * places.config.p_bits // 8
        yield table.name, vectors.rotations(cluster, table.size // row)
    rounds = [name for name in cluster.rounds if reader.round_ops[name].q.value not in done]
    if rounds:
        linear = physical_linear(reader, cluster, tensors)
        for name in rounds:
            yield from static_image(places.config.engine, reader.round(cluster, name), linear).items()


def layouts_of(reader: Reader, cluster: Cluster) -> tuple[Layout, Layout]:
    """(of what a linear reads, of what it puts out)."""
    linear = cluster.linear
    assert linear is not None
    x = Cluster(linear.x.owner.opview)
    return x.named("layout", reader.layouts), cluster.named("layout", reader.layouts)


def physical_linear(reader: Reader, cluster: Cluster, tensors: Tensors) -> QuantizedLinear:
    """The linear of a cluster as hardware has it."""
    linear: Linear | None = cluster.linear
    assert linear is not None
    whole = quantized_linear(linear, tensors)
    return relaid(taken(whole, linear.channels), *layouts_of(reader, cluster))


def header(plan: Plan, model: int) -> list[int]:
    """The 64-bit words at the image's base. Without a list for single tokens, that for many serves them."""
    values = {
        "magic": IMAGE_MAGIC,
        "model": model,
        "config": plan.config.identity,
        "sizes": packed("image", SIZES_BITS, dict(context=plan.context, vocabulary=plan.vocabulary)),
        "bytes": plan.memory_bytes,
    }
    for program in LISTS:
        own = "prefill" if program == "decode" and program not in plan.programs else program
        region = plan.regions.get(list_region(own))
        place = dict(address=0, words=0) if region is None else dict(address=region.address, words=region.size // 8)
        values[program] = packed(list_region(own), LIST_BITS, place)
    words = [values[name] for name in IMAGE_HEADER[:-1]]
    return [*words, int.from_bytes(crc(words).to_bytes(2, "big"), "little")]


def model_id(tensors: Tensors, sha256: str | None = None) -> int:
    """The first 64 bits of the store's hash, or else of the arrays' in order of their names."""
    if sha256 is None:
        digest = hashlib.sha256()
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{name} {tensor.dtype.str} {tensor.shape}\n".encode())
            digest.update(np.ascontiguousarray(tensor).data)
        sha256 = digest.hexdigest()
    return int.from_bytes(bytes.fromhex(sha256)[:8], "little")


def _words(words: list[int]) -> np.ndarray:
    return np.array(words, dtype="<u8").view(np.uint8)


def model_of(image: np.ndarray) -> int:
    """Which model an image says it is of."""
    return int(image[: 8 * len(IMAGE_HEADER)].view("<u8")[IMAGE_HEADER.index("model")])


def manifest(plan: Plan, image: np.ndarray) -> dict[str, Any]:
    """What an image holds: its regions with hashes, and which accelerator it is for."""
    return {
        "bytes": image.size,
        "sha256": hashlib.sha256(image.data).hexdigest(),
        "model": f"{model_of(image):016x}",
        "config": f"{plan.config.identity:016x}",
        "context": plan.context,
        "vocabulary": plan.vocabulary,
        "regions": [
            {
                "name": region.name,
                "kind": region.kind,
                "address": region.address,
                "bytes": region.size,
                "sha256": hashlib.sha256(image[region.address : region.address + region.size].data).hexdigest(),
            }
            for region in plan.regions.values()
        ],
    }
