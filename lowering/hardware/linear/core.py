"""The LutLinear engine without its memory ports: front end, chain of PSum engines, accumulator, requantizer.

Rounds come by `dispatch`, to all units at once; words of x, c, q and beats of each weight port come as streams, and
stream y leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lutllm.lowering.hardware.lib.circt import CREDIT, Design, Fields, Module, Signal, Wire, all_of, const, delay, pack
from lutllm.lowering.hardware.lib.memory import FIFO_LATENCY, Stream, buffered
from lutllm.lowering.hardware.linear import control as head_unit
from lutllm.lowering.hardware.linear import front as front_unit
from lutllm.lowering.hardware.linear import requantize as drain_unit
from lutllm.lowering.hardware.linear import weights as weight_unit
from lutllm.lowering.hardware.linear.accumulate import ROUND_DONE, accumulator
from lutllm.lowering.hardware.linear.psum import (
    CODES_STAGE,
    ROW_STAGE,
    TABLE_STAGE,
    accumulator_fields,
    codebook_depth,
    control_fields,
    psum_engine,
)
from lutllm.lowering.hardware.linear.records import ROUND
from lutllm.lowering.hardware.linear.search import search_latency, swap_latency
from lutllm.lowering.machine.engine import ROUNDS_AHEAD, EngineConfig

_BANK_FREE = 1  # cycles from a beat at the accumulator until its bank of operands is given back


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
    last = head_unit.ISSUE + config.pairs - 1  # until a beat is at the last engine of the chain
    late = last + 1 + ROW_STAGE - 1  # until it is at the accumulator
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
        codes_push, rows_push = Wire(config.pairs), Wire(config.pairs)
        head_inputs = dict(codes_push=codes_push.signal, rows_push=rows_push.signal, group_ready=group_ready.signal)
        builds = config.builds_tables
        streams = {}
        if builds:
            head_inputs["centroids_ready"] = front["centroids_ready"]
            streams = {"build_round": self._round("build", head_unit.BUILD_ROUND)}
        head = self._unit(
            head_unit.psum_control(design, config, self.codebooks),
            "head",
            head_unit.ROUND,
            streams,
            acc_free=acc_free.signal,
            **head_inputs,
        )
        group_ready.assign(front["group_ready"])
        control, sums, pushes = self._chain(front, head)
        codes_push.assign(pack([push["codes_push"] for push in pushes]))
        rows_push.assign(pack([push["rows_push"] for push in pushes]))

        # The chain's control runs ROW_STAGE cycles ahead of its sums; the accumulator wants to be one ahead.
        beat = control_fields(config).unpack(control)
        late = control_fields(config).subset(*accumulator_fields(config).widths, "group_last")
        control = late.pack(**{name: beat[name] for name in late.widths})
        beat = late.unpack(delay(m, control, ROW_STAGE - 1, "control_late", reset=0))
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

    def _chain(
        self, front: dict[str, Signal], head: dict[str, Signal]
    ) -> tuple[Signal, Signal, list[dict[str, Signal]]]:
        """The PSum engines and the weight ports' distributors; returns (last control, sums, each engine's outputs)."""
        m, config = self.m, self.config
        made = psum_engine(m.design, config, self.codebooks)
        control, build = head["control"], head.get("build")
        sums = const(0, config.lanes * config.psum_bits)
        engines, units, ready_wires = [], [], []
        for port, name in enumerate(config.weight_streams):
            all_ready, stream = Wire(1), self._stream(name)
            feed = self._unit(
                weight_unit.weight_distributor(m.design, config),
                f"distribute_{port}",
                weight_unit.ROUND,
                {"w": stream},
                all_ready=all_ready.signal,
            )
            units += [(feed, unit) for unit in stream.data.chunks(config.unit_bits)]
            ready_wires.append(all_ready)
        share = config.act_stages * config.chains * 2 * config.operand_bits
        operand = config.act_stages * config.operand_width
        for i, (feed, unit) in enumerate(units):
            inputs = dict(control=control, partial=sums, unit_fire=feed["fire"], unit_kind=feed["kind"])
            inputs |= dict(unit_last=feed["last"], unit_data=unit, operand_write=front["operand_write"])
            inputs["operand_address"] = front["operand_address"]
            inputs["operand_data"] = front["operand_data"][i * operand : (i + 1) * operand]
            inputs |= dict(shift_write=front["shift_write"], shift_bank=front["shift_bank"])
            shifts = front_unit.shift_bits(config)
            inputs["shift_data"] = front["shift_data"][i * shifts : (i + 1) * shifts]
            if build is not None:
                inputs |= dict(build=build, centroid_write=front["centroid_write"])
                inputs["centroid_address"] = front["centroid_address"]
                inputs["centroid_data"] = front["centroid_data"][i * share : (i + 1) * share]
            out = m.instance(made, f"psum_{i}", rst=self.rst, **inputs)
            control, sums, build = out["control_out"], out["sums"], out.get("build_out")
            engines.append(out)
        per_port = config.engines_per_port
        for port, wire in enumerate(ready_wires):
            mine = engines[port * per_port : (port + 1) * per_port]
            wire.assign(all_of([engine["unit_ready"] for engine in mine]))
        return control, sums, engines
