"""A simulated accelerator as the `Device` of a driver: registers over AXI4-Lite, memory, and time.

In: a `TestBench` of a design with the slave s_axi_control, which runs until its interrupt.
"""

from __future__ import annotations

import numpy as np

from lutllm.errors import SimulationError
from lutllm.lowering.hardware.control.register_map import OFFSETS
from lutllm.lowering.hardware.control.registers import PREFIX
from lutllm.simulate.testbench import CYCLE_LIMIT, DONE, WATCHDOG, RunResult, TestBench

POLL = 50_000  # cycles between two looks at the registers
PAUSE = 64  # cycles
_PATIENCE = 1000  # cycles until an access must be answered
_NAMES = {offset: name for name, offset in OFFSETS.items()}


class SimulatedDevice:
    """One bus, one access at a time. `result` is that of the last wait; `left` cycles are waited for at most."""

    def __init__(self, bench: TestBench) -> None:
        self.bench, self.left = bench, 0
        self.result: RunResult | None = None
        self._peek, self._poke = bench.simulator.peek, bench.simulator.poke

    def write_register(self, offset: int, value: int) -> None:
        """SimulationError where the slave refuses."""
        self._set(awaddr=offset, awvalid=1, wdata=value, wstrb=0xF, wvalid=1, bready=1)
        response = self._exchange(("aw", "w"), "b")
        self._set(bready=0)
        self._check("write", offset, response)

    def read_register(self, offset: int) -> int:
        """SimulationError where the slave refuses."""
        self._set(araddr=offset, arvalid=1, rready=1)
        self._exchange(("ar",), "r")
        self._set(rready=0)
        self._check("read", offset, self._response)
        return self._data

    def write_memory(self, address: int, data: np.ndarray) -> None:
        self.bench.memory.write(address, data)

    def wait(self) -> bool:
        """Also True where the bench gave up. Raises `SimulationError` where a rule of the bus is broken: no register
        can be read after that."""
        self.result = self.bench.run(min(POLL, self.left))
        self.left -= POLL
        if self.result.stop not in (DONE, CYCLE_LIMIT, WATCHDOG):
            self.result.check()
        return self.result.stop != CYCLE_LIMIT or self.left <= 0

    def pause(self) -> None:
        self.bench.step(PAUSE)

    def reset(self) -> None:
        self.bench.reset()

    def _set(self, **signals: int) -> None:
        for name, value in signals.items():
            self._poke(f"{PREFIX}_{name}", value)

    def _exchange(self, requests: tuple[str, ...], answer: str) -> int:
        """Clock until every request is taken and the answer has come."""
        open_ = set(requests)
        for _ in range(_PATIENCE):
            taken = {name for name in open_ if self._peek(f"{PREFIX}_{name}ready")}
            answered = not open_ and self._peek(f"{PREFIX}_{answer}valid")
            self._response = self._peek(f"{PREFIX}_{answer}resp")
            self._data = self._peek(f"{PREFIX}_rdata")
            self.bench.step()
            for name in taken:
                self._set(**{f"{name}valid": 0})
            open_ -= taken
            if answered:
                return self._response
        raise SimulationError(f"expected an answer of the registers within {_PATIENCE} cycles, got none")

    def _check(self, what: str, offset: int, response: int) -> None:
        if response:
            register = _NAMES.get(offset, offset)
            raise SimulationError(f"{what} of register {register}: expected OKAY, got the response {response}")
