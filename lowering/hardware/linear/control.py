"""The head of the PSum chain: the only place that waits.

It walks the round's loops (group, stage, block, chunk, token) and issues one lookup beat a cycle. Before the first
beat of a chunk, block, group or round it needs a credit from every engine (codes arrived, codebook or table arrived),
from the front end (operands of the group) and from the accumulator (a free bank). What a credit promises is there for
good, so nothing downstream stalls. In built-table rounds a second walk issues the build beats, tables ahead.
"""

from collections.abc import Callable

from lutllm.lowering.hardware.lib.circt import (
    Design,
    Module,
    Signal,
    Wire,
    all_of,
    const,
    credit,
    delay,
    loop_nest,
    mux,
)
from lutllm.lowering.hardware.linear import records
from lutllm.lowering.hardware.linear.front import held_round
from lutllm.lowering.hardware.linear.psum import build_fields, control_fields
from lutllm.lowering.machine.engine import MODES, TABLE_BANKS, EngineConfig
from lutllm.numerics import bits_for

ACC_BANKS = 2
ROUND = records.ROUND.subset("mode", "stages", "tokens", "groups", "blocks", "block_chunks", "last_chunks")
BUILD_ROUND = records.ROUND.subset("mode", "stages", "groups", "blocks")
ISSUE = 1  # cycles from a step of either walk until its beat is at the first engine
BUILD_LATENCY = 4  # cycles from a build beat until the head may count on its row


def psum_control(design: Design, config: EngineConfig, codebooks: int) -> str:
    """In: stream `round` (and `build_round`); `codes_push` and `rows_push` of each engine, with up to `codebooks`
    codebooks; `group_ready`, `centroids_ready` and `acc_free` pulses. Out: packed `control` (and `build`) beats."""
    control, build = control_fields(config), build_fields(config)
    builds = config.builds_tables

    def body(m: Module) -> dict[str, Signal]:
        issue, take_rows = Wire(1), Wire(1)
        rows_here = _of_all(m, "rows", max(codebooks, TABLE_BANKS), m["rows_push"], take_rows.signal)
        walk = _Walk(m, issue.signal)
        rows_ok, taken, outputs = rows_here, walk.block_first & issue.signal, {}
        if builds:
            built_mode = walk.fields["mode"].eq(MODES.index("built_table"))
            table_free = issue.signal & walk.block_last & built_mode
            beat, started, finished, ready = _build_walk(m, config, rows_here, table_free)
            table_ready = delay(m, finished, BUILD_LATENCY - 1, "table_ready", reset=0)
            tables_ok = credit(m, "tables", bits_for(TABLE_BANKS + 1), give=table_ready, take=taken & built_mode)
            rows_ok, taken = mux(built_mode, tables_ok, rows_here).named("rows_ok"), (taken & ~built_mode) | started
            outputs = dict(build=delay(m, build.pack(**beat), ISSUE, "build_q", reset=0), build_round_ready=ready)
        take_rows.assign(taken)

        def needs(name: str, first: Signal, **credits) -> Signal:  # type: ignore[no-untyped-def]
            there = credit(m, name, bits_for(config.operand_banks + 1), take=issue.signal & first, **credits)
            return (~first | there).named(f"{name}_allow")

        codes_ok = _of_all(m, "codes", config.codes_depth, m["codes_push"], issue.signal & walk.chunk_first)
        issue.assign(
            all_of(
                [
                    walk.busy,
                    (~walk.chunk_first | codes_ok).named("codes_allow"),
                    (~walk.block_first | rows_ok).named("rows_allow"),
                    needs("groups", walk.group_first, give=m["group_ready"]),
                    needs("acc_banks", walk.round_first, give=m["acc_free"], initial=ACC_BANKS),
                ]
            )
        )
        beat = _lookup_beat(m, config, walk, issue.signal)
        outputs |= dict(control=delay(m, control.pack(**beat), ISSUE, "control_q", reset=0), round_ready=walk.ready)
        return outputs

    inputs = {"round_valid": 1, "round_data": ROUND.width, "codes_push": config.pairs, "rows_push": config.pairs}
    inputs |= {"group_ready": 1, "acc_free": 1}
    outputs = {"round_ready": 1, "control": control.width}
    if builds:
        inputs |= {"build_round_valid": 1, "build_round_data": BUILD_ROUND.width, "centroids_ready": 1}
        outputs |= {"build_round_ready": 1, "build": build.width}
    return design.module("psum_control", inputs, outputs, body)


def chunks_of_block(fields: dict[str, Signal]) -> Callable[[dict[str, Signal], dict[str, Signal]], Signal]:
    """The count of a chunk loop inside a block loop: the last block may be shorter."""
    return lambda index, last: mux(last["block"], fields["last_chunks"], fields["block_chunks"])


