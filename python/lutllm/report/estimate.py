"""An estimate of a model on a target: its schedule in; cycles, time, traffic, resources, energy out, as data and text.

Cycles are predicted (`lutllm.cost.predicted`) for a memory that answers after the target's latency and gives a beat a
cycle on every port; where the target's memory, at best, needs more for the bytes, what it needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from lutllm.cost.area import Area
from lutllm.cost.calibration import calibration
from lutllm.cost.predicted import predicted
from lutllm.cost.traffic import traffic
from lutllm.errors import InputError
from lutllm.lowering.machine.targets import Target
from lutllm.lowering.schedule.data import Plan
from lutllm.passes.lut_outline_head import HEAD
from lutllm.report.schedule_page import busy_cycles
from lutllm.report.text import align
from lutllm.simulate.transactions.passes import Pass, prompt_passes
from lutllm.simulate.transactions.records import TaskRecord
from lutllm.tabular import Tabular


@dataclass(frozen=True)
class Estimate(Tabular):
    """`decode_*`: a token that sees `kv` tokens before it, LM head and pick included where `head`; `prefill_*`: a
    prompt of `prefill` tokens up to the first token after it. Milliseconds at `core_mhz`; ports run at `memory_mhz`.
    Where the target's memory needs more cycles than the hardware, which takes `hardware_cycles` in a decode step, they
    are its. Its records are one: what is a single number.

    `bytes`: what a decode step moves, by port. `hbm_busy`: that, as a share of what the target's memory moves at best
    in the same time; `port_busy`: the same of the port that moves most. `engines`: the share of a decode step in which
    an engine has work. `bits_effective` as in `QuantizedModel.bits`. `row_waits`: cycles of a token's lookups
    that wait for rows, beside those that do not. `resources`: `used`, `available` and `share` by
    kind; `units`: used by unit; `slrs`: shares of each SLR. `watts` in a decode step, `energy_mj` of it. `error`: that
    of cycles, and of resources by kind, as `lutllm.cost.calibration` has them.
    """

    target: str
    kv: int
    head: bool
    prefill: int
    core_mhz: float
    memory_mhz: float
    decode_cycles: int
    decode_ms: float
    hardware_cycles: int
    prefill_cycles: int
    prefill_ms: float
    hbm_busy: float
    port_busy: float
    bits_effective: float
    bytes: dict[str, int]
    engines: dict[str, float]
    row_waits: float
    resources: dict[str, dict[str, float]]
    units: dict[str, dict[str, float]]
    slrs: list[dict[str, float]]
    watts: float
    energy_mj: float
    error: dict[str, Any]

    def records(self) -> list[dict[str, Any]]:
        one = {name: value for name, value in self.to_dict().items() if not isinstance(value, dict | list)}
        return [one | {name: values["share"] for name, values in self.resources.items()}]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        total = sum(self.bytes.values())
        lines = [
            f"target {self.target}, {self.core_mhz:g} MHz, memory {self.memory_mhz:g} MHz, "
            f"{self.bits_effective:.2f} bits per weight",
            align([
                ("", "cycles", "ms"),
                (self._token(), f"{self.decode_cycles:,}", f"{self.decode_ms:.3f}"),
                (f"a prompt of {self.prefill}", f"{self.prefill_cycles:,}", f"{self.prefill_ms:.3f}"),
            ]),
            *self._bound(),
            f"a token moves {total / 1e6:,.1f} MB, {self.hbm_busy:.0%} of what the memory can in that time",
            align([("port", "MB"), *((port, f"{n / 1e6:,.2f}") for port, n in self.bytes.items())]),
            align([("engine", "at work"), *((name, f"{share:.0%}") for name, share in self.engines.items())]),
            align([
                ("resource", "used", "available", "share", *(f"SLR {i}" for i in range(len(self.slrs)))),
                *(self._resource(kind, values) for kind, values in self.resources.items()),
            ]),
            f"{self.watts:.0f} W, {self.energy_mj:.1f} mJ a token, as the target assumes of static, logic, memory",
            "error: " + "; ".join(self._errors()),
        ]  # fmt: skip
        if self.row_waits >= 0.01:
            waits = f"lookups wait for rows {self.row_waits:.0%} as long as they take"
            lines.append(f"{waits}: quantize with larger codebook blocks, or make rows in fewer steps (row_writes)")
        return "\n\n".join(lines)

    def _token(self) -> str:
        return f"a token after {self.kv}{'' if self.head else ', without LM head'}"

    def _bound(self) -> Iterator[str]:
        if self.decode_cycles > self.hardware_cycles:
            yield f"a token waits for memory: the hardware alone would take {self.hardware_cycles:,} cycles"

    def _resource(self, kind: str, values: dict[str, float]) -> tuple[str, ...]:
        shares = (f"{share:.0%}" for share in (values["share"], *(slr[kind] for slr in self.slrs)))
        return kind, f"{values['used']:,}", f"{values['available']:,}", *shares

    def _errors(self) -> Iterator[str]:
        for what, values in {"cycles": self.error["cycles"], **self.error["resources"]}.items():
            yield f"{what} {values['median']:.1%}, at worst {values['worst']:.1%} of {values['of']}"


def estimate(
    plan: Plan, name: str, target: Target, bits: float, *, kv: int = 256, prefill: int = 128, head: bool = True
) -> Estimate:
    """Of a plan for `target`, called `name`; `bits` are effective bits per weight. Without `head` a token is one that
    is read."""
    if HEAD not in plan.programs:
        raise InputError("expected a whole model, got no program that makes a token; estimate a decoder")
    needed = longest(kv, prefill)
    if needed > plan.context:
        raise InputError(f"expected a context of at least {needed} tokens, got {plan.context}; take fewer")
    step, prompt = decode_step(plan, target, kv, head=head), prompt_step(plan, target, prefill)
    mhz, moved = target.clock.core_mhz, step.moved
    seconds, busy = step.cycles / mhz / 1e6, memory_seconds(plan, target, moved)
    area = Area(plan.config, target.device)
    resources = area.total(target.device)
    watts = target.power.watts(resources["LUT"]["share"], mhz, 8 * sum(moved.values()) / seconds)
    shares = {e: busy_cycles(r for r in step.records if r.engine == e) / step.cycles for e in plan.config.engines}
    return Estimate(
        target=name,
        kv=kv,
        head=head,
        prefill=prefill,
        core_mhz=mhz,
        memory_mhz=target.clock.memory_mhz,
        decode_cycles=step.cycles,
        decode_ms=1e3 * seconds,
        hardware_cycles=step.hardware,
        prefill_cycles=prompt.cycles,
        prefill_ms=prompt.cycles / mhz / 1e3,
        hbm_busy=busy[0] / seconds,
        port_busy=busy[1] / seconds,
        bits_effective=bits,
        row_waits=round(_row_waits(plan), 4),
        bytes=dict(sorted(moved.items(), key=lambda item: -item[1])),
        engines={e: round(share, 4) for e, share in sorted(shares.items(), key=lambda item: -item[1])},
        resources=resources,
        units=area.units_by("LUT"),
        slrs=area.slrs(target.device),
        watts=round(watts, 2),
        energy_mj=round(1e3 * watts * seconds, 3),
        error={name: calibration()[name] for name in ("cycles", "resources")},
    )


def longest(kv: int, prefill: int) -> int:
    """Tokens of a context that an estimate needs: a token after `kv` others and another, or one after a prompt."""
    return max(kv + 2, prefill + 1)


@dataclass(frozen=True)
class Step:
    """A part of a run: `cycles`, of which `hardware` needs so many and memory, for what is `moved` by port, no more;
    `records` of its tasks."""

    cycles: int
    hardware: int
    moved: Counter[str]
    records: list[TaskRecord]


def decode_step(plan: Plan, target: Target, kv: int, *, head: bool = True) -> Step:
    """A token that sees `kv` tokens and follows another, with or without its head."""
    before, own = ([Pass("decode", 1, at), *[Pass(HEAD, 1, at + 1)] * head] for at in (kv - 1, kv))
    records = predicted(plan, [*before, *own])
    begin, end = _end(records, len(before) - 1), _end(records, 2 * len(before) - 1)
    return _step(plan, target, own, [r for r in records if r.start >= begin], end - begin)


def prompt_step(plan: Plan, target: Target, tokens: int) -> Step:
    """Up to the first token after a prompt."""
    passes = list(prompt_passes(0, tokens, plan.config.tokens))
    passes.append(Pass(HEAD, passes[-1].tokens, tokens))
    records = predicted(plan, passes)
    return _step(plan, target, passes, records, _end(records, len(passes) - 1))


def _step(plan: Plan, target: Target, passes: list[Pass], records: list[TaskRecord], hardware: int) -> Step:
    moved: Counter[str] = Counter()
    for each in passes:
        moved.update(traffic(plan, each))
    needed = ceil(max(memory_seconds(plan, target, moved)) * target.clock.core_mhz * 1e6)
    return Step(max(hardware, needed), hardware, moved, records)


def memory_seconds(plan: Plan, target: Target, moved: Mapping[str, int]) -> tuple[float, float]:
    """What the target's memory takes at best for all bytes, and for those of the port with most; a port that is wider
    than a bus of memory stands for several."""
    memory, room = target.memory, Counter[str]()
    for name, bits in (plan.config.read_ports | plan.config.write_ports).items():
        room[name.rstrip("0123456789")] += ceil(plan.config.bus_bits(bits) / target.clock.bus_bits)
    whole = sum(moved.values()) / (memory.gb_per_s * memory.share * 1e9)
    return whole, max(size / room[port] for port, size in moved.items()) / (memory.port_gb_per_s * 1e9)


def _row_waits(plan: Plan) -> float:
    engine = plan.config.engine
    tasks = [task for name in ("decode", HEAD) for task in plan.program(name)]
    rounds = [plan.rounds[task.round] for task in tasks if task.engine == "linear"]
    return sum(r.row_waits(engine) for r in rounds) / (sum(r.lookups for r in rounds) / engine.pairs / engine.lanes)


def _end(records: list[TaskRecord], turn: int) -> int:
    return max(record.end for record in records if record.turn == turn)
