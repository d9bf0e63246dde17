"""The front end: activations in, operands (nearest centroids, or the pairs themselves) into the PSum engines.

A group is `pairs` channel pairs of every token of the round. The loader takes a group's parameter words (stream c:
one word of shifts and, to search, `chain_length` words of centroids), the feeder its activation words (stream x: one a
token). Up to `operand_banks` groups are in flight; a bank is taken with the group's first word.
"""

from typing import Any

from lutllm.lowering.hardware.lib.circt import (
    Design,
    Fields,
    Module,
    Signal,
    Wire,
    all_of,
    const,
    credit,
    delay,
    loop_nest,
    mux,
    pack,
)
from lutllm.lowering.hardware.lib.memory import Stream, buffered
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
    return (
        records.ROUND.subset("mode", "tokens", "groups")
        if config.searches
        else records.ROUND.subset("tokens", "groups")
    )


def front_end(design: Design, config: EngineConfig) -> str:
    """Loader, search units and feeder.

    Streams in: `round`, `c`, `x`. `bank_free` says that the last engine is through with a group. Out, to all PSum
    engines: `operand_*` and `shift_*` writes and `group_ready` pulses; where tables are built, also `centroid_*` writes
    and `centroids_ready`. An engine of exact rows alone has no search units.
    """
    token_bits, bank_token = bits_for(config.tokens), config.bank_bits + bits_for(config.tokens)
    builds_tables = config.builds_tables

    def body(m: Module) -> dict[str, Signal]:
        swapped = Wire(1)
        loaded = _loader(m, config, swapped.signal)
        fed = _feeder(m, config, loaded["job"], token_bits)
        operands = _searched(m, config, loaded, fed) if config.searches else _unsearched(m, config)
        tags = Fields(step=1, last=1, token=token_bits, bank=config.bank_bits)
        tag = tags.pack(**{name: fed[name] for name in tags.widths})
        late = tags.unpack(delay(m, tag, search_latency(config), "tag", reset=0))
        if config.searches:
            swapped.assign(delay(m, fed["swap"], swap_latency(config) - 1, "swapped", reset=0))
        shifts = m["c_data"][0 : config.pairs * 16].chunks(8)  # right and left of each pair
        shifts = shifts if config.builds_rows else shifts[1::2]
        outputs = dict(
            round_ready=loaded["round_ready"],
            c_ready=loaded["c_ready"],
            x_ready=fed["x_ready"],
            operand_write=late["step"],
            operand_address=pack([late["token"], late["bank"]]),
            operand_data=pack(operands),
            group_ready=delay(m, late["step"] & late["last"], GROUP_READY, "group_ready", reset=0),
            shift_write=loaded["shift_write"],
            shift_bank=loaded["bank"],
            shift_data=pack([shift[0:PAIR_SHIFT_BITS] for shift in shifts]),
        )
        if builds_tables:
            outputs |= dict(
                centroid_write=loaded["shift_in"],
                centroid_address=pack([loaded["position"], loaded["bank"]]),
                centroid_data=m["c_data"][0 : config.pairs * _share(config)],
                centroids_ready=delay(m, loaded["centroids_done"], CENTROIDS_READY, "centroids_ready", reset=0),
            )
        return outputs

    words = config.word_bits
    inputs = {"round_valid": 1, "round_data": round_record(config).width, "c_valid": 1, "c_data": words["c"]}
    inputs |= {"x_valid": 1, "x_data": words["x"], "bank_free": 1}
    outputs = {"round_ready": 1, "c_ready": 1, "x_ready": 1, "operand_write": 1, "operand_address": bank_token}
    outputs |= {"operand_data": config.pairs * config.act_stages * config.operand_width, "group_ready": 1}
    outputs |= {"shift_write": 1, "shift_bank": config.bank_bits, "shift_data": config.pairs * shift_bits(config)}
    if builds_tables:
        outputs |= {"centroid_write": 1, "centroid_address": config.bank_bits + bits_for(config.chain_length)}
        outputs |= {"centroid_data": config.pairs * _share(config), "centroids_ready": 1}
    return design.module("front_end", inputs, outputs, body)


def _share(config: EngineConfig) -> int:
    """Bits of a centroid word that belong to one pair."""
    return config.act_stages * config.chains * 2 * config.operand_bits


def _pairs(m: Module, config: EngineConfig) -> list[Signal]:
    """A token's channel pairs."""
    return m["x_data"].chunks(2 * config.operand_bits)


