"""The host's registers: an AXI4-Lite slave, and the memory of the sequence's token ids, if any engine uses it.

In: `register_map.REGISTERS`. Out: a module with the slave's port `s_axi_control`, what the sequencer needs to know, and
the ports through which tokens are read (to embed) and appended. What a host must not do - unknown or unaligned
addresses, writes to what is read-only, writes of part of a word, writes during a run - is answered with SLVERR and
changes nothing; a start during a run is ignored. Interrupts are those of the control protocol ap_ctrl_hs, but that
writing a 1 clears a bit of ISR, where it toggles it there.
"""

from __future__ import annotations

from dataclasses import dataclass

from lutllm.lowering.hardware.control.axi_lite import WORD_BITS, axi_lite_slave, lite_bus
from lutllm.lowering.hardware.control.register_map import ABORT, REGISTERS, START, STOPS, VERIFY, VERSION, address_bits
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.hardware.lib.signal import Signal, all_of, any_of, const, mux, pack, select
from lutllm.lowering.hardware.lib.stream import Read, Write
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for

PREFIX = "s_axi_control"
ENGINES_BITS = 16  # of the mask of stalled engines
_HELD = tuple(register.name for register in REGISTERS if register.access == "rw" and register.name != "ISR")
_ALWAYS = tuple(register.name for register in REGISTERS if register.always)
# What the sequencer is told, and the registers that say it, the lowest bits first.
_TOLD: dict[str, tuple[str, ...]] = {name.lower(): (name,) for name in ("POSITION", "LENGTH", "TOKENS")}
_TOLD |= {name.lower(): (f"{name}_LOW", f"{name}_HIGH") for name in ("IMAGE", "MODEL")}
_TOLD["stops"] = tuple(f"STOP{i}" for i in range(STOPS))


def registers(design: Design, config: AcceleratorConfig) -> str:
    """To the sequencer: `start` (a pulse, never while `busy` or not `quiet`), then steady during a run `verifies`,
    `position`, `length`, `tokens`, `stops`, `image` and `model`; `abort`, a pulse. From it: `busy` (at the latest a
    cycle after `start`), `done` (a pulse), `error`, `made`, `last` and `cycles`; from the watchdog `watchdog` and
    `stalled`. `quiet`: the bus owes nothing.

    Where there are tokens, `ids_read` of token `ids_read_address` brings `ids_read_data` a cycle later; `token_write`
    appends. The host's accesses wait for both.
    """
    slave = axi_lite_slave(design, address_bits(config))

    def body(m: Module) -> dict[str, Signal]:
        axi = m.instance(slave, "slave", bus=m[PREFIX])
        start = m.state(1, "start_q", reset=0)  # waits until the bus is quiet
        appends = m["token_write"] if config.has_sequence else None
        running = (m["busy"] | start.signal).named("running")

        write = _place(axi["write_address"], config)
        ready = ~(write.is_token & appends.enable) if appends else const(1, 1)
        settable = any_of([write.is_token, *(write.hits[name] for name in _HELD)]) & ~running
        ok = axi["write_whole"] & any_of([settable, *(write.hits[name] for name in _ALWAYS)])
        ok = ok.named("write_ok")
        whole = all_of([axi["write_valid"], ready, axi["write_whole"]])
        done = {name: whole & hit & (const(1, 1) if name in _ALWAYS else ~running) for name, hit in write.hits.items()}
        axi.connect(write_ready=ready, write_ok=ok)
        command = done["CONTROL"].named("command")
        starts = all_of([command, (axi["write_data"][0:3] & (START | VERIFY)).ne(0), ~running])
        start.set(starts | (start.signal & ~m["quiet"]))
        verifies = m.reg((axi["write_data"][0:3] & VERIFY).ne(0), "verifies_q", enable=starts, reset=0)
        bits = {register.name: register.bits for register in REGISTERS}
        held = {
            name: m.reg(axi["write_data"][0 : bits[name]], name.lower(), enable=done[name], reset=0) for name in _HELD
        }
        cleared = mux(done["ISR"], axi["write_data"][0:2], const(0, 2))
        held["ISR"] = _events(m, cleared)

        read = _place(axi["read_address"], config)
        host = (
            (all_of([whole, write.is_token, ~running]), write.token, axi["write_data"]),
            (axi["read_valid"], read.token),
        )
        ids = _ids(m, config, *host) if config.has_sequence else const(0, WORD_BITS)
        readable = ~(read.is_token & m["ids_read"].enable) if config.has_sequence else const(1, 1)
        taken = axi["read_valid"] & readable
        values = held | _status(m, running, starts, taken & read.hits["CYCLES_LOW"]) | _constants(config)
        data, known = _answer(m, taken, read, values, ids)
        axi.connect(read_ready=readable, read_data=data, read_ok=known)

        told = {name: pack([held[register] for register in parts]) for name, parts in _TOLD.items()}
        told |= dict(
            start=start.signal & m["quiet"],
            verifies=verifies,
            abort=m.reg(command & axi["write_data"][1], "abort_q", reset=0),
        )
        assert ABORT == 1 << 1
        told["irq"] = held["GIE"] & (held["IER"] & held["ISR"]).ne(0)
        return told

    outputs = dict.fromkeys(("start", "verifies", "abort", "irq"), 1)
    outputs |= {name: WORD_BITS * len(parts) for name, parts in _TOLD.items()}
    inputs = {PREFIX: lite_bus(address_bits(config)), "busy": 1, "done": 1, "error": 8, "watchdog": 1, "quiet": 1}
    inputs |= {"made": 32, "last": 32, "cycles": 64, "stalled": ENGINES_BITS}
    if config.has_sequence:
        inputs |= {"ids_read": Read.of(config.position_bits, WORD_BITS)}
        inputs |= {"token_write": Write.of(config.position_bits, WORD_BITS)}
    return design.module("registers", inputs, outputs, body)


