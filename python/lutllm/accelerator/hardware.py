"""A lut program on its accelerator in simulation: tokens out of hardware beside the golden model's.

In: a program and the arrays it names, a target, a prompt. Out: an `Answer` with both lists of tokens and the cycles of
each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.board.driver import Driver, Outcome
from lutllm.cost.predicted import predicted, run_cycles
from lutllm.errors import InputError
from lutllm.lowering import PASSES as LOWERING_PASSES
from lutllm.lowering import pipelines
from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.export.hw_to_sv import hw_ports, hw_to_sv
from lutllm.lowering.export.image.whole import model_of, whole_image
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.schedule.read import read_plan
from lutllm.models.cache import cache_directory
from lutllm.passes import PASSES as LUT_PASSES
from lutllm.passes import run_pipeline
from lutllm.progress import metered
from lutllm.run.generate import Generation, generate
from lutllm.run.session import CpuSession
from lutllm.simulate import ArcSimulator, AxiTiming, Simulator, VerilatorSimulator
from lutllm.simulate.accelerator import Accelerator, AcceleratorRun
from lutllm.simulate.transactions.passes import run_passes

PASSES = (*LUT_PASSES, *LOWERING_PASSES)
SIMULATORS = ("arc", "verilator")
MANY_PAIRS = 16  # from here on arc compiles each of BLOCKS once, not once an instance
BLOCKS = ("psum_engine", "attention_unit")


@dataclass
class BoardAnswer:
    """What hardware made of a prompt: `tokens` and, from the CPU path, `golden`, each up to the first token that ends a
    text, which is not among them; `ended`: whether there was one, in hardware and in the golden model. `cycles` of the
    whole run and, where they were seen, until each token was there."""

    prompt: list[int]
    tokens: list[int]
    golden: list[int]
    ended: tuple[bool, bool]
    error: str
    cycles: int
    token_cycles: list[int]

    @property
    def equal(self) -> bool:
        made = (bool(self.tokens) or self.ended[0]) and self.tokens == self.golden and self.ended[0] == self.ended[1]
        return self.error in ("none", "context") and made

    @property
    def stop(self) -> str:
        """Why hardware's tokens end, as `Generation.stop`; the error where there was one."""
        return "end" if self.ended[0] else "length" if self.error == "none" else self.error

    @property
    def first_difference(self) -> int | None:
        """The first token that differs."""
        pairs = enumerate(zip(self.tokens, self.golden, strict=False))
        return next((i for i, (got, wanted) in pairs if got != wanted), None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "prompt_ids": self.prompt,
            "token_ids": self.tokens,
            "golden_ids": self.golden,
            "equal": self.equal,
            "stop": self.stop,
            "error": self.error,
            "cycles": self.cycles,
        }


