"""The LutLinear engine without its memory ports: front end, chain of PSum engines, accumulator, requantizer.

Rounds come by `dispatch`, to all units at once; words of x, c, q and beats of each weight port come as streams, and
stream y leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from lutllm.lowering.hardware.lib.bundle import Link, Wire
from lutllm.lowering.hardware.lib.circt import Design, Instance, Module
from lutllm.lowering.hardware.lib.signal import Fields, Signal, all_of, const, pack
from lutllm.lowering.hardware.lib.state import CREDIT
from lutllm.lowering.hardware.lib.stream import FIFO_LATENCY, Stream, Write
from lutllm.lowering.hardware.linear import control as head_unit
from lutllm.lowering.hardware.linear import front as front_unit
from lutllm.lowering.hardware.linear import requantize as drain_unit
from lutllm.lowering.hardware.linear import weights as weight_unit
from lutllm.lowering.hardware.linear.accumulate import ROUND_DONE, accumulator
from lutllm.lowering.hardware.linear.psum import codebook_depth, psum_engine
from lutllm.lowering.hardware.linear.records import (
    CODES_STAGE,
    ROUND,
    ROW_STAGE,
    TABLE_STAGE,
    accumulator_fields,
    lookup_fields,
)
from lutllm.lowering.hardware.linear.search import search_latency, swap_latency
from lutllm.lowering.machine.engine import ROUNDS_AHEAD, EngineConfig

_BANK_FREE = 1  # cycles from a beat at the accumulator until its bank of operands is given back


def tree_latency(config: EngineConfig) -> int:
    """Cycles from the sums of the chains to that of all."""
    return (config.sum_chains - 1).bit_length()


def linear_timing(config: EngineConfig) -> dict[str, int]:
    """Cycles from a step of one unit until another may make the step that it allows.

    From the last unit of a codebook, a table or a chunk's codes to the first lookup with them (`weights_there`), from a
    lookup to the unit that takes its place: of its codes (`codes_room`), its codebook (`codebook_room`; from the first
    step that builds a table, `build_room`), its table (`table_room`; to the step that builds another, `table_reused`),
    its group's bank of operands (`bank_room`, to the group's first word of c). From a table's last step to its first
    lookup (`table_built`). From the last word of c to a table of its centroids (`centroids_there`); from the first word
    of x to the centroids of the next group (`centroids_used`), from the last one to its first lookup
    (`operands_there`). From a round's last lookup to the first sum read (`summed`), from the last sum read to a round
    in its bank (`bank_drained`), from a sum read to its result in stream y (`drained`)."""
    last = head_unit.ISSUE + config.chain_pairs - 1  # until a beat is at the last engine of a chain
    late = last + 1 + ROW_STAGE - 1 + tree_latency(config)  # until it is at the accumulator
    search = search_latency(config)
    return dict(
        weights_there=CREDIT,
        codes_room=last + CODES_STAGE + FIFO_LATENCY,
        codebook_room=last + FIFO_LATENCY,
        build_room=last + FIFO_LATENCY,
        table_room=last + TABLE_STAGE + CREDIT,
        table_reused=CREDIT,
        table_built=head_unit.BUILD_LATENCY,
        bank_room=late + _BANK_FREE + CREDIT,
        centroids_there=front_unit.CENTROIDS_READY + CREDIT,
        centroids_used=swap_latency(config) if config.searches else 0,
        operands_there=search + front_unit.GROUP_READY + CREDIT,
        summed=late + ROUND_DONE + CREDIT,
        bank_drained=drain_unit.ACC_FREE + CREDIT,
        drained=drain_unit.LATENCY + FIFO_LATENCY,
    )


def linear_core(design: Design, config: EngineConfig, depths: Mapping[str, int] = MappingProxyType({})) -> str:
    """Streams in: `round`, x, c, q and w0...; out: y (words of `requant_lanes` results). `flush` resets the datapath
    between row sources. `depths` of FIFOs `codebooks` and `results`, where they are not the usual ones."""
    inputs = {"round": Stream.of(ROUND.width), "flush": 1}
    inputs |= {name: Stream.of(config.word_bits[name[0]]) for name in ("x", "c", "q", *config.weight_streams)}
    outputs = {"y": Stream.of(config.word_bits["y"])}
    return design.module("linear_core", inputs, outputs, lambda m: dict(y=_Core(m, config, depths).results))


class _Core:
    """Builds the module's body; methods are its sections, `results` its output."""

    def __init__(self, m: Module, config: EngineConfig, depths: Mapping[str, int]) -> None:
        self.m, self.config = m, config
        self.codebooks = codebook_depth(config, depths)
        self.rst = m.rst | m["flush"]
        self.units_ready: list[Signal] = []
        front = self._unit(
            front_unit.front_end(m.design, config), "front", front_unit.round_record(config), c=m["c"], x=m["x"]
        )
        rounds = (
            {"rows_round": self._round("rows", head_unit.walk_round(config, lookups=False))}
            if config.row_steps > 1
            else {}
        )
        pulses = {"group_ready": front["group_ready"]}
        if config.builds_tables:
            rounds["build_round"] = self._round("build", head_unit.BUILD_ROUND)
            pulses["centroids_ready"] = front["centroids_ready"]
        made = head_unit.psum_control(m.design, config, self.codebooks)
        head = self._unit(made, "head", head_unit.walk_round(config, lookups=True), **rounds, **pulses)
        made = weight_unit.weight_distributor(m.design, config)
        feeds = [
            self._unit(made, f"distribute_{port}", weight_unit.ROUND, w=m[name])
            for port, name in enumerate(config.weight_streams)
        ]
        head.connect(**{name: pack([feed[name] for feed in feeds]) for name in ("codes_push", "rows_push")})
        control, sums = self._chains(front, head, [feed["unit"] for feed in feeds])

        # The chain's control runs ROW_STAGE cycles ahead of its sums; the accumulator wants to be one ahead.
        beat, fields = lookup_fields(config).unpack(control), accumulator_fields(config)
        late = lookup_fields(config).subset(*fields.widths, "group_last")
        control = late.pack(**{name: beat[name] for name in late.widths})
        control = m.reg(control, "control_late", cycles=ROW_STAGE - 1 + tree_latency(config), reset=0)
        beat = late.unpack(control)
        free = beat["valid"] & beat["group_last"]
        front.connect(bank_free=m.reg(free, "bank_free", cycles=_BANK_FREE, reset=0))

        made = drain_unit.requantizer(m.design, config, drain_unit.results_depth(depths))
        drain = self._unit(made, "requantizer", drain_unit.ROUND, q=m["q"])
        control = fields.pack(**{name: beat[name] for name in fields.widths})
        given = dict(control=control, sums=sums, drain=drain["drain"])
        done = m.output_of(accumulator(m.design, config), "accumulator", rst=self.rst, **given)
        drain.connect(round_done=done)
        head.connect(acc_free=drain["acc_free"])
        self.results = drain["y"]
        m["round"].drive(ready=all_of(self.units_ready))

    def _round(self, name: str, record: Fields) -> Stream:
        """A unit's queue of rounds: the fields of `record`."""
        fields = ROUND.unpack(self.m["round"].data)
        fields |= head_unit.strips(self.config, fields)
        data = record.pack(**{n: fields[n][0:w] for n, w in record.widths.items()})
        given = Stream(self.m["round"].valid, data=data)
        self.units_ready.append(given.ready)
        return given.fifo(self.m, f"{name}_rounds", ROUNDS_AHEAD)

    def _unit(self, module: str, name: str, record: Fields, **inputs: Any) -> Instance:
        """An instance with a queue of rounds."""
        return self.m.instance(module, name, rst=self.rst, round=self._round(name, record), **inputs)

    def _chains(self, front: Instance, head: Instance, feeds: Sequence[Link]) -> tuple[Signal, Signal]:
        """The PSum engines; returns (control of the end of a chain, the sums of all)."""
        m, config, ends = self.m, self.config, list[dict[str, Any]]()
        made, moving = psum_engine(m.design, config, self.codebooks), dict[str, Any]()
        writes = {
            name: front[name].data.chunks(kind.forward["data"]) for name, kind in front_unit.writes(config).items()
        }
        ready: dict[int, list[Signal]] = {port: [] for port in range(len(feeds))}
        for i in range(config.pairs):
            if i % config.chain_pairs == 0:
                moving = dict(head) | dict(partial=const(0, config.lanes * config.chain_bits))
            port, place = divmod(i, config.engines_per_port)
            feed, low = feeds[port], place * config.unit_bits
            data = feed.data[low : low + config.unit_bits]
            unit = Link(feed.forward | {"data": data}, {"ready": Wire(1)})
            ready[port].append(unit.ready)
            own = {name: Write(front[name].enable, front[name].address, parts[i]) for name, parts in writes.items()}
            out = m.instance(made, f"psum_{i}", rst=self.rst, unit=unit, **moving, **own)
            moving = {name: out[f"{name}_out"] for name in head} | dict(partial=out["sums"])
            if (i + 1) % config.chain_pairs == 0:
                ends.append(moving)
        for port, feed in enumerate(feeds):
            feed.drive(ready=all_of(ready[port]))
        sums = [end["partial"].chunks(config.chain_bits) for end in ends]
        return ends[-1]["control"], pack([self._tree(i, lane) for i, lane in enumerate(zip(*sums, strict=True))])

    def _tree(self, lane: int, sums: Sequence[Signal]) -> Signal:
        """The sum of all chains' sums of a lane, a register a level."""
        level = 0
        while len(sums) > 1:
            wide = min(self.config.psum_bits, sums[0].width + 1)
            sums = [*(s.sext(wide) for s in sums), *[const(0, wide)] * (len(sums) % 2)]
            added = [sums[i] + sums[i + 1] for i in range(0, len(sums), 2)]
            sums = [self.m.reg(s, f"sum_{lane}_level{level}_{i}") for i, s in enumerate(added)]
            level += 1
        return sums[0]
