"""Cycle simulation: a design at hw level or in SystemVerilog, driven by one native test bench.

`ArcSimulator` compiles in this process; `VerilatorSimulator` compiles the emitted SystemVerilog. `TestBench` drives
either, with the same stimulus and the same count of cycles.
"""

from lutllm.errors import SimulationError
from lutllm.simulate.axi_port import AxiTiming, PortTraffic
from lutllm.simulate.simulator import ArcSimulator, Simulator
from lutllm.simulate.testbench import Memory, RunResult, TestBench, run_streams
from lutllm.simulate.verilator import VerilatorSimulator
from lutllm.simulate.waveform import Trace
