"""The cocotb side of test_simulate_cocotb.py: runs inside the Icarus simulator, not under pytest."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiRamRead, AxiReadBus

BEATS = (1, 8, 3, 20, 16, 0, 5)


@cocotb.test()
async def reads_what_the_commands_name(dut):  # type: ignore[no-untyped-def]
    rng = random.Random(1)
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    ram = AxiRamRead(AxiReadBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=1 << 14)
    content = rng.randbytes(1 << 14)
    ram.write(0, content)
    ram.r_channel.set_pause_generator(rng.random() < 0.3 for _ in iter(int, 1))
    dut.command_valid.value, dut.data_ready.value, dut.rst.value = 0, 0, 1
    for _ in range(4):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    commands = [(8 * rng.randrange((1 << 11) - max(BEATS)), beats) for beats in BEATS]
    expected = b"".join(content[address : address + 8 * beats] for address, beats in commands)
    cocotb.start_soon(send(dut, commands))
    received = b""
    for _ in range(5000):
        dut.data_ready.value = rng.random() < 0.7
        await RisingEdge(dut.clk)
        if dut.data_valid.value == 1 and dut.data_ready.value == 1:
            received += int(dut.data_data.value).to_bytes(8, "little")
        if len(received) == len(expected):
            break
    assert received == expected
    assert dut.error.value == 0


async def send(dut, commands):  # type: ignore[no-untyped-def]
    for address, beats in commands:
        dut.command_valid.value, dut.command_address.value, dut.command_beats.value = 1, address, beats
        await RisingEdge(dut.clk)
        while dut.command_ready.value != 1:
            await RisingEdge(dut.clk)
    dut.command_valid.value = 0
