"""An AXI4-Lite slave's channels: the bus on one side, accesses of one word each on the other.

In: the bus. Out: a write that has its address and data, a read that has its address, each held until it is taken. One
access each way at a time (the next address may wait already); readies depend on registers only, and are 0 in reset.
"""

from lutllm.lowering.hardware.lib.bundle import Bundle, Link, Wire
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux

OKAY, SLAVE_ERROR = 0, 2  # responses
WORD_BITS, WORD_BYTES = 32, 4


def lite_bus(address_bits: int, *, bare: bool = False) -> Bundle:
    """The bus of a slave: the master's signals come in, its own go back."""
    given = {"awaddr": address_bits, "awvalid": 1, "wdata": WORD_BITS, "wstrb": WORD_BYTES, "wvalid": 1, "bready": 1}
    given |= {"araddr": address_bits, "arvalid": 1, "rready": 1}
    back = {"awready": 1, "wready": 1, "bresp": 2, "bvalid": 1, "arready": 1, "rdata": WORD_BITS, "rresp": 2}
    return Bundle(given, back | {"rvalid": 1}, bare=bare)


def axi_lite_slave(design: Design, address_bits: int) -> str:
    """`write_*` stands until `write_ready`, which says with `write_ok` how it went. `read_valid` and its address stand
    until `read_ready`; `read_data` and `read_ok` are wanted a cycle later."""

    def body(m: Module) -> dict[str, Signal]:
        write, read = _write(m, m["bus"]), _read(m, m["bus"])
        return write | read

    inputs = {"bus": lite_bus(address_bits, bare=True), "write_ready": 1, "write_ok": 1}
    inputs |= {"read_ready": 1, "read_data": WORD_BITS, "read_ok": 1}
    outputs = {"write_valid": 1, "write_address": address_bits, "write_data": WORD_BITS, "write_whole": 1}
    outputs |= {"read_valid": 1, "read_address": address_bits}
    return design.module(f"axi_lite_slave_{address_bits}", inputs, outputs, body)


def _write(m: Module, bus: Link) -> dict[str, Signal]:
    """Address and data come in any order; both are held until the access is taken and its response has room."""
    taken = Wire(1)
    take_address, take_data = Wire(1), Wire(1)
    address = m.flag("aw_held", take_address.signal, taken.signal)
    data = m.flag("w_held", take_data.signal, taken.signal)
    answering = m.flag("b_held", taken.signal, bus.bready)
    due = all_of([address, data, ~answering])
    taken.assign((due & m["write_ready"]).named("write_taken"))
    take_address.assign(bus.awvalid & ~address)
    take_data.assign(bus.wvalid & ~data)
    response = _response(m, m["write_ok"], "bresp_q", taken.signal)
    ready = dict(awready=~(address | m.rst), wready=~(data | m.rst))
    bus.drive(**ready, bvalid=answering & ~m.rst, bresp=response)
    return dict(
        write_valid=due,
        write_address=m.reg(bus.awaddr, "write_address_q", enable=take_address.signal),
        write_data=m.reg(bus.wdata, "write_data_q", enable=take_data.signal),
        write_whole=m.reg(bus.wstrb.eq((1 << WORD_BYTES) - 1), "write_whole_q", enable=take_data.signal),
    )


def _read(m: Module, bus: Link) -> dict[str, Signal]:
    taken, take = Wire(1), Wire(1)
    held = m.flag("ar_held", take.signal, taken.signal)
    fetching = m.reg(taken.signal, "fetching", reset=0)
    answering = m.flag("r_held", fetching, bus.rready)
    due = all_of([held, ~fetching, ~answering])
    taken.assign((due & m["read_ready"]).named("read_taken"))
    take.assign(bus.arvalid & ~held)
    data = m.reg(m["read_data"], "rdata_q", enable=fetching)
    response = _response(m, m["read_ok"], "rresp_q", fetching)
    bus.drive(arready=~(held | m.rst), rvalid=answering & ~m.rst, rdata=data, rresp=response)
    return dict(read_valid=due, read_address=m.reg(bus.araddr, "read_address_q", enable=take.signal))


def _response(m: Module, ok: Signal, name: str, enable: Signal) -> Signal:
    return m.reg(mux(ok, const(OKAY, 2), const(SLAVE_ERROR, 2)), name, enable=enable)
