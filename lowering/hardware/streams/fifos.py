"""The FIFOs of the whole accelerator as data: who fills and empties them, at which rate, how long a slot is held.

In: an `AcceleratorConfig` and the memory latency to hide, in cycles. Out: a `Fifo` for each; `stream_depths` chooses
and proves their depths from it. Latencies and usual depths are those that the units' files declare.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from lutllm.lowering.hardware.attention.attention import attention_timing
from lutllm.lowering.hardware.control.records import task_record
from lutllm.lowering.hardware.lib.axi import READ, WRITE, burst_limit
from lutllm.lowering.hardware.lib.crossing import crossing_cycles
from lutllm.lowering.hardware.lib.route import COUNT_BITS
from lutllm.lowering.hardware.lib.stream import FIFO_LATENCY
from lutllm.lowering.hardware.linear.core import linear_timing
from lutllm.lowering.hardware.linear.front import JOBS, job_bits
from lutllm.lowering.hardware.linear.psum import codebook_depth
from lutllm.lowering.hardware.linear.records import ROUND
from lutllm.lowering.hardware.linear.requantize import results_depth
from lutllm.lowering.hardware.top import fifo_depth
from lutllm.lowering.hardware.vector import embed, feed, norm
from lutllm.lowering.hardware.vector.head_roots import ROOT_ROW_BITS, root_latency, roots_depth
from lutllm.lowering.hardware.vector.heads import BEAT_LATENCY, kv_depth
from lutllm.lowering.machine.accelerator import PARAMETERIZED, RIGHT_BITS, SINKS, AcceleratorConfig
from lutllm.lowering.machine.engine import QUEUE, ROUNDS_AHEAD, EngineConfig
from lutllm.numerics import bits_for
from lutllm.quantization import NORM_BITS

COMMAND_BITS = 96  # address and beats

# (earlier, later): who begins with a task, and what that task's dispatch asks for: never before it.
STARTS = (("squares", "memory p"),)


@dataclass(frozen=True)
class Fifo:
    """One FIFO, or `copies` alike that move together, of words of `bits`.

    A word takes its slot when `producer` counts on it, and gives it back `hold` cycles after a consumer got it, which
    is at least `latency` cycles after the producer's turn. `rate`: words a cycle at most, in the long run. `slack`:
    slots beside those that the rate fills. `atomic`: words that must fit at once, or nothing moves. The depth is a
    multiple of `unit` and at least `ahead`, what a target wants to have here before it is needed; where not `sized`, it
    is what it is. `registers` hold how full it is.
    """

    name: str
    producer: str
    consumers: tuple[str, ...]
    bits: int
    depth: int
    registers: tuple[str, ...]
    rate: Fraction = Fraction(0)
    latency: int = 0
    hold: int = 1
    slack: int = 0
    atomic: int = 1
    unit: int = 1
    ahead: int = 1
    copies: int = 1
    sized: bool = True

    def words(self, lag: Fraction | int) -> Fraction:
        """Slots that must be there for a consumer that runs `lag` cycles behind the producer."""
        return self.rate * (lag + self.hold) + self.slack

    @property
    def least(self) -> int:
        """The smallest depth that meets every obligation of this FIFO alone."""
        needed = max(ceil(self.words(self.latency)), self.atomic, self.ahead)
        return -(-needed // self.unit) * self.unit

    @property
    def lag(self) -> Fraction | None:
        """The largest lag that the depth allows; None: any."""
        return (self.depth - self.slack) / self.rate - self.hold if self.rate else None


def fifos(config: AcceleratorConfig, latency: int) -> list[Fifo]:
    """Every FIFO of the accelerator, with the depth it has."""
    if config.clocks is not None:
        widest = max([*config.read_ports.values(), *config.write_ports.values()])
        latency += crossing_cycles(*config.clocks.periods, widest // config.bus_bits(widest))
    found = [*_readers(config, latency), *_parameters(config), *_linear(config)]
    if "heads" in config.engines:
        found += _heads(config, latency)
    if "embed" in config.engines:
        found += _embedding(config)
    if "norm_after" in config.modes:
        # To residual, in tasks that take nothing else: they start when they want.
        bits, depth = config.lanes * NORM_BITS, norm.n_depth(config)
        found.append(
            Fifo("n", "norm", ("added",), bits, depth, ("norm/normed/count",), Fraction(1), norm.normed(config))
        )
    if "save" in config.engines:
        found += _saving(config, latency)
    return [*found, *_given(config)]


def _readers(config: AcceleratorConfig, latency: int) -> Iterator[Fifo]:
    """Ports of memory: a burst is asked for when a whole one fits, and its slots are held from then on."""
    engine, ports = config.engine, config.read_ports
    weights = engine.weight_streams
    rows = {name: [f"{name}{i}" for i in range(config.attention_units * config.attention_ports)] for name in "kv"}
    consumers = {
        "d": ("sequencer",), "p": config.having(PARAMETERIZED), "c": ("search",), "q": ("drain",),
        "w": ("weights",), "e": ("embed",), "k": ("scores",), "v": ("weighted",), "x": ("load",),
    }  # fmt: skip
    for port, users in consumers.items():
        names = {"w": weights, "k": rows["k"], "v": rows["v"]}.get(port, [port])
        if names[0] not in ports:
            continue
        bits = ports[names[0]]
        burst = burst_limit(bits, config.burst_beats(bits))
        rate, group = _centroid_rate(engine) if port == "c" else (Fraction(1), 0)
        yield Fifo(
            f"read_{port}", f"memory {port}", users, bits,
            fifo_depth(config, f"read_{port}"),
            tuple(f"read_{name}/data_queue/count" for name in names),
            rate=min(rate, config.port_rate(bits)), latency=latency + READ,
            slack=burst - 1 + (group if rate < 1 else 0), atomic=burst, unit=burst,
            copies=len(names),
        )  # fmt: skip


def _centroid_rate(engine: EngineConfig) -> tuple[Fraction, int]:
    """(beats a cycle of stream c, beats of a group) where it is wanted fastest: one block of one chunk and one token.
    A group then takes as long as its units at a weight port; beats come all at once, then none."""
    fastest, beats = Fraction(0), 0
    for source in engine.row_sources:
        rows = engine.table_units if source == "stored_table" else engine.codebook_units
        words = 1 if source == "exact_row" else 1 + engine.chain_length
        beats = max(beats, words * engine.word_beats("c"))
        fastest = max(fastest, Fraction(words * engine.word_beats("c"), rows + engine.codes_units))
    return min(fastest, Fraction(1)), beats


def _parameters(config: AcceleratorConfig) -> Iterator[Fifo]:
    """Commands and orders of streams p and y: one waits no longer than its task, so that of as many as tasks may be
    about, none keeps the sequencer from an engine that has room."""
    for name, engines in (("p", PARAMETERIZED), ("y", SINKS)):
        users = config.having(engines)
        slack = len(users) * (QUEUE + 1)
        if name == "p" and users:
            yield Fifo(
                "p_commands", "sequencer", ("memory p",), COMMAND_BITS, fifo_depth(config, "p_commands"),
                ("p_commands/count",), slack=slack,
            )  # fmt: skip
        if users:
            way, depth = bits_for(len(users)) + COUNT_BITS, fifo_depth(config, f"{name}_orders")
            registers = (f"route_{name}/orders/count",)
            yield Fifo(f"{name}_orders", "sequencer", users, way, depth, registers, slack=slack)


def _linear(config: AcceleratorConfig) -> Iterator[Fifo]:
    """Around and in LutLinear. One token is where weights are wanted fastest: a chunk of codes for every beat. What
    codes and codebooks hold beyond that are weights of the next round, not to be waited for: a target's choice."""
    engine, depths, timing = config.engine, config.depths, linear_timing(config.engine)
    yield Fifo(
        "x", "feed", ("search",), engine.word_bits["x"], feed.x_depth(config), ("feed/words/count",),
        rate=Fraction(1, config.joined_words), latency=feed.LATENCY, slack=int(config.joined_words > 1),
    )  # fmt: skip
    pairs = range(engine.pairs)
    yield Fifo(
        "codes", "weights", ("lookup",), engine.lanes * engine.code_bits, engine.codes_depth,
        tuple(f"linear/psum_{i}/codes/count" for i in pairs),
        rate=Fraction(1, engine.codes_units), latency=timing["weights_there"], hold=timing["codes_room"], atomic=2,
        ahead=engine.codes_depth, copies=engine.pairs,
    )  # fmt: skip
    if engine.builds_rows:
        yield Fifo(
            "codebooks", "weights", ("lookup",), engine.row_entries * 2 * engine.weight_bits,
            codebook_depth(engine, depths),
            tuple(f"linear/psum_{i}/codebook_fifo/count" for i in pairs),
            rate=Fraction(1, engine.codebook_units + engine.codes_units), latency=timing["weights_there"],
            hold=engine.codes_units + timing["codebook_room"], slack=1,
            ahead=engine.codebooks_ahead, copies=engine.pairs,
        )  # fmt: skip
    yield Fifo(
        "results", "drain", config.having(SINKS), engine.word_bits["y"], results_depth(depths),
        ("linear/requantizer/results/count",), rate=Fraction(1), latency=timing["drained"],
    )  # fmt: skip