@dataclass
class Answer(BoardAnswer):
    """The same of simulated hardware; `seconds` the simulator ran."""

    seconds: float
    simulator: str
    run: AcceleratorRun = field(repr=False)

    @property
    def cycles_per_second(self) -> float:
        return self.cycles / max(self.seconds, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        steps = np.diff(self.token_cycles)
        return super().to_dict() | {
            "token_cycles": self.token_cycles,
            "first_token_cycles": self.token_cycles[0] if self.token_cycles else None,
            "cycles_per_token": float(steps.mean()) if steps.size else None,
            "simulator": self.simulator,
        }


class Hardware:
    """A scheduled module and its memory image, ready to be run on any simulator of the module's machine.

    `program` is the lut program that it was made of, whose tokens are the right ones; `tensors` are the arrays it
    names.
    """

    def __init__(
        self, program: ir.Module, module: ir.Module, tensors: Mapping[str, np.ndarray], image: np.ndarray
    ) -> None:
        self.program, self.module, self.tensors, self.image = program, module, tensors, image
        self.plan = read_plan(module)

    @classmethod
    def of(cls, program: ir.Module, tensors: Mapping[str, np.ndarray], *, target: str = "small") -> Hardware:
        """An accelerator of `target` made for a lut program, which stays as it is."""
        module = copy_of(program)
        run_pipeline(module, pipelines.to_scheduled(target), passes=PASSES)
        return cls(program, module, tensors, whole_image(module, tensors))

    @property
    def model(self) -> int:
        """What the image says which model it is of."""
        return model_of(self.image)

    def answer(
        self,
        simulator: Simulator,
        prompt: Sequence[int],
        tokens: int,
        *,
        stops: Collection[int] = (),
        listener: Callable[[list[int]], None] | None = None,
        load: bool = False,
        quiet: bool = True,
        **options: Any,
    ) -> Answer:
        """Greedy tokens of hardware, and the golden model's beside them, up to the first of `stops`.

        `listener` gets all tokens so far when there are more. With `load` the driver writes the image to empty memory
        and has it checked, as on a board; else it is there. `options` as of `TestBench`; memory answers as the machine
        says, if no timing is among them."""
        options = {"timing": AxiTiming(latency=self.plan.latency)} | options
        accelerator = Accelerator(self.plan.config, simulator, self.image, **options)
        if load:
            accelerator.memory.data[:] = 0
            accelerator.load(self.image)
        before = accelerator.bench.seconds
        passes = run_passes(len(prompt), tokens, self.plan.config.tokens)
        with metered("cycles", run_cycles(predicted(self.plan, passes)), quiet=quiet) as told:

            def progress(cycle: int, made: list[int]) -> None:
                told(cycle, f"{len(made)} tokens")
                if listener is not None:
                    listener(before_stop(made, stops))

            run = accelerator.generate(prompt, tokens, stops=stops, progress=progress)
            told(run.cycles, f"{len(run.tokens)} tokens")
        kind = "arc" if isinstance(simulator, ArcSimulator) else "verilator"
        made = self._beside_golden(prompt, tokens, stops, run)
        cycles = run.token_cycles[: len(made[1])]
        return Answer(*made, cycles, accelerator.bench.seconds - before, kind, run)

    def answer_at(
        self,
        driver: Driver,
        base: int,
        prompt: Sequence[int],
        tokens: int,
        *,
        stops: Collection[int] = (),
        listener: Callable[[list[int]], None] | None = None,
    ) -> BoardAnswer:
        """The same of the accelerator of a `driver`, whose memory begins at `base`: the image is written to it and
        checked first. Raises `DeviceError` where that fails."""
        driver.load(self.image, base)
        told = None if listener is None else lambda made: listener(before_stop(made, stops))
        run = driver.generate(prompt, tokens, stops=stops, progress=told)
        return BoardAnswer(*self._beside_golden(prompt, tokens, stops, run), [])

    def _beside_golden(
        self, prompt: Sequence[int], tokens: int, stops: Collection[int], run: AcceleratorRun | Outcome
    ) -> tuple[list[int], list[int], list[int], tuple[bool, bool], str, int]:
        """Prompt, tokens of hardware and of the golden model, which of them ended; error and cycles."""
        golden, made = greedy(self.program, self.tensors, prompt, tokens, stops), before_stop(run.tokens, stops)
        ended = (len(made) < len(run.tokens), golden.stop == "end")
        return list(map(int, prompt)), made, golden.tokens, ended, run.error, run.cycles


def build(config: AcceleratorConfig, kind: str, rtl: Path | None = None) -> Simulator:
    """A simulator of the whole accelerator: `arc`, compiled here, or `verilator`, of the SystemVerilog in `rtl` (by
    default written to the cache, where the compiled model is found again)."""
    if kind not in SIMULATORS:
        raise InputError(f"expected a simulator among {', '.join(SIMULATORS)}, got '{kind}'")
    if kind == "arc":
        # As fast as code that LLVM optimizes for twice as long.
        design = accelerator_to_hw(config, "arc")
        many = config.engine.pairs >= MANY_PAIRS
        blocks = [design.symbol(name) for name in design.modules if many and name in BLOCKS]
        return ArcSimulator(hw_to_arc(design, ACCELERATOR_TOP, blocks), optimize=1)
    design = accelerator_to_hw(config, "sv")
    directory = rtl or cache_directory() / "rtl" / f"{config.identity:016x}"
    if rtl is None:
        hw_to_sv(design, ACCELERATOR_TOP, directory)
    return VerilatorSimulator(
        directory, ACCELERATOR_TOP, hw_ports(design, ACCELERATOR_TOP), build_directory=cache_directory() / "verilator"
    )


def check_prompt(prompt: Sequence[int], context: int) -> None:
    """InputError for a prompt that the accelerator would answer with error `prompt`."""
    if not 1 <= len(prompt) <= context:
        raise InputError(
            f"expected a prompt of 1..{context} tokens, the context, got {len(prompt)}; shorten it or give a longer "
            "--context"
        )


def before_stop(tokens: list[int], stops: Collection[int]) -> list[int]:
    """The tokens before the first that ends a text."""
    return tokens[: next((i for i, token in enumerate(tokens) if token in stops), len(tokens))]


def greedy(
    program: ir.Module,
    tensors: Mapping[str, np.ndarray],
    prompt: Sequence[int],
    tokens: int,
    stops: Collection[int] = (),
) -> Generation:
    """The golden model's tokens, by the CPU path, whose integers are the reference interpreter's."""
    *_, found = generate(CpuSession(program, tensors), prompt, tokens, stops=set(stops))
    assert isinstance(found, Generation)
    return found


def copy_of(module: ir.Module) -> ir.Module:
    """The same module in a context of its own."""
    with dialect.context(), ir.Location.unknown():
        return ir.Module.parse(dialect.module_text(module))
