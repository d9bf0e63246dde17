"""The front end: activations in, operands (nearest centroids, or the pairs themselves) into the PSum engines.

A group is `pairs` channel pairs of every token of the round. The loader takes a group's parameter words (stream c:
one word of shifts, then `chain_length` words of centroids), the feeder its activation words (stream x: one a token).
Up to `OPERAND_BANKS` groups are in flight; a bank is taken with the group's first word.
"""

from lutllm.lowering.circt import (
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
from lutllm.lowering.engine import MODES, OPERAND_BANKS, EngineConfig
from lutllm.lowering.engine_hw.records import UNIT
from lutllm.lowering.engine_hw.search import bpcsu, search_latency
from lutllm.lowering.memory import buffered
from lutllm.numerics import bits_for

EXACT = MODES.index("exact_row")
SHIFT_BITS = 5  # a pair's right or left shift; 8 bits each in memory
ROUND = UNIT.subset("mode", "tokens", "groups")


def front_end(design: Design, config: EngineConfig) -> str:
    """Loader, search units and feeder.

    Streams in: `round`, `c`, `x`. `bank_free` says that the last engine is through with a group. Out, to all PSum
    engines: `operand_*`, `shift_*` and `centroid_*` writes; `group_ready` and `centroids_ready` pulses.
    """
    token_bits, bank_token = bits_for(config.tokens), config.bank_bits + bits_for(config.tokens)
    position_bits = bits_for(config.chain_length)
    job_fields = Fields(tokens=16, exact=1, bank=config.bank_bits)
    unit = bpcsu(design, config)

    def body(m: Module) -> dict[str, Signal]:
        first_out = Wire(1)
        loaded = _loader(m, config, job_fields, first_out.signal)
        fed = _feeder(m, loaded["job"], job_fields, token_bits)
        operands = []
        share = config.act_stages * config.chains * 2 * config.operand_bits
        for pair, x in enumerate(m["x_data"].chunks(2 * config.operand_bits)):
            load_data = m["c_data"][pair * share : (pair + 1) * share]
            inputs = dict(load=loaded["shift_in"], load_data=load_data, swap=fed["swap"], pair=x)
            inputs |= {"exact": fed["exact"]} if "exact_row" in config.row_sources else {}
            operands.append(m.output_of(unit, f"bpcsu_{pair}", **inputs))
        tag = pack([fed["swap"], fed["last"], fed["token"], fed["bank"], fed["step"]])
        tag = delay(m, tag, search_latency(config), "tag", reset=0)
        valid = tag[tag.width - 1]
        first_out.assign(valid & tag[0])
        shifts = m["c_data"][0 : config.pairs * 16].chunks(8)  # right and left of each pair
        shifts = shifts if config.builds_rows else shifts[1::2]
        return dict(
            round_ready=loaded["round_ready"],
            c_ready=loaded["c_ready"],
            x_ready=fed["x_ready"],
            operand_write=valid,
            operand_address=tag[2 : 2 + bank_token],
            operand_data=pack(operands),
            group_ready=m.reg(valid & tag[1], "group_ready", reset=0),
            shift_write=loaded["shift_write"],
            shift_bank=loaded["bank"],
            shift_data=pack([shift[0:SHIFT_BITS] for shift in shifts]),
            centroid_write=loaded["shift_in"],
            centroid_address=pack([loaded["position"], loaded["bank"]]),
            centroid_data=m["c_data"][0 : config.pairs * share],
            centroids_ready=m.reg(loaded["centroids_done"], "centroids_ready", reset=0),
        )

    words = config.word_bits
    inputs = {"round_valid": 1, "round_data": ROUND.width, "c_valid": 1, "c_data": words["c"]}
    inputs |= {"x_valid": 1, "x_data": words["x"], "bank_free": 1}
    outputs = {"round_ready": 1, "c_ready": 1, "x_ready": 1, "operand_write": 1, "operand_address": bank_token}
    outputs |= {"operand_data": config.pairs * config.act_stages * config.operand_width, "group_ready": 1}
    outputs |= {
        "shift_write": 1,
        "shift_bank": config.bank_bits,
        "shift_data": config.pairs * shift_bits(config),
        "centroid_write": 1,
    }
    outputs |= {"centroid_address": config.bank_bits + position_bits}
    outputs |= {"centroid_data": config.pairs * config.act_stages * config.chains * 2 * config.operand_bits}
    outputs |= {"centroids_ready": 1}
    return design.module("front_end", inputs, outputs, body)


def shift_bits(config: EngineConfig) -> int:
    """Bits of a pair's shifts: the left one, and the right one where rows are built."""
    return (1 + config.builds_rows) * SHIFT_BITS


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


def _loader(m: Module, config: EngineConfig, job_fields: Fields, first_out: Signal) -> dict[str, Signal]:
    step, done, job_ready = Wire(1), Wire(1), Wire(1)
    busy, fields, round_ready = held_round(m, "loader", ROUND, done.signal)
    exact = fields["mode"].eq(EXACT)
    words = mux(exact, const(1, 16), const(1 + config.chain_length, 16))
    index, last = loop_nest(m, step.signal, [("group", fields["groups"]), ("word", words)])
    is_shift = index["word"].eq(0)

    shift_write = Wire(1)
    bank_free = credit(
        m,
        "free_banks",
        bits_for(OPERAND_BANKS + 1),
        give=m["bank_free"],
        take=shift_write.signal,
        initial=OPERAND_BANKS,
    )
    shadow_free = m.state(1, "shadow_free", reset=1)
    allowed = mux(is_shift, bank_free, shadow_free.signal)
    c_ready = all_of([busy, allowed, job_ready.signal])
    fire = c_ready & m["c_valid"]
    shift_write.assign(fire & is_shift)
    shift_in = fire & ~is_shift
    group_done = fire & last["word"]
    step.assign(fire)
    done.assign(group_done & last["group"])
    shadow_free.set(first_out, first_out | (group_done & ~exact))
    bank = m.state(config.bank_bits, "load_bank", reset=0)
    bank.set(bank.signal + 1, group_done)

    job = job_fields.pack(tokens=fields["tokens"], exact=exact, bank=bank.signal)
    stream, ready = buffered(m, "jobs", group_done, job, 2)
    job_ready.assign(ready)
    position = const(config.chain_length, index["word"].width) - index["word"]
    return dict(
        round_ready=round_ready,
        c_ready=c_ready,
        shift_write=fire & is_shift,
        shift_in=shift_in,
        position=position[0 : bits_for(config.chain_length)],
        bank=bank.signal,
        centroids_done=group_done & ~exact,
        job=stream,
    )


def _feeder(m: Module, job, job_fields: Fields, token_bits: int) -> dict[str, Signal]:  # type: ignore[no-untyped-def]
    fields = job_fields.unpack(job.data)
    fire = job.valid & m["x_valid"]
    index, last = loop_nest(m, fire, [("token", fields["tokens"])])
    job.ready.assign(fire & last["token"])
    first = index["token"].eq(0)
    return dict(
        x_ready=job.valid,
        step=fire,
        swap=fire & first & ~fields["exact"],
        exact=fields["exact"],
        last=last["token"],
        token=index["token"][0:token_bits],
        bank=fields["bank"],
    )
