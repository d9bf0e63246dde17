"""Descriptors: a plan and a task in, the 64-bit words that the sequencer reads for it out."""

from __future__ import annotations

from collections.abc import Iterable

from lutllm.errors import CapacityError
from lutllm.lowering.machine.accelerator import (
    ENGINE_NUMBERS,
    ENGINES,
    HEADER_BITS,
    NO_WAIT,
    STREAM_BITS,
    VERIFY,
    WAIT_BITS,
    WAIT_SLOTS,
)
from lutllm.lowering.machine.checks import crc
from lutllm.lowering.place.space import Region
from lutllm.lowering.schedule.data import Plan, Task


def list_region(program: str) -> str:
    """The region of a program's descriptors."""
    return f"{program}.d"


def descriptor(plan: Plan, task: Task) -> list[int]:
    """Header without its check, address and beats of stream p, fields; of a linear, also its streams."""
    p, address = task.parameters, 0
    if p is not None:
        address = plan.regions[p.region].address + p.offset
    name, bits = f"task {task.name}", plan.config.task_bits(task.engine)
    fields = packed(name, bits, {"reserved": 0, **task.fields})
    words = [address, 0 if p is None else _fit(name, p.beats) | _fit(name, p.stride) << 32]
    words += _words(fields, bits)
    if task.engine == "linear":
        round_ = plan.rounds[task.round]
        for region, *others in ([round_.c], [round_.q], round_.w):
            first, last = plan.regions[region], plan.regions[[region, *others][-1]]
            stride = (last.address - first.address) // max(1, len(others))
            values = dict(address=first.address, beats=_beats(plan, first), stride=stride)
            words += _words(packed(name, STREAM_BITS, values), STREAM_BITS)
    values = {
        "check": 0,
        "engine": ENGINE_NUMBERS[task.engine],
        "single": int(task.single),
        "per_token": int(task.per_token),
        "words": 1 + len(words),
        "waits": _waits(task),
    }
    words.insert(0, packed(name, HEADER_BITS, values))
    assert len(words) == plan.config.task_words(task.engine), task.name
    return words


def _words(record: int, bits: dict[str, int]) -> list[int]:
    return [record >> low & (1 << 64) - 1 for low in range(0, sum(bits.values()), 64)]


def checked(descriptors: Iterable[list[int]], start: int) -> list[int]:
    """The words of a whole list: each descriptor with its check, after a header whose CRC is `start`."""
    found: list[int] = []
    for words in descriptors:
        start = crc(words, start)
        found += [words[0] | start, *words[1:]]  # field `check` is the lowest
    return found


def _waits(task: Task) -> int:
    slots = [*task.waits, *[(ENGINES[0], NO_WAIT)] * (WAIT_SLOTS - len(task.waits))]
    width = sum(WAIT_BITS.values())
    packed = (ENGINES.index(engine) | pending << WAIT_BITS["engine"] for engine, pending in slots)
    return sum(slot << i * width for i, slot in enumerate(packed))


def packed(name: str, bits: dict[str, int], values: dict[str, int]) -> int:
    """Fields of the task or list `name`, lowest first."""
    record, low = 0, 0
    for field, width in bits.items():
        if not 0 <= values[field] < 1 << width:
            raise CapacityError(
                f"{name}: expected {field} to fit {width} bits, got {values[field]}; place it on a larger machine"
            )
        record |= values[field] << low
        low += width
    return record


def _fit(name: str, value: int) -> int:
    return packed(name, {"beats or stride of stream p": 32}, {"beats or stride of stream p": value})


def _beats(plan: Plan, region: Region) -> int:
    return region.size * 8 // plan.config.engine.port_bits[region.kind]


def verified(plan: Plan) -> dict[str, str]:
    """The read port that checks each region whose bytes are the image's, by their names. Port d has the tasks to read
    that say so."""
    ports = {"h": "c", "d": "c", "p": "p", "c": "c", "q": "q", "e": "e"}
    weights = {name: f"w{port}" for round_ in plan.rounds.values() for port, name in enumerate(round_.w)}
    found = {name: ports.get(region.kind) or weights.get(name) for name, region in plan.regions.items()}
    return {name: port for name, port in found.items() if port is not None and name != list_region(VERIFY)}
