"""A scheduled module as plain data: what simulators, images and reports read. `read.read_plan` makes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.place.buffers import Buffer
from lutllm.lowering.place.layouts import Layout
from lutllm.lowering.place.rounds import Round
from lutllm.lowering.place.space import Region


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
    """One run of an engine, a `lut.task`. `fields` are those of TASK_BITS[engine] but "reserved", addresses for an
    image at 0.

    `cluster` is the label of the cluster it is a part of. `reads` and `writes` name buffers, and the regions that
    change while the accelerator runs (KV caches); a task with a field `start` touches words start .. start + words - 1
    of each buffer only. `waits`: (engine, pending) - dispatched once that engine has at most `pending` unfinished
    tasks. `single`: one token whatever the pass has. `round`, of a linear task, its feed and its sink: the round they
    compute together. `rotations`, of engine heads: the region of RoPE's rows that must be loaded. `source` is the
    PyTorch module, `location` the place of the op in its file. `in_order`: it writes its
    words in their order. `values`: for each buffer or cache that it reads the
    label of the cluster whose result that must hold.
    """

    name: str
    program: str
    engine: str
    cluster: str
    source: str
    fields: dict[str, int] = field(hash=False)
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    waits: tuple[tuple[str, int], ...] = ()
    single: bool = False
    per_token: bool = False
    parameters: Parameters | None = None
    round: str = ""
    rotations: str = ""
    location: str | None = None
    in_order: bool = True
    values: dict[str, str] = field(default_factory=dict, hash=False)

    def span(self, words: int) -> range:
        """The words the task touches of a buffer of `words` words."""
        first = self.fields.get("start")
        return range(words) if first is None else range(first, first + self.fields["words"])


def stream_of(task: Task) -> str | None:
    """The stream that a task gives or takes: y that of a round, e the embedding, n what is normed to be added."""
    if task.round:
        return "y"
    if task.engine == "embed" or task.fields.get("load"):
        return "e"
    return "n" if task.fields.get("after") or task.fields.get("normed") else None


@dataclass(frozen=True)
class Work:
    """What a cluster makes: `value` names the op of its result; `layout` is that of its channels."""

    label: str
    ops: tuple[str, ...]
    source: str
    layout: Layout
    engines: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Everything hardware, simulators and images need but the weights.

    `context` tokens fit the KV caches. `tasks` are in order of dispatch, program by program; `works` are the clusters,
    by program and label.
    """

    config: AcceleratorConfig
    latency: int
    context: int
    vocabulary: int
    regions: dict[str, Region]
    buffers: dict[str, Buffer]
    rounds: dict[str, Round]
    tasks: tuple[Task, ...]
    works: dict[tuple[str, str], Work]
    programs: tuple[str, ...]

    @cached_property
    def _by_program(self) -> dict[str, tuple[Task, ...]]:
        return {name: tuple(task for task in self.tasks if task.program == name) for name in self.programs}

    def program(self, name: str) -> tuple[Task, ...]:
        """The tasks of one program, in order of dispatch. Without one for single tokens, they are passes like
        others."""
        return self._by_program.get(name, self._by_program.get("prefill", ()) if name == "decode" else ())

    def tokens(self, program: str) -> int:
        """Tokens a pass of `program` has at most (of `head`: tokens it works on)."""
        return self.config.tokens if program == "prefill" else 1

    @property
    def memory_bytes(self) -> int:
        """Bytes from address 0 to the end of the last region."""
        return max(region.address + region.size for region in self.regions.values())

    def regions_of(self, kind: str) -> Iterator[Region]:
        return (region for region in self.regions.values() if region.kind == kind)
