"""The LutLinear engine without its memory ports: front end, chain of PSum engines, accumulator, requantizer.

Rounds come by `dispatch`, to all units at once; words of x, c, q and beats of each weight port come as streams, and
stream y leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from lutllm.lowering.hardware.lib.circt import CREDIT, Design, Fields, Module, Signal, Wire, all_of, const, delay, pack
from lutllm.lowering.hardware.lib.memory import FIFO_LATENCY, Stream, buffered
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
    """In: `dispatch` of `round`, taken when `round_ready`; `flush`, which resets the datapath between row sources; the
    streams x, c, q and w0... Out: stream y (words of `requant_lanes` results). `depths` of FIFOs `codebooks` and
    `results`, where they are not the usual ones."""
    inputs = {"dispatch": 1, "round": ROUND.width, "flush": 1, "y_ready": 1}
    outputs = {"round_ready": 1, "y_valid": 1, "y_data": config.word_bits["y"]}
    for name in ("x", "c", "q", *config.weight_streams):
        inputs |= {f"{name}_valid": 1, f"{name}_data": config.word_bits[name[0]]}
        outputs[f"{name}_ready"] = 1
    return design.module("linear_core", inputs, outputs, lambda m: _Core(m, config, depths).outputs)


class _Core:
    """Builds the module's body; methods are its sections, `outputs` its output ports."""

    def __init__(self, m: Module, config: EngineConfig, depths: Mapping[str, int]) -> None:
        self.m, self.config = m, config
        self.codebooks = codebook_depth(config, depths)
        self.results = drain_unit.results_depth(depths)
        self.rst = m.rst | m["flush"]
        self.units_ready: list[Signal] = []
        self.outputs: dict[str, Signal] = {}
        self._datapath()
        self.outputs["round_ready"] = all_of(self.units_ready)

    def _stream(self, name: str) -> Stream:
        """One of the core's input streams."""
        ready = Wire(1)
        self.outputs[f"{name}_ready"] = ready.signal
        return Stream(self.m[f"{name}_valid"], self.m[f"{name}_data"], ready)

    def _round(self, name: str, record: Fields) -> Stream:
        """A unit's queue of rounds: the fields of `record`."""
        fields = ROUND.unpack(self.m["round"])
        fields |= head_unit.strips(self.config, fields)
        data = record.pack(**{n: fields[n][0:w] for n, w in record.widths.items()})
        stream, ready = buffered(self.m, f"{name}_rounds", self.m["dispatch"], data, ROUNDS_AHEAD)
        self.units_ready.append(ready)
        return stream

    def _datapath(self) -> None:
        m, config, design = self.m, self.config, self.m.design
        bank_free, group_ready, acc_free = Wire(1), Wire(1), Wire(1)
        front = self._unit(
            front_unit.front_end(design, config),
            "front",
            front_unit.round_record(config),
            {"c": self._stream("c"), "x": self._stream("x")},
            bank_free=bank_free.signal,
        )
        codes_push, rows_push = Wire(config.weight_ports), Wire(config.weight_ports)
        head_inputs = dict(codes_push=codes_push.signal, rows_push=rows_push.signal, group_ready=group_ready.signal)
        streams = (
            {"rows_round": self._round("rows", head_unit.walk_round(config, lookups=False))}
            if config.row_steps > 1
            else {}
        )
        if config.builds_tables:
            head_inputs["centroids_ready"] = front["centroids_ready"]
            streams["build_round"] = self._round("build", head_unit.BUILD_ROUND)
        head = self._unit(
            head_unit.psum_control(design, config, self.codebooks),
            "head",
            head_unit.walk_round(config, lookups=True),
            streams,
            acc_free=acc_free.signal,
            **head_inputs,
        )
        group_ready.assign(front["group_ready"])
        feeds = self._distributors()
        codes_push.assign(pack([feed["codes_push"] for feed in feeds]))
        rows_push.assign(pack([feed["rows_push"] for feed in feeds]))
        control, sums = self._chains(front, head, feeds)

        # The chain's control runs ROW_STAGE cycles ahead of its sums; the accumulator wants to be one ahead.
        beat, fields = lookup_fields(config).unpack(control), accumulator_fields(config)
        late = lookup_fields(config).subset(*fields.widths, "group_last")
        control = late.pack(**{name: beat[name] for name in late.widths})
        beat = late.unpack(delay(m, control, ROW_STAGE - 1 + tree_latency(config), "control_late", reset=0))
        bank_free.assign(delay(m, beat["valid"] & beat["group_last"], _BANK_FREE, "bank_free", reset=0))
        self._finish(beat, sums, acc_free)

    def _finish(self, beat: dict[str, Signal], sums: Signal, acc_free: Wire) -> None:
        """Accumulator and requantizer."""
        m, config, design = self.m, self.config, self.m.design
        made = accumulator(design, config)
        drain = {name: Wire(width) for name, width in design.modules[made].inputs.items() if name.startswith("drain")}
        inputs = {name: wire.signal for name, wire in drain.items()}
        wanted = accumulator_fields(config)
        inputs["control"] = wanted.pack(**{name: beat[name] for name in wanted.widths})
        acc = m.instance(made, "accumulator", rst=self.rst, sums=sums, **inputs)
        out = self._unit(
            drain_unit.requantizer(design, config, self.results),
            "requantizer",
            drain_unit.ROUND,
            {"q": self._stream("q")},
            round_done=acc["round_done"],
            drained=acc["drained"],
            y_ready=m["y_ready"],
        )
        for name, wire in drain.items():
            wire.assign(out[name])
        acc_free.assign(out["acc_free"])
        self.outputs |= dict(y_valid=out["y_valid"], y_data=out["y_data"])

    def _unit(
        self, module: str, name: str, record: Fields, streams: dict[str, Stream], **inputs: Signal
    ) -> dict[str, Signal]:
        """An instance with a queue of rounds and the given input streams."""
        streams = {"round": self._round(name, record), **streams}
        for prefix, stream in streams.items():
            inputs |= {f"{prefix}_valid": stream.valid, f"{prefix}_data": stream.data}
        inputs = {port: signal for port, signal in inputs.items() if port in self.m.design.modules[module].inputs}
        out = self.m.instance(module, name, rst=self.rst, **inputs)
        for prefix, stream in streams.items():
            stream.ready.assign(out[f"{prefix}_ready"])
        return out

    def _distributors(self) -> list[dict[str, Signal]]:
        """One for each weight port: its outputs, its `data`, and what says that `all_ready`."""
        m, config, found = self.m, self.config, []
        for port, name in enumerate(config.weight_streams):
            all_ready, stream = Wire(1), self._stream(name)
            feed: dict[str, Any] = self._unit(
                weight_unit.weight_distributor(m.design, config),
                f"distribute_{port}",
                weight_unit.ROUND,
                {"w": stream},
                all_ready=all_ready.signal,
            )
            found.append(feed | dict(data=stream.data, all_ready=all_ready))
        return found

    def _chains(
        self, front: dict[str, Signal], head: dict[str, Signal], feeds: list[dict[str, Any]]
    ) -> tuple[Signal, Signal]:
        """The PSum engines; returns (control of the end of a chain, the sums of all)."""
        m, config = self.m, self.config
        made, engines, ends = psum_engine(m.design, config, self.codebooks), [], []
        widths = dict(operand_data=config.act_stages * config.operand_width, shift_data=front_unit.shift_bits(config))
        beats = ["control", "rows", *(["build"] if config.builds_tables else [])]
        to_all = ["operand_write", "operand_address", "shift_write", "shift_bank"]
        if config.builds_tables:
            widths["centroid_data"] = config.act_stages * config.chains * 2 * config.operand_bits
            to_all += ["centroid_write", "centroid_address"]
        parts = {name: front[name].chunks(bits) for name, bits in widths.items()}
        for i in range(config.pairs):
            if i % config.chain_pairs == 0:
                moving = {name: head[name] for name in beats}
                moving["partial"] = const(0, config.lanes * config.chain_bits)
            feed, unit = feeds[i // config.engines_per_port], i % config.engines_per_port * config.unit_bits
            inputs = {f"unit_{name}": feed[name] for name in ("fire", "kind", "last")}
            inputs |= {name: front[name] for name in to_all} | {name: part[i] for name, part in parts.items()}
            inputs["unit_data"] = feed["data"][unit : unit + config.unit_bits]
            out = m.instance(made, f"psum_{i}", rst=self.rst, **moving, **inputs)
            moving = {name: out[f"{name}_out"] for name in beats} | dict(partial=out["sums"])
            engines.append(out)
            if (i + 1) % config.chain_pairs == 0:
                ends.append(moving)
        per_port = config.engines_per_port
        for port, feed in enumerate(feeds):
            mine = engines[port * per_port : (port + 1) * per_port]
            feed["all_ready"].assign(all_of([engine["unit_ready"] for engine in mine]))
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