def _of_all(m: Module, name: str, depth: int, pushes: Signal, take: Signal) -> Signal:
    """A credit that every engine has given."""
    bits = bits_for(depth + 1)
    given = [credit(m, f"{name}_{i}", bits, give=pushes[i], take=take) for i in range(pushes.width)]
    return all_of(given).named(f"all_{name}")


class _Walk:
    """The lookup loops of the held round, and what is first and last in them."""

    def __init__(self, m: Module, issue: Signal) -> None:
        done = Wire(1)
        self.busy, f, self.ready = held_round(m, "lookup", ROUND, done.signal)
        self.fields = f
        levels = [("group", f["groups"]), ("stage", f["stages"]), ("block", f["blocks"])]
        index, last = loop_nest(m, issue, [*levels, ("chunk", chunks_of_block(f)), ("token", f["tokens"])])
        self.token = index["token"]
        self.chunk_first = index["token"].eq(0).named("chunk_first")
        self.block_first = (self.chunk_first & index["chunk"].eq(0)).named("block_first")
        self.step_first = (self.block_first & index["block"].eq(0)).named("step_first")
        self.group_first = (self.step_first & index["stage"].eq(0)).named("group_first")
        self.round_first = (self.group_first & index["group"].eq(0)).named("round_first")
        self.first_step = (index["stage"].eq(0) & index["group"].eq(0)).named("first_step")
        self.block_last = (last["token"] & last["chunk"]).named("block_done")
        self.step_last = (self.block_last & last["block"]).named("step_done")
        self.group_last = (self.step_last & last["stage"]).named("group_done")
        self.round_last = (self.group_last & last["group"]).named("round_done")
        done.assign(issue & self.round_last)


def _lookup_beat(m: Module, config: EngineConfig, walk: _Walk, issue: Signal) -> dict[str, Signal]:
    address_bits = bits_for(config.acc_words)
    address = m.state(address_bits, "address", reset=0)
    address.set(mux(walk.step_last, const(0, address_bits), address.signal + 1), issue)
    banks = {}
    for name, bits, last in (
        ("operand_bank", config.bank_bits, walk.group_last),
        ("table_bank", bits_for(TABLE_BANKS), walk.block_last),
        ("acc_bank", 1, walk.round_last),
    ):
        bank = m.state(bits, name, reset=0)
        banks[name] = bank.set(bank.signal + 1, issue & last)
    return dict(
        valid=issue,
        token=walk.token[0 : bits_for(config.tokens)],
        chunk_first=walk.chunk_first,
        block_first=walk.block_first,
        block_last=walk.block_last,
        group_last=walk.group_last,
        mode=walk.fields["mode"],
        address=address.signal,
        first_step=walk.first_step,
        round_last=walk.round_last,
        **banks,
    )


def _build_walk(
    m: Module, config: EngineConfig, rows_here: Signal, table_free: Signal
) -> tuple[dict[str, Signal], Signal, Signal, Signal]:
    """The table-building loops; returns (beat, table started, table finished, round ready)."""
    step, done = Wire(1), Wire(1)
    busy, f, ready = held_round(m, "build", BUILD_ROUND, done.signal, stream="build_round", mode="built_table")
    levels = [("build_group", f["groups"]), ("build_stage", f["stages"]), ("build_block", f["blocks"])]
    index, last = loop_nest(m, step.signal, [*levels, ("build_row", const(config.centroids, 16))])
    first = index["build_row"].eq(0)
    group_first = all_of([first, index["build_stage"].eq(0), index["build_block"].eq(0)])
    started = step.signal & first
    free = credit(m, "free_tables", bits_for(TABLE_BANKS + 1), give=table_free, take=started, initial=TABLE_BANKS)
    centroids = credit(
        m, "centroids", bits_for(config.operand_banks + 1), give=m["centroids_ready"], take=step.signal & group_first
    )
    step.assign(all_of([busy, ~first | (rows_here & free), ~group_first | centroids]))
    finished = step.signal & last["build_row"]
    group_last = all_of([finished, last["build_block"], last["build_stage"]])
    done.assign(group_last & last["build_group"])
    table_bank = m.state(bits_for(TABLE_BANKS), "build_table_bank", reset=0)
    table_bank.set(table_bank.signal + 1, finished)
    operand_bank = m.state(config.bank_bits, "build_operand_bank", reset=0)
    operand_bank.set(operand_bank.signal + 1, group_last)
    row = index["build_row"][0 : config.index_bits]
    beat = dict(valid=step.signal, row=row, first=first, operand_bank=operand_bank.signal, table_bank=table_bank.signal)
    return beat, started, finished, ready
