"""The front end: activations in, operands (nearest centroids, or the pairs themselves) into the PSum engines.

A group is `pairs` channel pairs of every token of the round. The loader takes a group's parameter words (stream c:
one word of shifts and, to search, `chain_length` words of centroids), the feeder its activation words (stream x: one a
token). Up to `operand_banks` groups are in flight; a bank is taken with the group's first word.
"""

from typing import Any

from lutllm.lowering.hardware.lib.bundle import Bundle, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Fields, Pipeline, Signal, all_of, const, mux, pack
from lutllm.lowering.hardware.lib.state import credit, loop_nest
from lutllm.lowering.hardware.lib.stream import Stream, Write
from lutllm.lowering.hardware.linear import records
from lutllm.lowering.hardware.linear.search import bpcsu, search_latency, swap_latency
from lutllm.lowering.machine.engine import MODES, EngineConfig
from lutllm.numerics import bits_for
from lutllm.scheme import PAIR_SHIFT_BITS

EXACT = MODES.index("exact_row")
JOBS = 2  # groups loaded that wait to be fed
# Cycles from the last operand of a group, from its last centroid, until the head is told.
GROUP_READY, CENTROIDS_READY = 1, 1


def round_record(config: EngineConfig) -> Fields:
    """What the front end needs of a round; whether to search is a question only where both happen."""
    return records.ROUND.subset(*(["mode"] if config.searches else []), "tokens", "groups")


def writes(config: EngineConfig, pairs: int = 1) -> dict[str, Bundle]:
    """The ports that write what engines of so many pairs keep of a group: operands, shifts, and, where tables are
    built, centroids."""
    bank, stages = config.bank_bits, config.act_stages
    found = {"operand": Write.of(bank + bits_for(config.tokens), pairs * stages * config.operand_width)}
    found["shift"] = Write.of(bank, pairs * (1 + config.builds_rows) * PAIR_SHIFT_BITS)
    if config.builds_tables:
        found["centroid"] = Write.of(bank + bits_for(config.chain_length), pairs * _share(config))
    return found


def front_end(design: Design, config: EngineConfig) -> str:
    """Loader, search units and feeder.

    Streams in: `round`, `c`, `x`. `bank_free` says that the last engine is through with a group. Out, to all PSum
    engines: `writes` and `group_ready` pulses; where tables are built, also `centroids_ready`. An engine of exact rows
    alone has no search units.
    """

    def body(m: Module) -> dict[str, Any]:
        swapped, pipe = Wire(1), m.pipeline()
        loaded = _loader(m, config, swapped.signal)
        fed = _feeder(m, config, loaded["job"])
        operands = (_searched if config.searches else _unsearched)(m, pipe, config, loaded, fed)
        operand = pack(operands).due(search_latency(config))
        address = pipe.at(pack([fed["token"], fed["bank"]]))
        last = pipe.valid(fed["step"] & fed["last"]).until(operand.cycle)
        if config.searches:
            swapped.assign(m.reg(fed["swap"], "swapped", cycles=swap_latency(config) - 1, reset=0))
        shifts = m["c"].data[0 : config.pairs * 16].chunks(8)  # right and left of each pair
        shifts = shifts if config.builds_rows else shifts[1::2]
        shift = pack([shift[0:PAIR_SHIFT_BITS] for shift in shifts])
        outputs: dict[str, Any] = dict(
            operand=Write(pipe.valid(fed["step"]), address, operand),
            shift=Write(loaded["shift_write"], loaded["bank"], shift),
            group_ready=m.reg(last, "group_ready", cycles=GROUP_READY),
        )
        if config.builds_tables:
            address = pack([loaded["position"], loaded["bank"]])
            outputs["centroid"] = Write(loaded["shift_in"], address, m["c"].data[0 : config.pairs * _share(config)])
            done = loaded["centroids_done"]
            outputs["centroids_ready"] = m.reg(done, "centroids_ready", cycles=CENTROIDS_READY, reset=0)
        return outputs

    words = config.word_bits
    inputs = {"round": Stream.of(round_record(config).width), "c": Stream.of(words["c"]), "x": Stream.of(words["x"])}
    outputs = {"group_ready": 1, **({"centroids_ready": 1} if config.builds_tables else {})}
    return design.module("front_end", inputs | {"bank_free": 1}, outputs | writes(config, config.pairs), body)


def _share(config: EngineConfig) -> int:
    """Bits of a centroid word that belong to one pair."""
    return config.act_stages * config.chains * 2 * config.operand_bits


def _pairs(m: Module, config: EngineConfig) -> list[Signal]:
    """A token's channel pairs."""
    return m["x"].data.chunks(2 * config.operand_bits)


