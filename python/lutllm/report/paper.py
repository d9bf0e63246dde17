"""`lutllm bench --paper`: LUT-LLM's latency table with a column of ours: a plan of Qwen3-1.7B in, rows and text out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lutllm.cost.area import Area
from lutllm.lowering.machine.targets import Target
from lutllm.lowering.schedule.data import Plan
from lutllm.report.estimate import decode_step, prompt_step
from lutllm.report.published import LATENCY_MS, LUT_LLM, PAIRS, SOURCE, WATTS
from lutllm.report.text import align

LENGTHS = 4  # at which tokens of an answer are predicted; in between, cycles are a straight line
CONTEXT = max(prompt + made for prompt, made in PAIRS) + 2


@dataclass
class Paper:
    """`ours` milliseconds of each pair, estimated; `joules` of it, and of LUT-LLM's as its own figures give them."""

    target: str
    scheme: str
    bits_effective: float
    core_mhz: float
    ours: list[float] = field(default_factory=list)
    joules: list[float] = field(default_factory=list)

    @property
    def losses(self) -> list[str]:
        """Where another is faster, and by how much."""
        found = []
        for pair, own, *others in zip(PAIRS, self.ours, *LATENCY_MS.values(), strict=True):
            for name, other in zip(LATENCY_MS, others, strict=True):
                if other < own:
                    found.append(f"{name} at {pair[0]} + {pair[1]}: {own / other:.2f}x as long")
        return found

    def to_dict(self) -> dict[str, Any]:
        published = {name: list(row) for name, row in LATENCY_MS.items()}
        about = {"pairs": [list(pair) for pair in PAIRS], "published_ms": published, "source": SOURCE}
        return {**asdict(self), **about, "how": "estimated", "losses": self.losses}

    def __str__(self) -> str:
        head = ("ms", *(f"{prompt} + {made}" for prompt, made in PAIRS))
        rows = [(name, *(f"{ms:,.1f}" for ms in row)) for name, row in LATENCY_MS.items()]
        own = (f"lutllm, {self.scheme}", *(f"{ms:,.1f}" for ms in self.ours))
        energy = [
            ("J, lutllm", *(f"{joules:.2f}" for joules in self.joules)),
            (f"J, {LUT_LLM}", *(f"{WATTS[LUT_LLM] * ms / 1e3:.2f}" for ms in LATENCY_MS[LUT_LLM])),
        ]
        where = "\n".join(self.losses) or "nowhere, of these"
        return (
            f"Qwen3-1.7B, tokens of prompt + answer\n\n{align([head, *rows, own, *energy])}\n\n"
            f"Published rows: {SOURCE}.\n"
            f"Ours is an estimate, on target {self.target} at {self.core_mhz:g} MHz, {self.bits_effective:.2f} bits a "
            "weight, LM head and embedding included, for which nothing was placed. Joules are watts times time: ours "
            f"as the target's file assumes, {LUT_LLM}'s by {WATTS[LUT_LLM]} W of its power tool, for an earlier build."
            "\n\n"
            f"Where it loses:\n{where}"
        )


def paper(plan: Plan, name: str, target: Target, scheme: str, bits: float) -> Paper:
    """Of a plan of Qwen3-1.7B with at least `CONTEXT` tokens."""
    mhz, luts = target.clock.core_mhz, Area(plan.config, target.device).total(target.device)["LUT"]["share"]
    found = Paper(name, scheme, bits, mhz)
    ends = [prompt + made for prompt, made in PAIRS]
    lengths = np.unique(np.linspace(min(prompt for prompt, _ in PAIRS), max(ends), LENGTHS).astype(int))
    tokens = [decode_step(plan, target, int(length)) for length in lengths]
    cycles, moved = [step.cycles for step in tokens], [sum(step.moved.values()) for step in tokens]
    for prompt, made in PAIRS:
        steps = np.arange(prompt, prompt + made - 1)  # what each token after the first sees
        first = prompt_step(plan, target, prompt)
        seconds = (first.cycles + np.interp(steps, lengths, cycles).sum()) / mhz / 1e6
        bits_moved = 8 * (sum(first.moved.values()) + np.interp(steps, lengths, moved).sum())
        found.ours.append(round(1e3 * seconds, 2))
        found.joules.append(round(seconds * target.power.watts(luts, mhz, bits_moved / seconds), 3))
    return found