@dataclass(frozen=True)
class _Place:
    """What an address means: a register (`hits` by name; all lie in words 0.., `number`), or token `token`."""

    hits: dict[str, Signal]
    number: Signal
    is_token: Signal
    token: Signal


def _place(address: Signal, config: AcceleratorConfig) -> _Place:
    top = address.width - 1  # the window is the upper half
    index = address[2:top].zext(top - 1)  # one bit more, so that `context` fits
    is_token = all_of([address[top], address[0:2].eq(0), index.ult(config.context if config.has_sequence else 0)])
    hits = {register.name: address.eq(register.offset) for register in REGISTERS}
    return _Place(hits, address[2 : 2 + bits_for(len(REGISTERS))], is_token, index[0 : bits_for(config.context)])


def _ids(
    m: Module, config: AcceleratorConfig, write: tuple[Signal, Signal, Signal], read: tuple[Signal, Signal]
) -> Signal:
    """The sequence memory: what it reads. The accelerator's own accesses come before the host's `write` (enable,
    address, data) and `read` (enable, address)."""
    bits, append, ids = bits_for(config.context), m["token_write"], m["ids_read"]
    # A token past the last place is lost rather than written over the first: the run ends there.
    appends = append.enable & append.address.ult(config.context)
    ports = dict(
        we=appends | write[0],
        wa=mux(appends, append.address[0:bits], write[1]),
        wd=mux(appends, append.data, write[2]),
        re=ids.enable | read[0],
        ra=mux(ids.enable, ids.address[0:bits], read[1]),
    )
    found: Signal = m.output_of(ram(m.design, config.context, WORD_BITS, zeroed=True), "ids", **ports)
    ids.drive(data=found)
    return found


def _events(m: Module, cleared: Signal) -> Signal:
    """ISR: what has happened and was not `cleared` since."""
    seen = m.state(2, "isr", reset=0)
    fired = m["watchdog"] & ~m.reg(m["watchdog"], "watchdog_seen", reset=0)
    return seen.set((seen.signal & ~cleared) | pack([m["done"], fired]))


def _status(m: Module, running: Signal, starts: Signal, hold_cycles: Signal) -> dict[str, Signal]:
    """Registers that say how the run goes, by name."""
    done = m.since("done_q", m["done"], ~starts)
    busy = any_of([running, m["done"], ~m["quiet"]])
    return dict(
        STATUS=pack([busy, done & ~running, m["watchdog"], const(0, 5), m["error"]]),
        MADE=m["made"],
        LAST=m["last"],
        CYCLES_LOW=m["cycles"][0:32],
        CYCLES_HIGH=m.reg(m["cycles"][32:], "cycles_high", enable=hold_cycles, reset=0),
        STALLED=m["stalled"],
    )


def _constants(config: AcceleratorConfig) -> dict[str, Signal]:
    values = dict(CONTROL=0, VERSION=VERSION, CONTEXT=config.context, PASS_TOKENS=config.tokens)
    return {name: const(value, WORD_BITS) for name, value in values.items()}


def _answer(m: Module, taken: Signal, place: _Place, values: dict[str, Signal], ids: Signal) -> tuple[Signal, Signal]:
    """A read's data and whether its address is known, the cycle after it was `taken`. Unknown places read as 0."""
    words = [values[register.name].zext(WORD_BITS) for register in REGISTERS]
    known = m.reg(any_of(list(place.hits.values())), "known_q", enable=taken)
    is_token = m.reg(place.is_token, "is_token_q", enable=taken)
    word = m.reg(select(words, place.number), "word_q", enable=taken)
    data = mux(is_token, ids, mux(known, word, const(0, WORD_BITS)))
    return data, known | is_token
