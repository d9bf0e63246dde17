"""A quantized decoder on the whole accelerator in simulation: tokens out of hardware beside the golden model's.

In: a `QuantizedDecoder`, a target, a prompt. Out: an `Answer` with both lists of tokens and the cycles of each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lutllm.decoder import QuantizedDecoder
from lutllm.errors import InputError
from lutllm.lowering.accelerator import AcceleratorConfig
from lutllm.lowering.decoder_spec import DecoderSpec
from lutllm.lowering.hw_to_arc import hw_to_arc
from lutllm.lowering.hw_to_sv import hw_ports, hw_to_sv
from lutllm.lowering.plan import Plan
from lutllm.lowering.plan_decoder import config_for, plan_decoder
from lutllm.lowering.targets import find_target
from lutllm.lowering.whole_image import whole_image
from lutllm.lowering.whole_to_hw import TOP, whole_to_hw
from lutllm.models.cache import cache_directory
from lutllm.progress import note
from lutllm.session import CpuSession
from lutllm.simulate import ArcSimulator, Simulator, VerilatorSimulator
from lutllm.simulate.accelerator import Accelerator, AcceleratorRun

SIMULATORS = ("arc", "verilator")


@dataclass
class Answer:
    """What hardware made of a prompt: `tokens` and, from the CPU path, `golden`; `cycles` of the whole run and until
    each token was there; `seconds` the simulator ran."""

    prompt: list[int]
    tokens: list[int]
    golden: list[int]
    error: str
    cycles: int
    token_cycles: list[int]
    seconds: float
    simulator: str
    run: AcceleratorRun = field(repr=False)

    @property
    def equal(self) -> bool:
        return self.error in ("none", "context") and bool(self.tokens) and self.tokens == self.golden

    @property
    def first_difference(self) -> int | None:
        """The first token that differs."""
        pairs = enumerate(zip(self.tokens, self.golden, strict=False))
        return next((i for i, (got, wanted) in pairs if got != wanted), None)

    @property
    def cycles_per_second(self) -> float:
        return self.cycles / max(self.seconds, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        steps = np.diff(self.token_cycles)
        return {
            "prompt_ids": self.prompt,
            "token_ids": self.tokens,
            "golden_ids": self.golden,
            "equal": self.equal,
            "error": self.error,
            "cycles": self.cycles,
            "token_cycles": self.token_cycles,
            "first_token_cycles": self.token_cycles[0] if self.token_cycles else None,
            "cycles_per_token": float(steps.mean()) if steps.size else None,
            "simulator": self.simulator,
            "simulated_cycles_per_second": self.cycles_per_second,
        }


class Hardware:
    """One accelerator made for a decoder, its memory image, and a simulator of it."""

    def __init__(
        self,
        decoder: QuantizedDecoder,
        *,
        target: str = "small",
        context: int = 0,
        simulator: str = "arc",
        rtl: Path | None = None,
        quiet: bool = False,
    ) -> None:
        if simulator not in SIMULATORS:
            raise InputError(f"expected a simulator among {', '.join(SIMULATORS)}, got '{simulator}'")
        self.decoder, self.kind, self.quiet = decoder, simulator, quiet
        spec, found = DecoderSpec.of(decoder), find_target(target)
        self.config = config_for(spec, found, context)
        self.plan: Plan = plan_decoder(spec, self.config, memory_bytes=found.memory_bytes)
        note(f"memory image: {self.plan.memory_bytes / 1e6:.1f} MB", quiet=quiet)
        self.image = whole_image(self.plan, decoder)
        self.simulator = build(self.config, simulator, rtl, quiet=quiet)

    def accelerator(self, **options: Any) -> Accelerator:
        """A fresh accelerator in front of the image; `options` as of `TestBench`, such as timing."""
        return Accelerator(self.config, self.simulator, self.image, **options)

    def answer(
        self,
        prompt: Sequence[int],
        tokens: int,
        *,
        stop: int | None = None,
        progress: Callable[[int, list[int]], None] | None = None,
        **options: Any,
    ) -> Answer:
        """Greedy tokens of hardware, and the golden model's beside them."""
        accelerator = self.accelerator(**options)
        before = accelerator.bench.seconds
        run = accelerator.generate(prompt, tokens, stop=stop, progress=progress)
        seconds = accelerator.bench.seconds - before
        golden = greedy(self.decoder, self.plan.context, prompt, tokens, stop)
        return Answer(
            list(map(int, prompt)), run.tokens, golden, run.error, run.cycles, run.token_cycles, seconds, self.kind, run
        )


def build(config: AcceleratorConfig, kind: str, rtl: Path | None = None, *, quiet: bool = False) -> Simulator:
    """A simulator of the whole accelerator: `arc`, compiled here, or `verilator`, of the SystemVerilog in `rtl` (by
    default written to the cache, where the compiled model is found again)."""
    start = time.perf_counter()
    note(f"building the simulator ({kind})", quiet=quiet)
    if kind == "arc":
        made: Simulator = ArcSimulator(hw_to_arc(whole_to_hw(config, "arc"), TOP))
    else:
        design = whole_to_hw(config, "sv")
        directory = rtl or cache_directory() / "rtl" / f"{config.identity:016x}"
        if rtl is None:
            hw_to_sv(design, TOP, directory)
        made = VerilatorSimulator(
            directory, TOP, hw_ports(design, TOP), build_directory=cache_directory() / "verilator"
        )
    note(f"built in {time.perf_counter() - start:.0f} s", quiet=quiet)
    return made


def greedy(
    decoder: QuantizedDecoder, context: int, prompt: Sequence[int], tokens: int, stop: int | None = None
) -> list[int]:
    """The golden model's tokens, by the CPU path, whose integers are the reference interpreter's."""
    session = CpuSession.of(decoder, context)
    made: list[int] = []
    logits = session.forward(list(prompt))
    while True:
        made.append(int(np.argmax(logits[-1])))
        if len(made) == tokens or made[-1] == stop or session.position == context:
            return made
        logits = session.forward(made[-1:])
