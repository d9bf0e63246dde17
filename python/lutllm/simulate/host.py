"""What a host does over AXI4-Lite: reads and writes registers of a simulated accelerator by name.

In: a `TestBench` of a design with the slave s_axi_control. The register map is the hardware's own.
"""

from __future__ import annotations

from lutllm.errors import SimulationError
from lutllm.lowering.hardware.control.register_map import OFFSETS
from lutllm.lowering.hardware.control.registers import PREFIX
from lutllm.simulate.testbench import TestBench

_PATIENCE = 1000  # cycles until an access must be answered


class Host:
    """One bus, one access at a time."""

    def __init__(self, bench: TestBench) -> None:
        self.bench = bench
        self._peek, self._poke = bench.simulator.peek, bench.simulator.poke

    def write(self, register: str | int, value: int) -> None:
        """Write a register by name, or a word by byte address; SimulationError where the slave refuses."""
        self._set(awaddr=self._address(register), awvalid=1, wdata=value, wstrb=0xF, wvalid=1, bready=1)
        response = self._exchange(("aw", "w"), "b")
        self._set(bready=0)
        self._check("write", register, response)

    def read(self, register: str | int) -> int:
        """Read a register by name, or a word by byte address; SimulationError where the slave refuses."""
        self._set(araddr=self._address(register), arvalid=1, rready=1)
        self._exchange(("ar",), "r")
        self._set(rready=0)
        self._check("read", register, self._response)
        return self._data

    def _address(self, register: str | int) -> int:
        return OFFSETS[register] if isinstance(register, str) else register

    def _set(self, **signals: int) -> None:
        for name, value in signals.items():
            self._poke(f"{PREFIX}{name}", value)

    def _exchange(self, requests: tuple[str, ...], answer: str) -> int:
        """Clock until every request is taken and the answer has come."""
        open_ = set(requests)
        for _ in range(_PATIENCE):
            taken = {name for name in open_ if self._peek(f"{PREFIX}{name}ready")}
            answered = not open_ and self._peek(f"{PREFIX}{answer}valid")
            self._response = self._peek(f"{PREFIX}{answer}resp")
            self._data = self._peek(f"{PREFIX}rdata")
            self.bench.step()
            for name in taken:
                self._set(**{f"{name}valid": 0})
            open_ -= taken
            if answered:
                return self._response
        raise SimulationError(f"expected an answer of the registers within {_PATIENCE} cycles, got none")

    def _check(self, what: str, register: str | int, response: int) -> None:
        if response:
            raise SimulationError(f"{what} of register {register}: expected OKAY, got the response {response}")