def _heads(config: AcceleratorConfig, latency: int) -> Iterator[Fifo]:
    """From engine heads to the cache, in beats of `kv_words`. The shortest row is one beat of attention, of `ratio`."""
    ratio = config.head_lanes // config.lanes
    burst = burst_limit(config.kv_bits, config.burst_beats(config.kv_bits))
    rows, beats = Fraction(1, ratio), Fraction(1, config.kv_words)
    commands = rows * config.row_parts  # at most: of one token, or of a part of a row where there are several ports
    # Squares take a word a cycle until the first values come, which wait for parameters too: memory latency away.
    yield Fifo(
        "roots", "squares", ("heads",), ROOT_ROW_BITS, roots_depth(config), ("heads/roots/roots/count",),
        rate=rows, latency=ratio - 1 + root_latency(config), hold=ratio,
    )  # fmt: skip
    yield Fifo(
        "kv", "heads", ("cache",), config.kv_bits, kv_depth(config), ("heads/beats/count",),
        rate=beats, latency=config.kv_words + BEAT_LATENCY,
    )  # fmt: skip
    yield Fifo(
        "write_kv", "cache", ("memory kv",), config.kv_bits, fifo_depth(config, "write_kv"),
        ("write_kv/data_queue/count",), rate=beats, latency=WRITE, slack=burst, atomic=burst,
    )  # fmt: skip
    yield Fifo(  # responses of bursts of a row, and their lengths
        "responses", "memory kv", ("written",), 1 + bits_for(burst + 1),
        fifo_depth(config, "responses"), ("write_kv/response_queue/count",),
        rate=max(commands, beats / burst), latency=latency + WRITE,
    )  # fmt: skip


