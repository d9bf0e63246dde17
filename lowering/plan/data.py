"""The plan: a whole decoder on the accelerator as plain data, what `lut.accelerator`, `lut.buffer`, `lut.task` say.

Three programs of tasks run on one set of engines and one memory map: `prefill` (passes of up to `config.tokens`
tokens), `decode` (passes of one token), `head` (the last token of the pass before it to the next token). A program
starts with every engine idle and ends when every engine is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lutllm.lowering.accelerator import PROGRAMS, AcceleratorConfig
from lutllm.lowering.program import Region, Round

__all__ = ["HEADER", "MEMORIES", "PROGRAMS", "Buffer", "Parameters", "Plan", "Task"]

MEMORIES = ("r", "x", "y", "q")  # on chip
HEADER = "header"  # the region at the image's base


@dataclass(frozen=True)
class Buffer:
    """Words of an on-chip memory: addresses `base` .. `base + size - 1`.

    A pass of T tokens keeps word w of token t at base + w * T + t (memory q: word (head * T + t) * beats + beat);
    `words` is of one token, `size` is `words` times the most tokens of a pass.
    """

    name: str
    memory: str
    base: int
    words: int
    size: int

    @property
    def end(self) -> int:
        return self.base + self.size


@dataclass(frozen=True)
class Parameters:
    """What a task takes of stream p: `beats` beats (a position, where the task is `per_token`) from byte `offset` of
    `region` on, `stride` bytes further for each position."""

    region: str
    beats: int
    offset: int = 0
    stride: int = 0


@dataclass(frozen=True)
class Task:
    """One run of an engine. `fields` are those of TASK_BITS[engine] but "reserved", addresses for an image at 0.

    `reads` and `writes` name buffers, and the regions that change while the accelerator runs (KV caches); a task with
    a field `start` touches words start .. start + words - 1 of each buffer only. `waits`: (engine, pending) -
    dispatched once that engine has at most `pending` unfinished tasks. `single`: one token whatever the pass has.
    `round`, of a linear task, its feed and its sink: the `lut.round` they compute together. `source` is the PyTorch
    module.
    """

    name: str
    program: str
    engine: str
    source: str
    fields: dict[str, int] = field(hash=False)
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    waits: tuple[tuple[str, int], ...] = ()
    single: bool = False
    per_token: bool = False
    parameters: Parameters | None = None
    round: str = ""

    def span(self, words: int) -> range:
        """The words the task touches of a buffer of `words` words."""
        first = self.fields.get("start")
        return range(words) if first is None else range(first, first + self.fields["words"])


@dataclass(frozen=True)
class Plan:
    """Everything hardware, simulators and images need but the weights.

    `context` tokens fit the KV caches. `rounds` name no regions x and y, because their inputs and outputs are on-chip
    streams; a round serves every program that names it. `tasks` are in order of dispatch, program by program.
    `decoder` is the identity of the spec they were made from.
    """

    config: AcceleratorConfig
    context: int
    vocabulary: int
    regions: dict[str, Region]
    buffers: dict[str, Buffer]
    rounds: dict[str, Round]
    tasks: tuple[Task, ...]
    decoder: str = ""

    def program(self, name: str) -> tuple[Task, ...]:
        """The tasks of one program, in order of dispatch."""
        return tuple(task for task in self.tasks if task.program == name)

    def tokens(self, program: str) -> int:
        """Tokens a pass of `program` has at most (of `head`: tokens it works on)."""
        return self.config.tokens if program == "prefill" else 1

    @property
    def memory_bytes(self) -> int:
        """Bytes from address 0 to the end of the last region."""
        return max(region.address + region.size for region in self.regions.values())

    def regions_of(self, kind: str) -> Iterator[Region]:
        return (region for region in self.regions.values() if region.kind == kind)
