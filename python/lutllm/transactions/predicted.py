"""Predicted cycles: a plan and the passes of a run in, when each task would run out. An estimate, not a simulation.

Tasks go out in their order, each when its descriptor is there, its waits hold and its engine has room; engines make a
step a cycle where their streams allow (`kernels`, with the constants that units of hardware declare). What is left out:
where rows of the embedding lie in bursts, and the writers' queues. It reads no weights.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from lutllm.errors import SimulationError
from lutllm.lowering.accelerator import HEAD_MODES, IMAGE_HEADER, PARAMETERIZED, SINKS
from lutllm.lowering.accelerator_hw.head_roots import root_latency, roots_depth
from lutllm.lowering.accelerator_hw.heads import kv_depth
from lutllm.lowering.plan.data import Plan, Task
from lutllm.lowering.plan.decoder import descriptor_words
from lutllm.transactions import kernels, timing
from lutllm.transactions.passes import Pass
from lutllm.transactions.records import TaskRecord

LATENCY = 64
SETTLE = 4  # from a descriptor's last word until it goes out
QUEUE = 2
START = 2
ORIGIN = 2


@dataclass
class _Linear:
    """A round: its task, when it went out, when each unit takes it, and what is known of its end."""

    task: Task
    out: int
    commands: dict[str, int] = field(default_factory=dict)
    took: list[int] = field(default_factory=list)
    end: int = -1  # the last lookup
    begin: int = -1


class _Accelerator:
    def __init__(self, plan: Plan, passes: Sequence[Pass], latency: int) -> None:
        self.plan, self.config, self.latency = plan, plan.config, latency
        counts = defaultdict(int, d=1)
        for each in passes:
            counts["d"] += 1
            for task in plan.program(each.program):
                counts["linear"] += task.engine == "linear"
                counts["p"] += task.parameters is not None
                counts["e"] += each.tokens if task.engine == "embed" else 0
                counts["k"] += task.fields["kv_heads"] * task.fields["items"] if task.engine == "attention" else 0
                counts["x"] += task.engine == "load"
        counts |= {"c": counts["linear"], "q": counts["linear"], "w": counts["linear"], "v": counts["k"]}
        names = {"w0": "w", "d": "d", "p": "p", "c": "c", "q": "q", "e": "e", "k": "k", "v": "v", "x": "x"}
        there = set(timing.read_ports(self.config))
        self.ports = {
            short: timing.port(self.config, name, latency, max(1, counts[short])) for name, short in names.items() if name in there
        }
        self.ports.setdefault("p", kernels.make_port(1, 1, 1, 1))
        self.engine = timing.linear(self.config)
        self.state = kernels.make_linear(self.engine)
        self.attention = timing.attention(self.config)
        self.free = dict(loader=0, distributor=0, head=0, build=0, drain=0)
        self.busy: dict[str, int] = defaultdict(int)  # when an engine is free to begin a task
        self.mode = -1
        self.banks = [-1000, -1000]
        self.p_accept: list[int] = []


def predicted(plan: Plan, passes: Sequence[Pass], latency: int = LATENCY) -> list[TaskRecord]:
    chip, found = _Accelerator(plan, passes, latency), []
    d = chip.ports["d"]
    kernels.command(d, 1, len(IMAGE_HEADER), 0)
    at = 0
    for _ in range(len(IMAGE_HEADER)):
        at = kernels.take(d, at + 1)
    cycle = at + 2 + 1
    for turn, each in enumerate(passes):
        list_ = _List(chip, each, turn, cycle)
        found += list_.run()
        cycle = list_.last + (4 if each.program == "head" or (turn + 1 < len(passes) and passes[turn + 1].program != "head") else 3)
    return found


class _List:
    """One run of a task list, from the cycle its transfer is asked for."""

    def __init__(self, chip: _Accelerator, each: Pass, turn: int, fetch: int) -> None:
        self.chip, self.plan, self.each, self.turn = chip, chip.plan, each, turn
        self.config = chip.config
        self.tasks = self.plan.program(each.program)
        words = sum(descriptor_words(task, self.config) for task in self.tasks)
        kernels.command(chip.ports["d"], fetch, words, 0)
        self.at = fetch
        self.done: dict[str, list[int]] = defaultdict(list)
        self.given: dict[str, int] = defaultdict(int)
        self.taken: dict[str, list[int]] = defaultdict(list)
        self.linears: list[_Linear] = []
        self.fed = 0
        self.sinks: deque[tuple[int, Task, int]] = deque()
        self.times: dict[int, tuple[int, int]] = {}
        self.last = fetch
        self.e_start = 0

    def run(self) -> list[TaskRecord]:
        places = [i for i, task in enumerate(self.tasks) if task.engine == "linear"]
        for i, task in enumerate(self.tasks):
            out = self.dispatch(task)
            self.given[task.engine] += 1
            if task.engine == "linear":
                self.linear(task, out)
                continue
            start = max(out + START, self.chip.busy[task.engine])
            if task.engine == "feed":
                self.times[i] = start, self.feed(start)
            elif task.engine in SINKS and not task.fields.get("load"):
                self.sinks.append((i, task, start))
                self.drain(places)
                continue
            else:
                end, free = self.timed(task, start)
                self.times[i] = start, end
                self.chip.busy[task.engine] = free
            self.ended(task.engine, self.times[i][1])
            if task.engine == "feed":
                self.drain(places)
        return [self.record(self.tasks[i], *self.times[i]) for i in sorted(self.times)]

    def ended(self, engine: str, end: int) -> None:
        self.done[engine].append(end)
        self.last = max(self.last, end)
        if engine not in ("linear", "save"):
            self.chip.busy[engine] = end + START

    def record(self, task: Task, start: int, end: int) -> TaskRecord:
        return TaskRecord(task.engine, task.name, task.source, task.program, start, end, self.turn)

    def tokens(self, task: Task) -> int:
        return 1 if task.single else self.each.tokens

    def finished(self, task: Task, engine: str, left: int) -> int:
        """When at most `left` of an engine's tasks so far are unfinished."""
        index = self.given[engine] - left - 1
        if index < 0:
            return 0
        if index >= len(self.done[engine]):
            raise SimulationError(f"task {task.name}: waits for ever for engine {engine}; plan again")
        return self.done[engine][index] + 1

    def dispatch(self, task: Task) -> int:
        """When the sequencer hands `task` to its engine."""
        for _ in range(descriptor_words(task, self.config)):
            self.at = kernels.take(self.chip.ports["d"], self.at + 1)
        waits = [self.finished(task, engine, pending) for engine, pending in task.waits]
        if task.engine == "linear":
            waits.append(self.linear_room())
            if task.fields["mode"] != self.chip.mode:
                waits.append(self.finished(task, "linear", 0) + 1)
                self.chip.mode = task.fields["mode"]
        elif self.given[task.engine] > QUEUE:
            waits.append(self.finished(task, task.engine, QUEUE) + 1)
        self.at = max(self.at + SETTLE, *waits, 0)
        if task.parameters is not None:
            p = task.parameters
            size = self.config.p_bits // 8
            place = (p.offset + self.each.position * p.stride) // size
            kernels.command(self.chip.ports["p"], self.at + 1, self.beats(task), place)
        return self.at

    def beats(self, task: Task) -> int:
        if task.parameters is None:
            return 0
        return task.parameters.beats * (self.each.tokens if task.per_token else 1)

    def linear_room(self) -> int:
        n = len(self.linears) - QUEUE
        if n < 0:
            return 0
        return max(self.linears[n].took, default=0) + 1

    def linear(self, task: Task, out: int) -> None:
        chip, e = self.chip, self.chip.engine
        r = _round(task, self.tokens(task))
        chunks = (r.blocks - 1) * r.block_chunks + r.last_chunks
        rows = e.table_units if r.source == 3 else e.codebook_units
        own = _Linear(task, out)
        beats = {
            "c": r.groups * (1 + (e.centroid_words if r.source else 0)) * e.c_beats,
            "q": chunks * self.config.engine.lanes // self.config.lanes * e.q_beats,
            "w": r.groups * r.stages * (r.blocks * rows + chunks * e.codes_units),
        }
        for name, count in beats.items():
            own.commands[name] = int(chip.ports[name].state[kernels.COMMANDS])
            kernels.command(chip.ports[name], out + 1, count, 0)
        self.linears.append(own)

    def feed(self, start: int) -> int:
        """The round's lookups, from its feed on; returns when the feed is through."""
        chip, own = self.chip, self.linears[self.fed]
        self.fed += 1
        take = {name: max(own.out + 1, chip.free[name] - 1) for name in ("loader", "distributor", "head", "build")}
        own.took = list(take.values())
        x, c, w, built, issued = kernels.look_up(
            chip.engine, chip.state, _round(own.task, self.tokens(own.task)), chip.ports["c"], chip.ports["w"],
            *(take[name] + 1 for name in ("loader", "distributor", "head", "build")), start, chip.banks[0] + chip.engine.bank_drained,
        )
        chip.banks.pop(0)
        chip.free |= dict(loader=c + 2, distributor=w + 2, head=issued + 2, build=built + 2)
        own.took += [chip.ports[n].commands[own.commands[n], kernels.ACCEPTED] for n in ("c", "w")]
        own.begin, own.end = max(start, own.out), issued
        return x

    def drain(self, places: list[int]) -> None:
        """Sinks whose rounds are fed."""
        while self.sinks and len(self.done["linear"]) < self.fed:
            i, task, start = self.sinks.popleft()
            chip, own = self.chip, self.linears[len(self.done["linear"])]
            r = _round(own.task, self.tokens(own.task))
            chunks = (r.blocks - 1) * r.block_chunks + r.last_chunks
            words = chunks * self.config.engine.lanes // self.config.lanes
            begin = max(own.out + 1, chip.free["drain"] - 1)
            own.took.append(begin)
            after = ORIGIN if task.engine in ("residual", "store", "swiglu") else 0
            read, taken = kernels.drain(
                chip.engine, chip.state, words, r.tokens, chip.ports["q"], chip.ports["p"],
                max(begin + 1, own.end + chip.engine.summed), start + after, self.beats(task) > 0,
            )
            own.took.append(chip.ports["q"].commands[own.commands["q"], kernels.ACCEPTED])
            chip.free["drain"] = read + 2
            chip.banks.append(read)
            self.times[places[len(self.done["linear"])]] = own.begin, taken
            self.ended("linear", taken)
            lanes = self.config.lanes
            fill = {"residual": 9, "store": 2, "swiglu": 17, "pick": lanes.bit_length() - 1 + 2}
            if task.engine == "save":
                last = (words * r.tokens - 1) % 16 + 1
                end = taken + 2 + last + self.chip.latency + 1
                chip.busy["save"] = taken + 1 + START
            else:
                end = taken + fill[task.engine]
            self.times[i] = start, end
            self.ended(task.engine, end)

    def timed(self, task: Task, start: int) -> tuple[int, int]:
        """When a task ends, and when its engine may begin the next."""
        f, chip, tokens = task.fields, self.chip, self.tokens(task)
        p = chip.ports["p"]
        if task.engine == "norm":
            rows = 1 if f["last"] else tokens
            last = kernels.steps(p, start + rows + 10, f["words"], rows, True)
            end = last + 13
        elif task.engine == "heads":
            end = self.heads(task, start)
        elif task.engine == "attention":
            end = self.attend(task, start)
        elif task.engine == "embed":
            e = chip.ports["e"]
            for i in range(tokens):
                kernels.command(e, start + i + 7, f["words"] + 1, 0)
            self.e_words = []
            at = start - 1
            for i in range(tokens):
                at = kernels.take(e, at + 1)
                for _ in range(f["words"]):
                    at = kernels.take(e, at + 1)
                    self.e_words.append(at + 5)
            end = at + 5
        elif task.engine == "residual":
            at = start + ORIGIN - 1
            for there in self.e_words:
                at = max(at + 1, there)
            end = at + 9
            self.last_e = at
            self.times_embed(at)
        elif task.engine == "load":
            x = chip.ports["x"]
            kernels.command(x, start + 2, f["words"] * tokens, 0)
            at = start - 1
            for _ in range(f["words"] * tokens):
                at = kernels.take(x, at + 1)
            end = at + 2
        else:
            raise AssertionError(task.engine)
        return end, end + START

    def times_embed(self, at: int) -> None:
        self.done["embed"][-1] = at

    def heads(self, task: Task, start: int) -> int:
        f, tokens, p, config = task.fields, self.tokens(task), self.chip.ports["p"], self.config
        mode = HEAD_MODES[f["mode"]]
        if mode == "rotations":
            return kernels.steps(p, start, f["head_words"] * tokens, 1, True) + 1
        ratio = config.head_lanes // config.lanes
        room = 0 if mode == "query" else config.depths.get("kv", kv_depth(ratio))
        from lutllm.lowering.accelerator_hw.heads import BEAT_LATENCY
        last = kernels.heads(
            p, start, f["heads"] * tokens, tokens, f["head_words"], bool(f["norm"]), root_latency(config), roots_depth(config), ratio, room, BEAT_LATENCY + 1,
        )
        if mode == "query":
            return last + BEAT_LATENCY + 1
        beats = f["head_words"] * tokens // ratio
        burst = (beats - 1) % 16 + 1
        return last + BEAT_LATENCY + 1 + 2 + burst + self.chip.latency + 2

    def attend(self, task: Task, start: int) -> int:
        f, chip = task.fields, self.chip
        items, tokens, position = f["kv_heads"] * f["items"], self.tokens(task), self.each.position
        for name in ("k", "v"):
            for _ in range(items):
                kernels.command(chip.ports[name], start + 3, f["beats"] * (position + tokens), 0)
        last = kernels.attend(
            chip.attention, chip.ports["k"], chip.ports["v"], chip.ports["p"], start + 3, items, f["reps"], f["beats"],
            self.config.head_lanes // self.config.lanes, tokens, position,
        )
        return last + 15


def _round(task: Task, tokens: int) -> kernels.Round:
    f = task.fields
    return kernels.Round(f["mode"], tokens, f["stages"], f["groups"], f["blocks"], f["block_chunks"], f["last_chunks"])


def total_cycles(records: Sequence[TaskRecord]) -> int:
    """Cycles of a run until the last task is done."""
    return max((record.end for record in records), default=0)