def _embedding(config: AcceleratorConfig) -> Iterator[Fifo]:
    """A row is a beat and at least one more."""
    yield Fifo(
        "rows", "ids", ("memory e",), 64, embed.rows_depth(config), ("embed/commands/count",),
        rate=Fraction(1, 2), latency=embed.COMMAND_LATENCY + FIFO_LATENCY,
    )  # fmt: skip
    yield Fifo(
        "e", "embed", ("residual",), config.word_bits("r"), embed.e_depth(config),
        ("embed/words/count",), rate=Fraction(1), latency=embed.WORD_LATENCY + FIFO_LATENCY,
    )  # fmt: skip


def _saving(config: AcceleratorConfig, latency: int) -> Iterator[Fifo]:
    """From engine save to memory: a word of stream y a cycle. A transfer's first and last burst may be short."""
    burst = burst_limit(config.save_bits, config.burst_beats(config.save_bits))
    yield Fifo(
        "write_y", "save", ("memory y",), config.save_bits, fifo_depth(config, "write_y"),
        ("write_y/data_queue/count",), rate=Fraction(1), latency=WRITE, slack=burst, atomic=burst,
    )  # fmt: skip
    yield Fifo(
        "y_responses", "memory y", ("saved",), 1 + bits_for(burst + 1),
        fifo_depth(config, "y_responses"), ("write_y/response_queue/count",),
        rate=Fraction(1, burst), latency=latency + WRITE, slack=2,
    )  # fmt: skip


