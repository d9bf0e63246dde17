"""Descriptors: a plan and a task in, the 64-bit words that the sequencer reads for it out."""

from __future__ import annotations

from lutllm.errors import CapacityError
from lutllm.lowering.machine.accelerator import (
    ENGINES,
    HEADER_BITS,
    NO_WAIT,
    PARAMETER_WORDS,
    TASK_BITS,
    TASK_MAGIC,
    WAIT_BITS,
    WAIT_SLOTS,
    AcceleratorConfig,
)
from lutllm.lowering.place.space import Region
from lutllm.lowering.schedule.data import Plan, Task


def list_region(program: str) -> str:
    """The region of a program's descriptors."""
    return f"{program}.d"


def list_words(task: Task, config: AcceleratorConfig) -> int:
    """64-bit words of a task's descriptor."""
    streams = 2 * (2 + config.engine.weight_ports) if task.engine == "linear" else 0
    return 1 + PARAMETER_WORDS + -(-sum(TASK_BITS[task.engine].values()) // 64) + streams


def descriptor(plan: Plan, task: Task) -> list[int]:
    """Header, address and beats of stream p, fields; of a linear, also its streams."""
    p, address = task.parameters, 0
    if p is not None:
        address = plan.regions[p.region].address + p.offset
    fields, bits = _record(task.name, TASK_BITS[task.engine], {"reserved": 0, **task.fields})
    words = [address, 0 if p is None else _fit(task.name, p.beats) | _fit(task.name, p.stride) << 32]
    words += [fields >> low & (1 << 64) - 1 for low in range(0, bits, 64)]
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
    assert len(words) == list_words(task, plan.config), task.name
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
            raise CapacityError(
                f"task {name}: expected {field} to fit {width} bits, got {values[field]}; place it on a larger machine"
            )
        record |= values[field] << low
        low += width
    return record, low


def _fit(name: str, value: int) -> int:
    return _record(name, {"beats or stride of stream p": 32}, {"beats or stride of stream p": value})[0]


def _beats(plan: Plan, region: Region) -> int:
    return region.size * 8 // plan.config.engine.port_bits[region.kind]
