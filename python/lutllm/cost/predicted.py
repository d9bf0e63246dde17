"""Predicted cycles: a plan and the passes of a run in, when each task runs out.

Tasks go out in order, each when its descriptor is there, its waits hold and its engine has room; what engines then do,
`kernels` follows step by step. With a memory that answers after `latency` cycles, and never refuses, cycles are those
of hardware, with two clocks too. Left out is where in bursts rows of the embedding begin: that depends on the tokens,
and with two clocks it may be a cycle. It reads no weights.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lutllm.cost import kernels, timing
from lutllm.errors import SimulationError
from lutllm.lowering.hardware.control.sequencer import DISPATCH, END, HEAD_LIST, MODE_CHANGE, NEXT_LIST, PLANNED
from lutllm.lowering.hardware.control.task import START
from lutllm.lowering.hardware.lib.axi import ANSWERED
from lutllm.lowering.hardware.lib.stream import FIFO_LATENCY
from lutllm.lowering.hardware.linear.ports import spread_latency
from lutllm.lowering.hardware.top import LINEAR_ROOM, fifo_depth
from lutllm.lowering.hardware.vector import embed, norm, transfer
from lutllm.lowering.hardware.vector.heads import BEAT_LATENCY, QUERIES_DONE, ROWS_DONE, TABLE_DONE
from lutllm.lowering.machine.accelerator import HEAD_MODES, IMAGE_HEADER, SINKS, WRITERS, AcceleratorConfig
from lutllm.lowering.machine.engine import QUEUE, ROUNDS_AHEAD
from lutllm.lowering.schedule.data import Plan, Task, stream_of
from lutllm.simulate.transactions.passes import Pass
from lutllm.simulate.transactions.records import TaskRecord

_TAKEN = np.empty(0, np.int64)  # no word to wait for
UNITS = ("loader", "distributor", "head", "rows", "builder")  # of LutLinear: those that work on a round's lookups


def predicted(plan: Plan, passes: Sequence[Pass], latency: int | None = None, begin: int = 0) -> list[TaskRecord]:
    """A record for each task of each pass, in order of dispatch; cycles count from the start of the run. `latency` of
    memory is that of the plan's machine, where nothing else is said; `begin`: cycles from where the edges of two clocks
    fell together until the start."""
    chip, found = _Chip(plan.config, plan.latency if latency is None else latency, begin), []
    kernels.command(chip.ports["d"], 0, len(IMAGE_HEADER), 0)
    cycle = kernels.take_all(chip.ports["d"], len(IMAGE_HEADER), 0) + PLANNED
    for turn, each in enumerate(passes):
        list_ = _List(chip, plan.program(each.program), each, turn, cycle)
        found += list_.run()
        after = passes[turn + 1 : turn + 2]
        to_head = each.program != "head" and bool(after) and after[0].program == "head"
        cycle = list_.last + (HEAD_LIST if to_head else NEXT_LIST)
    return found


def run_cycles(records: Sequence[TaskRecord]) -> int:
    """Cycles of a run of these tasks, as the accelerator counts them."""
    return max((record.end for record in records), default=0) + END


class _Chip:
    """What stays from one list to the next."""

    def __init__(self, config: AcceleratorConfig, latency: int, begin: int) -> None:
        self.config = config
        self.ports, self.writers = timing.ports(config, latency, begin), timing.writers(config, latency, begin)
        self.engine, self.heads, self.attention = timing.linear(config), timing.heads(config), timing.attention(config)
        self.linear = timing.linear_state(self.engine)
        self.vector = timing.vector_timings(config)
        self.free: dict[str, int] = defaultdict(int)  # when an engine, or a unit of LutLinear, may hold its next task
        self.banks = deque([0, 0])  # when a bank of LutLinear's sums is free
        self.mode = -1


@dataclass
class _Linear:
    """A round under way: its task, when that went out, its commands by port, and when its queues were left."""

    task: Task
    round: kernels.Round
    words: int
    out: int
    commands: dict[str, int]
    left: list[int]
    begin: int = 0
    end: int = 0


class _List:
    """One run of a task list, from the cycle in which its transfer is asked for."""

    def __init__(self, chip: _Chip, tasks: Sequence[Task], each: Pass, turn: int, cycle: int) -> None:
        self.chip, self.config, self.tasks, self.each, self.turn = chip, chip.config, tasks, each, turn
        kernels.command(chip.ports["d"], cycle, sum(self.config.task_words(task.engine) for task in tasks), 0)
        self.cycle = self.last = cycle
        self.given: dict[str, int] = defaultdict(int)  # tasks of an engine, orders of a stream
        self.held: dict[str, list[int]] = defaultdict(list)  # when an engine holds each of its tasks
        self.done: dict[str, list[int]] = defaultdict(list)  # of tasks; of orders of streams p and y
        self.linears: list[_Linear] = []
        self.fed = 0  # of them
        self.sinks: deque[tuple[Task, int]] = deque()  # that wait for their round, with their dispatch
        self.givers: dict[str, deque[tuple[Task, int]]] = defaultdict(deque)  # whose stream waits for who takes it
        self.p_commands: list[int] = []
        self.written: dict[str, list[np.ndarray]] = defaultdict(list)  # when words of a result are, all tokens of each
        self.records: dict[str, TaskRecord] = {}

    def run(self) -> list[TaskRecord]:
        for task in self.tasks:
            out = self.dispatch(task)
            if task.engine == "linear":
                self.linears.append(self.linear(task, out))
            elif task.engine == "feed":
                self.feed(task, out)
            elif _drains(task):
                self.sinks.append((task, out))
            elif task.engine == "residual" or stream_of(task):
                self.given_task(task, out)
            else:
                self.vector(task, out)
            while self.sinks and len(self.done["linear"]) < self.fed:
                self.drain(*self.sinks.popleft())
        return [self.records[task.name] for task in self.tasks if task.name in self.records]

    def tokens(self, task: Task) -> int:
        return 1 if task.single else self.each.tokens

    def beats(self, task: Task) -> int:
        """Of stream p."""
        if task.parameters is None:
            return 0
        return task.parameters.beats * (self.each.tokens if task.per_token else 1)

    def dispatch(self, task: Task) -> int:
        """When the sequencer hands `task` to its engine."""
        config, p, n = self.config, self.chip.ports["p"], self.given[task.engine]

        def known(what: str, times: list[int], index: int) -> int:
            if index >= len(times):
                raise SimulationError(f"task {task.name}: waits for ever for {what}; plan again")
            return times[index] if index >= 0 else -1  # before the first there is nothing to wait for

        def room(stream: str) -> int:
            index = self.given[stream] - fifo_depth(config, f"{stream}_orders")
            self.given[stream] += 1
            return known(f"stream {stream}", self.done[stream], index) + 1

        ready = [kernels.take_all(self.chip.ports["d"], config.task_words(task.engine), self.cycle + 1) + DISPATCH]
        for engine, pending in task.waits:
            ready.append(known(f"engine {engine}", self.done[engine], self.given[engine] - pending - 1) + 1)
        if task.engine == "linear":
            before = self.linears[n - ROUNDS_AHEAD :][: n >= ROUNDS_AHEAD]
            ready += [cycle + LINEAR_ROOM for round_ in before for cycle in round_.left]
        else:
            ready.append(known(f"engine {task.engine}", self.held[task.engine], n - QUEUE))
        if _drains(task):
            ready.append(room("y"))
        if task.parameters is not None:
            ready.append(room("p"))
            waiting = self.p_commands[-fifo_depth(config, "p_commands") :]
            if len(waiting) == fifo_depth(config, "p_commands"):
                ready.append(p.commands[waiting[0] % kernels.RING, kernels.ACCEPTED] + 1)
        self.cycle = max(ready)
        if task.engine == "linear" and task.fields["mode"] != self.chip.mode:
            self.cycle = max(self.cycle, known("engine linear", self.done["linear"], n - 1) + 1) + MODE_CHANGE
            self.chip.mode = task.fields["mode"]
        if task.parameters is not None:
            first = task.parameters.offset + self.each.position * task.parameters.stride
            place = first // (config.p_bits // 8)
            self.p_commands.append(kernels.command(p, self.cycle + FIFO_LATENCY, self.beats(task), place))
        self.given[task.engine] += 1
        return self.cycle

    def hold(self, engine: str, out: int) -> int:
        """The first cycle in which an engine holds the task that went out at `out`."""
        start = max(out + START, self.chip.free[engine])
        self.held[engine].append(start)
        return start

    def ended(self, task: Task, start: int, end: int, free: int | None = None) -> None:
        """A task is done. Its engine was `free` with that, or before: it then began when the task before was done."""
        begin = max([start - START, *self.done[task.engine][-1:]])
        self.done[task.engine].append(end)
        if self.beats(task):
            self.done["p"].append(self.chip.ports["p"].state[kernels.POPPED_AT])
        self.chip.free[task.engine] = (end if free is None else free) + START
        self.last = max(self.last, end)
        self.record(task, begin, end)

    def record(self, task: Task, start: int, end: int) -> None:
        at = int(start), int(end)
        found = TaskRecord(task.engine, task.name, task.source, task.program, *at, self.turn, task.cluster)
        self.records[task.name] = found

    def linear(self, task: Task, out: int) -> _Linear:
        """Its transfers are asked for; the rest comes with its feed."""
        engine, lanes, f = self.chip.engine, self.config.lanes, task.fields
        sizes = (f[name] for name in ("stages", "groups", "blocks", "block_chunks", "last_chunks"))
        r = kernels.Round(f["mode"], self.tokens(task), *sizes)
        chunks = (r.blocks - 1) * r.block_chunks + r.last_chunks
        words = chunks * self.config.engine.lanes // lanes
        rows = engine.table_units if r.source == kernels.STORED_TABLE else engine.codebook_units
        searched = engine.centroid_words * (r.source != kernels.EXACT_ROW)
        beats = {
            "c": r.groups * (1 + searched) * engine.c_beats,
            "q": words * engine.q_beats,
            "w0": r.groups * r.stages * (r.blocks * rows + chunks * engine.codes_units),
        }
        seen = out + FIFO_LATENCY
        late = {"w0": spread_latency(self.config.engine.weight_ports)}
        commands = {
            name: kernels.command(self.chip.ports[name], seen + late.get(name, 0), n, 0) for name, n in beats.items()
        }
        return _Linear(task, r, words, out, commands, [])

    def queues(self, own: _Linear, units: Sequence[str]) -> list[int]:
        """When units hold the round, whose queues they left a cycle before, as did those of transfers."""
        held = [max(own.out + START, self.chip.free[unit]) for unit in units]
        own.left += [cycle - 1 for cycle in held]
        return held

    def accepted(self, own: _Linear, *ports: str) -> None:
        for name in ports:
            command = self.chip.ports[name].commands[own.commands[name] % kernels.RING]
            own.left.append(command[kernels.ACCEPTED])

    def feed(self, task: Task, out: int) -> None:
        """The round's lookups, from its inputs on."""
        if self.fed >= len(self.linears):
            raise SimulationError(f"task {task.name}: waits for ever for engine linear; plan again")
        chip, own, start = self.chip, self.linears[self.fed], self.hold("feed", out)
        held = self.queues(own, UNITS)
        bank, (label,) = chip.banks.popleft() + chip.engine.bank_drained, task.values.values()
        rows = np.concatenate(self.written[label]) if task.fields["takes"] else _TAKEN
        x, *ends, own.end = kernels.look_up(
            chip.engine, chip.linear, own.round, chip.ports["c"], chip.ports["w0"],
            held[0], held[1], held[2], held[3], held[4], start, bank, rows,
        )  # fmt: skip
        self.accepted(own, "c", "w0")
        for unit, end in zip(("loader", "distributor", "builder", "rows"), ends, strict=True):
            chip.free[unit] = end + START
        chip.free["head"] = own.end + START
        own.begin = max(start - START, own.out)
        self.fed += 1
        self.ended(task, start, x)

    def drain(self, task: Task, out: int) -> None:
        """A round's results, into its sink."""
        chip, own, done = self.chip, self.linears[len(self.done["linear"])], self.done["linear"]
        (held,) = self.queues(own, ("requantizer",))
        start, f, saves = self.hold(task.engine, out), task.fields, task.engine == "save"
        sent = 0
        if saves:
            skipped = self.each.position * f["row_words"] + f["start"] * own.round.tokens
            place = f["address"] // (self.config.save_bits // 8) + skipped
            sent = kernels.begin(chip.writers["y"], start + transfer.SETTLE, place)
        unit = chip.vector[task.engine]
        read, ends = kernels.drain(
            chip.engine, chip.linear, own.words, own.round.tokens, chip.ports["q"],
            max(held, own.end + chip.engine.summed), start + unit.first, chip.ports["p"], self.beats(task) > 0,
            chip.writers["y"], saves,
        )  # fmt: skip
        self.accepted(own, "q")
        taken = self.steps_end(task, ends, unit.last)
        chip.free["requantizer"] = read + START
        chip.banks.append(read)
        self.record(own.task, max([own.begin, *done[-1:]]), taken)
        done.append(taken)
        self.done["y"].append(taken)
        end = max(taken + unit.last, sent)
        answer = chip.writers["y"].state[kernels.W_ANSWER] + ANSWERED
        self.ended(task, start, answer if saves else end, end)

    def given_task(self, task: Task, out: int) -> None:
        """A task that gives stream e or n, then the one of residual that takes it."""
        stream = stream_of(task) or ""
        if task.engine != "residual":
            self.givers[stream].append((task, out))
            return
        if not self.givers[stream]:
            raise SimulationError(f"task {task.name}: waits for ever for who gives stream {stream}; plan again")
        giver, given = self.givers[stream].popleft()
        first = self.hold(giver.engine, given)
        (self.normed if stream == "n" else self.embed)(giver, first, task, self.hold("residual", out))

    def normed(self, giver: Task, first: int, task: Task, start: int) -> None:
        """What a linear left, normed, to the residual stream."""
        chip, tokens, units = self.chip, self.tokens(giver), self.chip.vector
        begin = first + units["norm"].first + units["norm"].rows * tokens
        made, last = kernels.steps(
            chip.ports["p"], begin, giver.fields["words"], tokens, start + units["residual"].first,
            norm.normed(self.config), norm.n_depth(self.config), giver.fields.get("biased", 0),
        )  # fmt: skip
        self.ended(giver, first, made[-1] + units["norm"].last)
        self.ended(task, start, last + units["residual"].last)

    def embed(self, giver: Task, first: int, task: Task, start: int) -> None:
        """Embeddings to the residual stream."""
        chip, unit = self.chip, self.chip.vector["residual"]
        last = kernels.embed(
            chip.ports["e"], first, start + unit.first, self.tokens(giver), giver.fields["words"],
            embed.COMMAND_LATENCY + FIFO_LATENCY, embed.WORD_LATENCY + FIFO_LATENCY,
            embed.rows_depth(self.config), embed.e_depth(self.config),
        )  # fmt: skip
        self.ended(giver, first, last)
        self.ended(task, start, last + unit.last)

    def vector(self, task: Task, out: int) -> None:
        """A task that takes neither of LutLinear's streams."""
        start, f, tokens, p = self.hold(task.engine, out), task.fields, self.tokens(task), self.chip.ports["p"]
        if task.engine == "heads":
            end = self.heads(task, start)
        elif task.engine == "attention":
            end = self.attention(task, start)
        else:
            unit = self.chip.vector[task.engine]
            if task.engine == "norm":
                rows = 1 if f["last"] else tokens
                begin = start + unit.first + unit.rows * rows
                ends, _ = kernels.steps(p, begin, f["words"], rows, begin, 0, 1, f.get("biased", 0))
            else:
                x = self.chip.ports["x"]
                place = f["address"] // (self.config.load_bits // 8) + self.each.position * f["words"]
                kernels.command(x, start + transfer.SETTLE, f["words"] * tokens, place)
                ends = kernels.load(x, start + unit.first, f["words"], tokens)
            end = self.steps_end(task, ends, unit.last) + unit.last
        self.ended(task, start, end)

    def heads(self, task: Task, start: int) -> int:
        f, chip, tokens, mode = task.fields, self.chip, self.tokens(task), HEAD_MODES[task.fields["mode"]]
        words, beat, writer = f["head_words"], self.config.kv_bits // 8, self.chip.writers["kv"]
        if mode == "rotations":
            return int(kernels.steps(chip.ports["p"], start, words * tokens, 1, start)[1]) + TABLE_DONE
        rows, size = mode in ("key", "value"), tokens * words
        place, stride = f["address"] // beat + self.each.position * words // chip.heads.ratio, f["head_stride"] // beat
        if self.config.attention_ports > 1:  # a command for each part of a row, which no burst's end cuts
            size, place, stride = self.config.part_bits // (8 * self.config.lanes), 0, 0
        last = kernels.heads(
            chip.heads, chip.ports["p"], start, f["heads"], tokens, words, bool(f["norm"]), bool(f.get("whole")),
            writer, rows, size, place, stride,
        )  # fmt: skip
        if rows:
            return writer.state[kernels.W_ANSWER] + ANSWERED + ROWS_DONE
        return last + BEAT_LATENCY + QUERIES_DONE

    def attention(self, task: Task, start: int) -> int:
        f, chip, a, beat = task.fields, self.chip, self.chip.attention, self.config.kv_bits // 8
        first = range(0, self.config.attention_units * self.config.attention_ports, self.config.attention_ports)
        k, v = (tuple(chip.ports[f"{name}{i}"] for i in first) for name in "kv")  # those of a unit move together
        skipped = self.config.skipped_groups(self.each.position, f)
        places = tuple(f[name] // beat + skipped * f["beats"] * a.port_beats for name in ("keys", "values"))
        ends = kernels.attend(
            a, k, v, chip.ports["p"], start + a.first, f["kv_heads"], f["items"], f["reps"], f["beats"],
            self.tokens(task), self.each.position - skipped * a.rows, places, f["head_stride"] // beat,
        )  # fmt: skip
        return self.steps_end(task, ends, a.done) + a.done

    def steps_end(self, task: Task, ends: np.ndarray, done: int) -> int:
        """The last of an engine's steps, `done` cycles before its task is; where it writes memory x, a feed may follow
        from the cycle before that on."""
        if task.engine in WRITERS["x"]:
            self.written[task.cluster].append(ends + done - 1)
        return int(ends[-1])


def _drains(task: Task) -> bool:
    """Whether a task takes the results of a round."""
    return task.engine in SINKS and bool(task.round)
