"""An AXI4-Lite slave's channels: the bus on one side, accesses of one word each on the other.

In: the bus. Out: a write that has its address and data, a read that has its address, each held until it is taken. One
access each way at a time (the next address may wait already); readies depend on registers only, and are 0 in reset.
"""

from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, all_of, const, mux

OKAY, SLAVE_ERROR = 0, 2  # responses
WORD_BITS, WORD_BYTES = 32, 4


def slave_inputs(address_bits: int, prefix: str = "") -> dict[str, int]:
    """The bus's signals that come in, with their widths."""
    widths = {"awaddr": address_bits, "awvalid": 1, "wdata": WORD_BITS, "wstrb": WORD_BYTES, "wvalid": 1, "bready": 1}
    widths |= {"araddr": address_bits, "arvalid": 1, "rready": 1}
    return {f"{prefix}{name}": bits for name, bits in widths.items()}


def slave_outputs(prefix: str = "") -> dict[str, int]:
    """The bus's signals that go out, with their widths."""
    widths = {"awready": 1, "wready": 1, "bresp": 2, "bvalid": 1, "arready": 1, "rdata": WORD_BITS, "rresp": 2}
    return {f"{prefix}{name}": bits for name, bits in (widths | {"rvalid": 1}).items()}


def axi_lite_slave(design: Design, address_bits: int) -> str:
    """`write_*` stands until `write_ready`, which says with `write_ok` how it went. `read_valid` and its address stand
    until `read_ready`; `read_data` and `read_ok` are wanted a cycle later."""

    def body(m: Module) -> dict[str, Signal]:
        return _write(m) | _read(m)

    inputs = slave_inputs(address_bits) | {"write_ready": 1, "write_ok": 1}
    inputs |= {"read_ready": 1, "read_data": WORD_BITS, "read_ok": 1}
    outputs = slave_outputs() | {"write_valid": 1, "write_address": address_bits, "write_data": WORD_BITS}
    outputs |= {"write_whole": 1, "read_valid": 1, "read_address": address_bits}
    return design.module(f"axi_lite_slave_{address_bits}", inputs, outputs, body)


def _write(m: Module) -> dict[str, Signal]:
    """Address and data come in any order; both are held until the access is taken and its response has room."""
    address, data, answering = (m.state(1, name, reset=0) for name in ("aw_held", "w_held", "b_held"))
    due = all_of([address.signal, data.signal, ~answering.signal])
    taken = (due & m["write_ready"]).named("write_taken")
    take_address, take_data = m["awvalid"] & ~address.signal, m["wvalid"] & ~data.signal
    address.set(take_address | (address.signal & ~taken))
    data.set(take_data | (data.signal & ~taken))
    answering.set(taken | (answering.signal & ~m["bready"]))
    return dict(
        awready=~(address.signal | m.rst),
        wready=~(data.signal | m.rst),
        bvalid=answering.signal & ~m.rst,
        bresp=_response(m, m["write_ok"], "bresp_q", taken),
        write_valid=due,
        write_address=m.reg(m["awaddr"], "write_address_q", enable=take_address),
        write_data=m.reg(m["wdata"], "write_data_q", enable=take_data),
        write_whole=m.reg(m["wstrb"].eq((1 << WORD_BYTES) - 1), "write_whole_q", enable=take_data),
    )


def _read(m: Module) -> dict[str, Signal]:
    address, answering = m.state(1, "ar_held", reset=0), m.state(1, "r_held", reset=0)
    fetching = m.state(1, "fetching", reset=0)
    due = all_of([address.signal, ~fetching.signal, ~answering.signal])
    taken = (due & m["read_ready"]).named("read_taken")
    take_address = m["arvalid"] & ~address.signal
    address.set(take_address | (address.signal & ~taken))
    fetching.set(taken)
    answering.set(fetching.signal | (answering.signal & ~m["rready"]))
    return dict(
        arready=~(address.signal | m.rst),
        rvalid=answering.signal & ~m.rst,
        rdata=m.reg(m["read_data"], "rdata_q", enable=fetching.signal),
        rresp=_response(m, m["read_ok"], "rresp_q", fetching.signal),
        read_valid=due,
        read_address=m.reg(m["araddr"], "read_address_q", enable=take_address),
    )


def _response(m: Module, ok: Signal, name: str, enable: Signal) -> Signal:
    return m.reg(mux(ok, const(OKAY, 2), const(SLAVE_ERROR, 2)), name, enable=enable)