def _searched(
    m: Module, pipe: Pipeline, config: EngineConfig, loaded: dict[str, Any], fed: dict[str, Signal]
) -> list[Signal]:
    """The operands of every pair."""
    unit, share = bpcsu(m.design, config), _share(config)
    shared = dict(load=loaded["shift_in"].steady(), swap=pipe.valid(fed["swap"]))
    if "exact_row" in config.row_sources:
        shared["exact"] = pipe.at(fed["exact"])
    operands = []
    for pair, x in enumerate(_pairs(m, config)):
        load_data = m["c"].data[pair * share : (pair + 1) * share].steady()
        operands.append(m.output_of(unit, f"bpcsu_{pair}", load_data=load_data, pair=pipe.at(x), **shared))
    return operands


def _unsearched(
    m: Module, pipe: Pipeline, config: EngineConfig, loaded: dict[str, Any], fed: dict[str, Signal]
) -> list[Signal]:
    """The pairs themselves, a cycle later; further stages add nothing."""
    rest = [const(0, 2 * config.operand_bits)] * (config.act_stages - 1)
    return [pack([m.reg(pipe.at(pair), f"pair_{i}"), *rest]) for i, pair in enumerate(_pairs(m, config))]


def held_round(
    m: Module, name: str, record: Fields, done: Signal, *, stream: str = "round", mode: str | None = None
) -> tuple[Signal, dict[str, Signal]]:
    """Take a round (`record`) from `stream` and hold it until `done`; returns (busy, its fields).

    With `mode`, rounds of other modes are dropped.
    """
    busy, given = m.state(1, f"{name}_busy", reset=0), m[stream]
    given.drive(ready=~busy.signal)
    fields = record.unpack(given.data)
    wanted = given.moves if mode is None else given.moves & fields.pop("mode").eq(MODES.index(mode))
    held = {field: m.reg(value, f"{name}_{field}", enable=given.moves) for field, value in fields.items()}
    busy.set(wanted | (busy.signal & ~done))
    return busy.signal, held


def _loader(m: Module, config: EngineConfig, swapped: Signal) -> dict[str, Any]:
    done, shift_write = Wire(1), Wire(1)
    busy, fields = held_round(m, "loader", round_record(config), done.signal)
    c, levels = m["c"], [("group", fields["groups"])]
    if config.searches:
        exact = fields["mode"].eq(EXACT)
        levels.append(("word", mux(exact, const(1, 16), const(1 + config.chain_length, 16))))
    fire = c.moves
    index, last, at_first = loop_nest(m, fire, levels)
    is_shift = at_first["word"] if config.searches else const(1, 1)
    group_done = fire & last["word"] if config.searches else fire
    shift_write.assign(fire & is_shift)
    done.assign(group_done & last["group"])
    bank = m.counter(config.bank_bits, "load_bank", step=group_done)
    tells = dict(exact=exact) if config.searches else {}
    job = Stream(group_done, tokens=fields["tokens"], bank=bank, **tells)

    banks = config.operand_banks
    allowed = credit(m, "free_banks", banks, give=m["bank_free"], take=shift_write.signal, initial=banks)
    found: dict[str, Any] = dict(shift_write=shift_write.signal, bank=bank)
    if config.searches:
        shadow_free = m.state(1, "shadow_free", reset=1)
        allowed = mux(is_shift, allowed, shadow_free.signal)
        shadow_free.set(swapped, swapped | (group_done & ~exact))
        position = const(config.chain_length, index["word"].width) - index["word"]
        found |= dict(shift_in=fire & ~is_shift, position=position[0 : bits_for(config.chain_length)])
        found["centroids_done"] = group_done & ~exact
    c.drive(ready=all_of([busy, allowed, job.ready]))
    return found | dict(job=job.fifo(m, "jobs", JOBS))


def job_bits(config: EngineConfig) -> int:
    """Bits of what the loader tells the feeder of a group."""
    return 16 + config.bank_bits + config.searches


def _feeder(m: Module, config: EngineConfig, job: Stream) -> dict[str, Signal]:
    fire = job.valid & m["x"].valid
    index, last, at_first = loop_nest(m, fire, [("token", job.tokens)])
    m["x"].drive(ready=job.valid)
    job.drive(ready=fire & last["token"])
    first = fire & at_first["token"]
    searching = dict(swap=first & ~job.exact, exact=job.exact) if config.searches else {}
    token = index["token"][0 : bits_for(config.tokens)]
    return searching | dict(step=fire, last=last["token"], token=token, bank=job.bank)