def _searched(m: Module, config: EngineConfig, loaded: dict[str, Any], fed: dict[str, Signal]) -> list[Signal]:
    """The operands of every pair, `search_latency` cycles after the word at stream x."""
    unit, share = bpcsu(m.design, config), _share(config)
    shared = dict(load=loaded["shift_in"], swap=fed["swap"])
    if "exact_row" in config.row_sources:
        shared["exact"] = fed["exact"]
    operands = []
    for pair, x in enumerate(_pairs(m, config)):
        load_data = m["c_data"][pair * share : (pair + 1) * share]
        operands.append(m.output_of(unit, f"bpcsu_{pair}", load_data=load_data, pair=x, **shared))
    return operands


def _unsearched(m: Module, config: EngineConfig) -> list[Signal]:
    """The pairs themselves, a cycle later; further stages add nothing."""
    rest = [const(0, 2 * config.operand_bits)] * (config.act_stages - 1)
    return [pack([m.reg(pair, f"pair_{i}"), *rest]) for i, pair in enumerate(_pairs(m, config))]


def shift_bits(config: EngineConfig) -> int:
    """Bits of a pair's shifts: the left one, and the right one where rows are built."""
    return (1 + config.builds_rows) * PAIR_SHIFT_BITS


def held_round(
    m: Module, name: str, record: Fields, done: Signal, *, stream: str = "round", mode: str | None = None
) -> tuple[Signal, dict[str, Signal], Signal]:
    """Take a round (`record`) from `stream` and hold it until `done`; returns (busy, its fields, ready).

    With `mode`, rounds of other modes are dropped.
    """
    busy = m.state(1, f"{name}_busy", reset=0)
    given = record.unpack(m[f"{stream}_data"])
    take = m[f"{stream}_valid"] & ~busy.signal
    wanted = take if mode is None else take & given.pop("mode").eq(MODES.index(mode))
    fields = {field: m.reg(value, f"{name}_{field}", enable=take) for field, value in given.items()}
    busy.set(wanted | (busy.signal & ~done))
    return busy.signal, fields, ~busy.signal


def job_fields(config: EngineConfig) -> Fields:
    """What the loader tells the feeder of a group."""
    return Fields(tokens=16, bank=config.bank_bits, **({"exact": 1} if config.searches else {}))


def _loader(m: Module, config: EngineConfig, swapped: Signal) -> dict[str, Any]:
    step, done, job_ready = Wire(1), Wire(1), Wire(1)
    busy, fields, round_ready = held_round(m, "loader", round_record(config), done.signal)
    levels = [("group", fields["groups"])]
    if config.searches:
        exact = fields["mode"].eq(EXACT)
        levels.append(("word", mux(exact, const(1, 16), const(1 + config.chain_length, 16))))
    index, last, at_first = loop_nest(m, step.signal, levels)
    is_shift = at_first["word"] if config.searches else const(1, 1)

    shift_write = Wire(1)
    bank_free = credit(
        m,
        "free_banks",
        bits_for(config.operand_banks + 1),
        give=m["bank_free"],
        take=shift_write.signal,
        initial=config.operand_banks,
    )
    shadow_free = m.state(1, "shadow_free", reset=1) if config.searches else None
    allowed = bank_free if shadow_free is None else mux(is_shift, bank_free, shadow_free.signal)
    c_ready = all_of([busy, allowed, job_ready.signal])
    fire = c_ready & m["c_valid"]
    shift_write.assign(fire & is_shift)
    group_done = fire & last["word"] if config.searches else fire
    step.assign(fire)
    done.assign(group_done & last["group"])
    bank = m.state(config.bank_bits, "load_bank", reset=0)
    bank.set(bank.signal + 1, group_done)

    job = dict(tokens=fields["tokens"], bank=bank.signal) | ({"exact": exact} if config.searches else {})
    stream, ready = buffered(m, "jobs", group_done, job_fields(config).pack(**job), JOBS)
    job_ready.assign(ready)
    outputs = dict(round_ready=round_ready, c_ready=c_ready, shift_write=fire & is_shift, bank=bank.signal, job=stream)
    if shadow_free is not None:
        shadow_free.set(swapped, swapped | (group_done & ~exact))
        position = const(config.chain_length, index["word"].width) - index["word"]
        outputs |= dict(shift_in=fire & ~is_shift, position=position[0 : bits_for(config.chain_length)])
        outputs["centroids_done"] = group_done & ~exact
    return outputs


def _feeder(m: Module, config: EngineConfig, job: Stream, token_bits: int) -> dict[str, Signal]:
    fields = job_fields(config).unpack(job.data)
    fire = job.valid & m["x_valid"]
    index, last, at_first = loop_nest(m, fire, [("token", fields["tokens"])])
    job.ready.assign(fire & last["token"])
    first = fire & at_first["token"]
    searching = dict(swap=first & ~fields["exact"], exact=fields["exact"]) if config.searches else {}
    return searching | dict(
        x_ready=job.valid,
        step=fire,
        last=last["token"],
        token=index["token"][0:token_bits],
        bank=fields["bank"],
    )
