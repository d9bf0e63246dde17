"""The cocotb side of test_independent_memory.py: runs inside the Icarus simulator, not under pytest."""

import json
import mmap
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiRamRead, AxiRamWrite, AxiReadBus, AxiWriteBus

GIVEN = json.loads(Path("given.json").read_text())
REGISTERS, BASE = GIVEN["registers"], GIVEN["base"]
LONG = 200_000  # cycles


class Board:
    """The accelerator, a memory that nothing but power-on resets, and a host."""

    def __init__(self, dut) -> None:  # type: ignore[no-untyped-def]
        self.dut, rng = dut, random.Random(GIVEN["seed"])
        image = Path("image.bin").read_bytes()
        self.memory = mmap.mmap(-1, BASE + -(-len(image) // 4096) * 4096)
        self.memory[BASE : BASE + len(image)] = image
        self.ports = []
        clock = dut.ap_clk_2 if GIVEN["bus_clock"] else dut.ap_clk
        for name in GIVEN["reads"]:
            port = AxiRamRead(AxiReadBus.from_prefix(dut, f"m_axi_{name}"), clock, mem=self.memory)
            self.ports.append(port.r_channel)
        for name in GIVEN["writes"]:
            port = AxiRamWrite(AxiWriteBus.from_prefix(dut, f"m_axi_{name}"), clock, mem=self.memory)
            self.ports += [port.b_channel, port.w_channel]
        for channel in self.ports:
            channel.set_pause_generator(rng.random() < GIVEN["pauses"] for _ in iter(int, 1))
        bus = AxiLiteBus.from_prefix(dut, "s_axi_control")
        self.host = AxiLiteMaster(bus, dut.ap_clk, dut.ap_rst_n, reset_active_level=False)

    async def reset(self, cycles: int) -> None:
        self.dut.ap_rst_n.value = 0
        await ClockCycles(self.dut.ap_clk, cycles)
        assert not any(self.dut[f"s_axi_control_{name}ready"].value for name in ("aw", "w", "ar"))
        self.dut.ap_rst_n.value = 1
        await RisingEdge(self.dut.ap_clk)

    async def write(self, register: str, value: int) -> None:
        await self.host.write_dword(REGISTERS[register], value)

    async def read(self, register: str) -> int:
        return await self.host.read_dword(REGISTERS[register])

    async def start(self, control: int) -> None:
        for i, token in enumerate(GIVEN["prompt"]):
            await self.host.write_dword(GIVEN["window"] + 4 * i, token)
        values = dict(GIE=1, IER=3, ISR=3, POSITION=0, LENGTH=len(GIVEN["prompt"]), TOKENS=len(GIVEN["tokens"]))
        model = divmod(GIVEN["model"], 1 << 32)
        values |= dict(IMAGE_LOW=BASE, IMAGE_HIGH=0, MODEL_LOW=model[1], MODEL_HIGH=model[0])
        for name, value in values.items():
            await self.write(name, value)
        await self.write("CONTROL", control)

    async def end(self) -> tuple[int, int]:
        """(the error, ISR) once the interrupt has come."""
        if not self.dut.irq.value:
            await First(RisingEdge(self.dut.irq), ClockCycles(self.dut.ap_clk, LONG))
        status, isr = await self.read("STATUS"), await self.read("ISR")
        assert status & 3 == 2, hex(status)  # done, and not busy
        await self.write("ISR", isr)
        assert self.dut.irq.value == 0
        return status >> 8, isr

    async def tokens(self) -> list[int]:
        made, first = await self.read("MADE"), GIVEN["window"] + 4 * len(GIVEN["prompt"])
        inner = [await self.host.read_dword(first + 4 * i) for i in range(max(0, made - 1))]
        return inner + [await self.read("LAST")][:made]


@cocotb.test()
async def a_driver_gets_what_it_is_promised(dut):  # type: ignore[no-untyped-def]
    dut.ap_rst_n.value, dut.ap_clk.value = 0, 0
    if GIVEN["bus_clock"]:
        dut.ap_clk_2.value = 0
    await Timer(10, "ns")  # nothing but the reset is known before the first clock
    board = Board(dut)
    cocotb.start_soon(Clock(dut.ap_clk, 4, unit="ns").start())
    if GIVEN["bus_clock"]:
        period, phase = GIVEN["bus_clock"]
        if phase:
            await Timer(phase, "ps")
        cocotb.start_soon(Clock(dut.ap_clk_2, period, unit="ps").start())
    await board.reset(8)
    # Every register and any token can be read before the first run: in four states, a read of X raises.
    for name in REGISTERS:
        await board.read(name)
    assert await board.read("LAST") == 0 and await board.host.read_dword(GIVEN["window"] + 36) == 0
    await board.start(GIVEN["VERIFY"])
    assert await board.end() == (0, 1)
    await board.start(GIVEN["START"])
    assert await board.end() == (0, 1) and await board.tokens() == GIVEN["tokens"]
    # A reset of the accelerator alone, at a time at which memory owes it something.
    await board.start(GIVEN["START"])
    for _ in range(3):
        await RisingEdge(dut.m_axi_w0_arvalid)
    await board.reset(4)
    await board.start(GIVEN["START"])
    assert await board.end() == (0, 1) and await board.tokens() == GIVEN["tokens"]
    # The end that the host asks for, and one more run.
    await board.start(GIVEN["START"])
    await ClockCycles(dut.ap_clk, 1500)
    await board.write("CONTROL", GIVEN["ABORT"])
    assert await board.end() == (GIVEN["aborted"], 1)
    await board.start(GIVEN["START"])
    assert await board.end() == (0, 1) and await board.tokens() == GIVEN["tokens"]
