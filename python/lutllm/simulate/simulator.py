"""What a test bench drives: a state buffer, a layout that names bytes of it, and a native function that steps it.

In: an `ArcModel`. Out: an `ArcSimulator`. `VerilatorSimulator` (lutllm.simulate.verilator) offers the same
interface over the emitted SystemVerilog.
"""

from __future__ import annotations

import ctypes
import threading

import llvmlite.binding as llvm
import numpy as np

from lutllm.errors import SimulationError
from lutllm.lowering.export.hw_to_arc import ArcModel, Layout, Port, State
from lutllm.simulate.joined import joined

BUS_CLOCKS = ("ap_clk_2", "m_clk")  # of a whole accelerator; of a unit
_ALIGNMENT = 64  # generated code may load wide values with aligned vector moves


class Simulator:
    """A design in simulation. `state` is its buffer, `address` the function `void f(uint8_t *state)` to step it.

    Ports are set and read with `poke` and `peek`; `evaluate` lets outputs follow inputs; `cycle` is one clock.
    """

    def __init__(self, layout: Layout, address: int) -> None:
        self.layout = layout
        self.address = address
        raw = np.zeros(layout.size + _ALIGNMENT, np.uint8)
        start = -raw.ctypes.data % _ALIGNMENT
        self.state = raw[start : start + layout.size]
        self._function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
        self._ports = {port.name: port for port in layout.ports}

    def port(self, name: str) -> Port:
        if name not in self._ports:
            raise SimulationError(f"expected a port of {self.layout.top!r} ({', '.join(self._ports)}), got {name!r}")
        return self._ports[name]

    def evaluate(self) -> None:
        self._function(self.state.ctypes.data)

    def poke(self, name: str, value: int) -> None:
        """Set an input to `value` (unsigned, or negative in two's complement)."""
        port = self.port(name)
        if port.direction != "in":
            raise SimulationError(f"expected an input of {self.layout.top!r}, got output {name!r}")
        if not -(1 << (port.bits - 1)) <= value < 1 << port.bits:
            raise SimulationError(f"expected a value of {port.bits} bits for port {name!r}, got {value}")
        self._store(port, value & ((1 << port.bits) - 1))

    def peek(self, name: str) -> int:
        """A port's value, unsigned."""
        return self._load(self.port(name))

    def peek_state(self, name: str, index: int = 0) -> int:
        """A register's value, or word `index` of a memory, by hierarchical name."""
        state = self.layout.state(name)
        return self._load(state, index * state.stride)

    def _load(self, place: Port | State, skip: int = 0) -> int:
        start = place.offset + skip
        return int.from_bytes(self.state[start : start + place.bytes].tobytes(), "little") & ((1 << place.bits) - 1)

    def _store(self, place: Port, value: int) -> None:
        data = np.frombuffer(value.to_bytes(place.bytes, "little"), np.uint8)
        self.state[place.offset : place.offset + place.bytes] = data

    @property
    def clock_ports(self) -> tuple[str, ...]:
        """The clock, and the one that AXI4 masters have for themselves."""
        core = "ap_clk" if self.layout.has_port("ap_clk") else "clk"
        return core, *(name for name in BUS_CLOCKS if self.layout.has_port(name))

    @property
    def reset_port(self) -> tuple[str, int]:
        """(name, active value) of the reset."""
        return ("ap_rst_n", 0) if self.layout.has_port("ap_rst_n") else ("rst", 1)

    def cycle(self, cycles: int = 1) -> None:
        """Let outputs settle with the inputs as they are, then clock once, all clocks at a time; `cycles` times."""
        for _ in range(cycles):
            for level in (0, 1):
                for clock in self.clock_ports:
                    self.poke(clock, level)
                self.evaluate()

    def reset(self, cycles: int = 4) -> None:
        """Zero every input, hold reset for `cycles` clocks, release it. Memories keep their contents."""
        for port in self.layout.ports:
            if port.direction == "in":
                self._store(port, 0)
        if self.layout.has_port(self.clock_ports[0]):
            name, active = self.reset_port
            self.poke(name, active)
            self.cycle(cycles)
            self.poke(name, 1 - active)
            for clock in self.clock_ports:
                self.poke(clock, 0)
        self.evaluate()

    def configure(self) -> None:
        """As when the device is configured: what keeps its state through a reset forgets it with the next."""

    def trace_to(self, path: str | None) -> None:
        """Begin (or, with None, end) a waveform written by the simulator itself, where it can."""
        raise SimulationError("this simulator writes no waveform of its own; ask the test bench for one")


class ArcSimulator(Simulator):
    """A design compiled to machine code in this process. Registers and memories start at 0, or as `randomize` left
    them."""

    def __init__(self, model: ArcModel, *, optimize: int = 2) -> None:
        models = [model, *model.blocks.values()]
        self._engines = [_compile(each.llvm_ir, optimize) for each in models]
        layout, (address, *others) = (
            model.layout,
            [
                engine.get_function_address(each.layout.function)
                for engine, each in zip(self._engines, models, strict=True)
            ],
        )
        if model.cuts:
            parts = zip(model.blocks.items(), others, strict=True)
            blocks = {name: (each.layout, function) for (name, each), function in parts}
            layout, self._step = joined(layout, address, model.cuts, blocks)
            address = self._step.address
        super().__init__(layout, address)

    def randomize(self, seed: int) -> None:
        """Put random values into every register and memory, as at power-up; `reset` must then be enough."""
        rng = np.random.default_rng(seed)
        for state in self.layout.states:
            cells = rng.integers(0, 256, (max(state.depth, 1), state.bytes), np.uint8)
            cells[:, -1] &= 0xFF >> (-state.bits % 8)
            for index, cell in enumerate(cells):
                start = state.offset + index * state.stride
                self.state[start : start + state.bytes] = cell
        self.configure()

    def configure(self) -> None:
        for state in self.layout.states:
            if state.name.endswith("power_on"):
                self.state[state.offset] = 0


_lock = threading.Lock()
_ready = False


def _compile(text: str, optimize: int) -> llvm.ExecutionEngine:
    with _lock:
        _initialize()
        try:
            module = llvm.parse_assembly(text)
            module.verify()
        except RuntimeError as error:
            raise SimulationError(f"LLVM refused the simulation code: {str(error).strip()}") from error
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=optimize, jit=True
        )
        module.triple, module.data_layout = machine.triple, str(machine.target_data)
        options = llvm.create_pipeline_tuning_options(speed_level=optimize)
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.finalize_object()
    return engine


def _initialize() -> None:
    global _ready
    if not _ready:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        _ready = True
