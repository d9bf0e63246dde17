"""The host's registers: an AXI4-Lite slave, and the memory of the sequence's token ids, if any engine uses it.

In: `register_map.REGISTERS`. Out: a module with the slave's port `s_axi_control`, what the sequencer needs to know, and
the ports through which tokens are read (to embed) and appended. What a host must not do - unknown or unaligned
addresses, writes to what is read-only, writes of part of a word, writes during a run - is answered with SLVERR and
changes nothing; a start during a run is ignored. Interrupts are those of the control protocol ap_ctrl_hs, but that
writing a 1 clears a bit of ISR, where it toggles it there.
"""

from __future__ import annotations

from dataclasses import dataclass

from lutllm.lowering.hardware.control.axi_lite import WORD_BITS, axi_lite_slave, slave_inputs, slave_outputs
from lutllm.lowering.hardware.control.register_map import (
    ABORT,
    REGISTERS,
    START,
    STOPS,
    VERIFY,
    VERSION,
    address_bits,
)
from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, Wire, all_of, any_of, const, mux, pack, select
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.numerics import bits_for

PREFIX = "s_axi_control_"
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
        answers = {name: Wire(bits) for name, bits in _ANSWERS.items()}
        bus = {name: m[f"{PREFIX}{name}"] for name in slave_inputs(0)}
        axi = m.instance(slave, "slave", **bus, **{name: wire.signal for name, wire in answers.items()})
        start = m.state(1, "start_q", reset=0)  # waits until the bus is quiet
        running = (m["busy"] | start.signal).named("running")

        write = _place(axi["write_address"], config)
        ready = ~(write.is_token & m["token_write"]) if config.has_sequence else const(1, 1)
        settable = any_of([write.is_token, *(write.hits[name] for name in _HELD)]) & ~running
        ok = axi["write_whole"] & any_of([settable, *(write.hits[name] for name in _ALWAYS)])
        ok = ok.named("write_ok")
        whole = all_of([axi["write_valid"], ready, axi["write_whole"]])
        done = {name: whole & hit & (const(1, 1) if name in _ALWAYS else ~running) for name, hit in write.hits.items()}
        answers["write_ready"].assign(ready)
        answers["write_ok"].assign(ok)
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
        readable = ~(read.is_token & m["ids_read"]) if config.has_sequence else const(1, 1)
        taken = axi["read_valid"] & readable
        answers["read_ready"].assign(readable)
        values = held | _status(m, running, starts, taken & read.hits["CYCLES_LOW"]) | _constants(config)
        data, known = _answer(m, taken, read, values, ids)
        answers["read_data"].assign(data)
        answers["read_ok"].assign(known)

        told = {name: pack([held[register] for register in parts]) for name, parts in _TOLD.items()}
        outputs = {f"{PREFIX}{name}": axi[name] for name in slave_outputs()}
        told |= dict(start=start.signal & m["quiet"], verifies=verifies, abort=command & axi["write_data"][1])
        assert ABORT == 1 << 1
        told["irq"] = held["GIE"] & (held["IER"] & held["ISR"]).ne(0)
        return outputs | told | (dict(ids_read_data=ids) if config.has_sequence else {})

    outputs = slave_outputs(PREFIX) | ({"ids_read_data": WORD_BITS} if config.has_sequence else {})
    outputs |= dict.fromkeys(("start", "verifies", "abort", "irq"), 1)
    outputs |= {name: WORD_BITS * len(parts) for name, parts in _TOLD.items()}
    return design.module("registers", _inputs(config), outputs, body)


_ANSWERS = {"write_ready": 1, "write_ok": 1, "read_ready": 1, "read_data": WORD_BITS, "read_ok": 1}


def _inputs(config: AcceleratorConfig) -> dict[str, int]:
    inputs = slave_inputs(address_bits(config), PREFIX) | {"busy": 1, "done": 1, "error": 8, "watchdog": 1}
    inputs |= {"quiet": 1, "made": 32, "last": 32, "cycles": 64, "stalled": ENGINES_BITS}
    if not config.has_sequence:
        return inputs
    inputs |= {"ids_read": 1, "ids_read_address": config.position_bits}
    return inputs | {"token_write": 1, "token_write_address": config.position_bits, "token_write_data": WORD_BITS}


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
    bits = bits_for(config.context)
    # A token past the last place is lost rather than written over the first: the run ends there.
    append = m["token_write"] & m["token_write_address"].ult(config.context)
    ports = dict(
        we=append | write[0],
        wa=mux(append, m["token_write_address"][0:bits], write[1]),
        wd=mux(append, m["token_write_data"], write[2]),
        re=m["ids_read"] | read[0],
        ra=mux(m["ids_read"], m["ids_read_address"][0:bits], read[1]),
    )
    return m.output_of(ram(m.design, config.context, WORD_BITS, zeroed=True), "ids", **ports)


def _events(m: Module, cleared: Signal) -> Signal:
    """ISR: what has happened and was not `cleared` since."""
    seen = m.state(2, "isr", reset=0)
    fired = m["watchdog"] & ~m.reg(m["watchdog"], "watchdog_seen", reset=0)
    return seen.set((seen.signal & ~cleared) | pack([m["done"], fired]))


def _status(m: Module, running: Signal, starts: Signal, hold_cycles: Signal) -> dict[str, Signal]:
    """Registers that say how the run goes, by name."""
    done = m.state(1, "done_q", reset=0)
    done.set(~starts & (done.signal | m["done"]))
    busy = any_of([running, m["done"], ~m["quiet"]])
    return dict(
        STATUS=pack([busy, done.signal & ~running, m["watchdog"], const(0, 5), m["error"]]),
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
