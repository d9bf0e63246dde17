"""An estimate of a model on a target: its schedule in; cycles, time, memory traffic out, as data and as text.

Cycles are predicted (`lutllm.cost.predicted`) for a memory that answers after the target's latency and gives a beat on
every port in each cycle of its clock - where that is more than the memory gives all ports in the long run, in as large
a share of the cycles. That this can be had of the target's memory is checked in bytes, no more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any

from lutllm.cost.predicted import predicted
from lutllm.cost.traffic import traffic
from lutllm.errors import InputError
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.machine.targets import Target
from lutllm.lowering.schedule.data import Plan
from lutllm.passes.lut_outline_head import HEAD
from lutllm.report.schedule_page import busy_cycles
from lutllm.report.text import align
from lutllm.simulate.transactions.passes import Pass, prompt_passes
from lutllm.simulate.transactions.records import TaskRecord


@dataclass(frozen=True)
class Estimate:
    """`decode_*`: a token, its LM head and pick included, that sees `kv` tokens before it; `prefill_*`: a prompt of
    `prefill` tokens up to the first token after it. Milliseconds at `core_mhz`; ports run at `memory_mhz`.

    `bytes`: what a decode step moves, by port. `hbm_busy`: that, as a share of what the target's memory moves at best
    in the same time. `engines`: the share of a decode step in which an engine has work. `bits_effective` as in
    `QuantizedModel.bits`.
    """

    target: str
    kv: int
    prefill: int
    core_mhz: float
    memory_mhz: float
    decode_cycles: int
    decode_ms: float
    prefill_cycles: int
    prefill_ms: float
    hbm_busy: float
    bits_effective: float
    bytes: dict[str, int]
    engines: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        total = sum(self.bytes.values())
        lines = [
            f"target {self.target}, {self.core_mhz:g} MHz, memory {self.memory_mhz:g} MHz, "
            f"{self.bits_effective:.2f} bits per weight",
            align([
                ("", "cycles", "ms"),
                (f"a token after {self.kv}", f"{self.decode_cycles:,}", f"{self.decode_ms:.3f}"),
                (f"a prompt of {self.prefill}", f"{self.prefill_cycles:,}", f"{self.prefill_ms:.3f}"),
            ]),
            f"a token moves {total / 1e6:,.1f} MB, {self.hbm_busy:.0%} of what the memory can in that time",
            align([("port", "MB"), *((port, f"{n / 1e6:,.2f}") for port, n in self.bytes.items())]),
            align([("engine", "at work"), *((name, f"{share:.0%}") for name, share in self.engines.items())]),
        ]  # fmt: skip
        return "\n\n".join(lines)


def estimate(plan: Plan, name: str, target: Target, bits: float, *, kv: int = 256, prefill: int = 128) -> Estimate:
    """Of a plan for `target`, called `name`; `bits` are effective bits per weight."""
    if HEAD not in plan.programs:
        raise InputError("expected a whole model, got no program that makes a token; estimate a decoder")
    longest = max(kv + 2, prefill + 1)
    if longest > plan.context:
        raise InputError(f"expected a context of at least {longest} tokens, got {plan.context}; take fewer")
    plan = replace(plan, config=sustained(plan.config, target))
    decode, head = Pass("decode", 1, kv), Pass(HEAD, 1, kv + 1)
    records = predicted(plan, [Pass("decode", 1, kv - 1), Pass(HEAD, 1, kv), decode, head])
    begin, cycles = _end(records, 1), _end(records, 3) - _end(records, 1)
    moved = Counter(traffic(plan, decode)) + Counter(traffic(plan, head))
    prompt = list(prompt_passes(0, prefill, plan.config.tokens))
    whole = predicted(plan, [*prompt, Pass(HEAD, prompt[-1].tokens, prefill)])
    mhz, memory = target.clock.core_mhz, target.memory
    seconds, prefill_cycles = cycles / mhz / 1e6, _end(whole, len(prompt))
    step = [record for record in records if record.start >= begin]
    shares = {e: busy_cycles(r for r in step if r.engine == e) / cycles for e in plan.config.engines}
    return Estimate(
        target=name,
        kv=kv,
        prefill=prefill,
        core_mhz=mhz,
        memory_mhz=target.clock.memory_mhz,
        decode_cycles=cycles,
        decode_ms=1e3 * seconds,
        prefill_cycles=prefill_cycles,
        prefill_ms=prefill_cycles / mhz / 1e3,
        hbm_busy=sum(moved.values()) / (seconds * memory.gb_per_s * memory.share * 1e9),
        bits_effective=bits,
        bytes=dict(sorted(moved.items(), key=lambda item: -item[1])),
        engines={e: round(share, 4) for e, share in sorted(shares.items(), key=lambda item: -item[1])},
    )


def sustained(config: AcceleratorConfig, target: Target) -> AcceleratorConfig:
    """The same with a clock of memory at which all ports together ask for no more than the memory gives in the long
    run."""
    memory = target.memory
    share = memory.share * memory.gb_per_s / (memory.ports * memory.port_gb_per_s)
    if config.clocks is None or share >= 1:
        return config
    slower = max(config.clocks.core_mhz + 1, int(config.clocks.memory_mhz * share))
    return replace(config, clocks=replace(config.clocks, memory_mhz=slower))


def _end(records: list[TaskRecord], turn: int) -> int:
    return max(record.end for record in records if record.turn == turn)