def _given(config: AcceleratorConfig) -> Iterator[Fifo]:
    """What has no depth to choose.

    Tasks, rounds and the transfers of rounds: the order of tasks and the descriptors' waits count on so many. Jobs of
    the front end: at most as many as operand banks, and one is taken every group. Of the two addresses of each
    master there is no row: memory that refuses them for long limits the rate, not they.
    """
    engine = config.engine
    ports = engine.weight_streams
    for name in config.engines[1:]:
        registers: tuple[str, ...] = (f"{name}_tasks/count",)
        bits = task_record(config, name).width
        yield Fifo(f"{name}_tasks", "sequencer", (name,), bits, QUEUE, registers, slack=2, sized=False)
    units = ["front", "head", *(f"distribute_{i}" for i in range(len(ports))), "requantizer"]
    units += ["rows"] * (engine.row_steps > 1) + ["build"] * engine.builds_tables
    registers = tuple(f"linear/{unit}_rounds/count" for unit in units)
    yield Fifo(
        "rounds",
        "sequencer",
        ("linear",),
        ROUND.width,
        ROUNDS_AHEAD,
        registers,
        slack=2,
        copies=len(units),
        sized=False,
    )
    for name, names in {"c": ["c"], "q": ["q"], "w": ports}.items():
        registers = tuple(f"{port}_commands/count" for port in names)
        yield Fifo(
            f"{name}_commands", "sequencer", (f"memory {name}",), COMMAND_BITS, ROUNDS_AHEAD, registers, slack=2,
            copies=len(names), sized=False,
        )  # fmt: skip
    bits = job_bits(engine)
    yield Fifo("jobs", "loader", ("search",), bits, JOBS, ("linear/front/jobs/count",), slack=2, sized=False)
    if "attention" in config.engines:
        yield from _attention(config)


def _attention(config: AcceleratorConfig) -> Iterator[Fifo]:
    """Rows: two of the largest head, and what is used late, by construction. Shifts: what is needed depends on the
    query heads of a kv head; less than two items' costs cycles in attention's division only."""
    beats, timing = config.head_beats, attention_timing(config)
    cores = [divmod(core, config.attention_ways) for core in range(config.attention_cores)]
    for name, user, path, depth, ahead in (
        ("k", "scores", "score_stage_{}/keys", timing["k_rows"], 0),
        ("v", "weighted", "weighted_stage_{}/values", timing["v_rows"], timing["v_freed"] + 1),
    ):
        yield Fifo(
            f"{name}_rows", f"row {name}", (user,), config.rows_bits, depth,
            tuple(f"attention/unit_{unit}/{path.format(way)}/used" for unit, way in cores),
            rate=Fraction(1), latency=ahead, slack=2 * beats, atomic=beats, copies=len(cores), sized=False,
        )  # fmt: skip
    yield Fifo(
        "rights", "attention", ("attention",), RIGHT_BITS * config.lanes, timing["rights"],
        ("attention/parameter_stage/right_queue/used",), sized=False,
    )  # fmt: skip
