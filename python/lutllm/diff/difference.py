"""What a comparison of two levels found: equal, and how much was compared; or the first number that differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Difference:
    """The first element that differs, in the order of its task's words.

    `op` and `module`: in the `lut` program and in PyTorch. `task` of the plan, in list `turn` of the run, which reads
    `tokens` tokens from `position` on. `token` counts from the start of the sequence; `channel` is None where the
    number is none's. `address`: a word of an on-chip memory, or a byte of the image. `count` of `of` numbers of the
    task differ. `cycle`: when the word was written, None where it was not, or at a level without cycles. `notes` say
    what else is wrong that may be the cause.
    """

    op: str
    module: str
    task: str
    engine: str
    turn: int
    program: str
    position: int
    tokens: int
    token: int
    channel: int | None
    memory: str
    address: int
    lane: int
    expected: int
    got: int
    count: int
    of: int
    dispatched: int | None = None
    done: int | None = None
    cycle: int | None = None
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        where = f"token {self.token}" + ("" if self.channel is None else f", channel {self.channel}")
        lines = [
            f"'{self.op}' of {self.module or 'the model'}: {where}: expected {self.expected}, got {self.got}; "
            f"{self.count} of {self.of} numbers of the task differ",
            f"task {self.task} (engine {self.engine}) in list {self.turn}: {self.program}, {self.tokens} tokens from "
            f"position {self.position}",
            f"memory {self.memory}, address {self.address:#x}, lane {self.lane}{self._when()}",
        ]
        return "\n".join([*lines, *self.notes])

    def _when(self) -> str:
        if self.done is None:
            return ""
        written = "not changed by the task" if self.cycle is None else f"written in cycle {self.cycle}"
        return f", {written}; the task was dispatched in cycle {self.dispatched}, done in cycle {self.done}"


@dataclass
class Comparison:
    """`levels`: what should be, and what was compared with it. `steps` (tasks) and `numbers` were compared.
    `stopped`: why a level did not come to its end, or what else is unlike."""

    levels: tuple[str, str]
    steps: int = 0
    numbers: int = 0
    cycles: int | None = None
    difference: Difference | None = None
    stopped: str = ""
    wave: str = ""

    @property
    def equal(self) -> bool:
        return self.difference is None and not self.stopped

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"equal": self.equal}

    def __str__(self) -> str:
        cycles = "" if self.cycles is None else f", {self.cycles:,} cycles"
        compared = f"{self.steps:,} tasks, {self.numbers:,} numbers{cycles}"
        pair = f"{self.levels[0]} and {self.levels[1]}"
        if self.equal:
            return f"{pair}: equal ({compared})"
        lines = [f"{pair}: DIFFERENT after {compared}"]
        lines += [f"  {line}" for line in str(self.difference or "").splitlines()]
        lines += [f"  {self.stopped}"] if self.stopped else []
        lines += [f"  waveform in {self.wave}"] if self.wave else []
        return "\n".join(lines)


@dataclass
class DiffResult:
    """`prompt` and `tokens` are ids; tokens those of the transaction level."""

    prompt: list[int]
    tokens: list[int]
    comparisons: Sequence[Comparison]

    @property
    def equal(self) -> bool:
        return all(comparison.equal for comparison in self.comparisons)

    def to_dict(self) -> dict[str, Any]:
        return {
            "equal": self.equal,
            "prompt_ids": self.prompt,
            "token_ids": self.tokens,
            "comparisons": [comparison.to_dict() for comparison in self.comparisons],
        }

    def __str__(self) -> str:
        return "\n".join(map(str, self.comparisons))
