"""The test bench's inner loop, compiled to machine code: clocks a design, serves its AXI4 masters and its streams.

In and out: plain arrays (see `lutllm.simulate.testbench`, which fills and reads them). The names below index their
fields. One cycle: choose what the bench drives, evaluate with clk = 0 so that outputs settle, see which handshakes
happen, evaluate with clk = 1. What the bench drives never depends on the design's outputs of the same cycle. A design
whose AXI4 masters have a clock of their own has cycles of both, in the order of their edges.

Everything compiled lives in this file: numba's cache does not see changes in other files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir as llvm_ir
from numba import njit, types
from numba.extending import intrinsic


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """njit, cached on disk where a directory for that can be written."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no writable place for the cache
        return njit(nogil=True, error_model="numpy")(function)


# Control block (int64).
CYCLE, BASE, SIZE, WATCHDOG, IDLE, CODE, CODE_PORT, CODE_ADDRESS, CLK, DONE, DRAIN, DRAINED = range(12)
TRACE_FIRST, TRACE_ROWS, FAULT_LOW, FAULT_HIGH, GRANULE = range(12, 17)
EVENTS, EVENT_BYTES, LOGGED = range(17, 20)
# Memory's clock: its offset (-1: there is one clock), its cycle, both periods, when the next edges are. `FORGIVEN`: the
# core's cycle until which a reset may take back what was offered.
BUS_CLK, BUS_CYCLE, PERIOD, BUS_PERIOD, NEXT, BUS_NEXT, MOVED, FORGIVEN, CONTROL_FIELDS = range(20, 29)

# Why the loop stopped.
(RUNNING, STOP_DONE, STOP_STREAMS, STOP_WATCHDOG, BAD_ADDRESS, MISALIGNED, CROSSES_4K, BAD_LENGTH, BAD_BURST, BAD_LAST,
 VALID_DROPPED, ADDRESS_CHANGED) = range(12)  # fmt: skip

# One AXI port (a row of int64): settings, offsets of its signals in the state (-1: absent), progress, counts.
(KIND, BYTES, MAX_BEATS, LATENCY, RATE, COST, DEPTH, STALL_A, STALL_D, STALL_B) = range(10)
(A_VALID, A_READY, A_ADDRESS, A_LENGTH, A_LENGTH_BYTES, A_SIZE, A_BURST, D_VALID, D_READY, D_DATA, D_LAST, D_EXTRA,
 B_VALID, B_READY, B_RESPONSE) = range(10, 25)  # fmt: skip
(CREDIT, HEAD, COUNT, FILLED, A_HELD, A_HELD_ADDRESS, D_HELD, B_HELD) = range(25, 33)
(BURSTS, BEATS, BUSY, BLOCKED, CHANNEL, LAST_ROW, PORT_FIELDS) = range(33, 40)
READ, WRITE = 0, 1

# Memory as `lutllm.simulate.dram` models it, if it does. Times are in parts of a cycle; the costs are of a channel.
PARTS, BANKS = 1024, 16
(BYTES_COST, BURST_COST, TURN_COST, REFRESH_COST, REFRESH_EVERY, FIRST_BEAT, OPENING, SPREAD, NOC, ROW_SIZE,
 DRAM_FIELDS) = range(11)  # fmt: skip
FREE, WAY, REFRESH, OPEN = range(4)  # of a channel; then the open row of each bank
COST_BYTES, INTERLEAVE = 32, 4096
NOWHERE = -1  # the channel of a port that reaches all of them

# A burst in a port's queue.
Q_ADDRESS, Q_BEATS, Q_READY, Q_FAULT, Q_SIZE, QUEUE_FIELDS = range(6)

# One stream (a row of int64). Rows of data are `ROW_BYTES` long, the first at byte FIRST of `rows`.
(S_KIND, S_VALID, S_READY, S_FIELDS, S_FIELDS_END, ROW_BYTES, FIRST, FIRST_ROW, ROWS, POSITION, S_STALL, S_HELD,
 S_BLOCKED, STREAM_FIELDS) = range(14)  # fmt: skip
INPUT, OUTPUT = 0, 1

_GARBAGE = 0xEE  # on a data bus while valid is 0, so that a design that reads it then fails its test
_SLAVE_ERROR = 2


@intrinsic
def call(typing, function, state):  # type: ignore[no-untyped-def]
    """Call `void function(uint8_t *state)` at the address `function`."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = llvm_ir.IntType(8).as_pointer()
        kind = llvm_ir.FunctionType(llvm_ir.VoidType(), [pointer])
        callee = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(callee, [builder.inttoptr(arguments[1], pointer)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@_compiled
def _load(state, offset, count):  # type: ignore[no-untyped-def]
    value = np.int64(0)
    for i in range(count):
        value |= np.int64(state[offset + i]) << np.int64(8 * i)
    return value


@_compiled
def _random(rng):  # type: ignore[no-untyped-def]
    x = rng[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    rng[0] = x
    return np.int64(x >> np.uint64(24))


@_compiled
def _fail(control, code, port, address):  # type: ignore[no-untyped-def]
    if code == VALID_DROPPED and control[CYCLE] < control[FORGIVEN]:
        return
    if control[CODE] == RUNNING:
        control[CODE] = code
        control[CODE_PORT] = port
        control[CODE_ADDRESS] = address


@_compiled
def _offer_port(state, memory, control, rng, port, queue):  # type: ignore[no-untyped-def]
    """Drive the bench's side of one AXI port for this cycle."""
    draw = np.int64(0)
    stalls = port[STALL_A] | port[STALL_D] | port[STALL_B]
    if stalls:
        draw = _random(rng)
    state[port[A_READY]] = port[COUNT] < port[DEPTH] and (draw & 255) >= port[STALL_A]
    if port[CREDIT] < port[COST] + port[RATE]:
        port[CREDIT] += port[RATE]
    may_move = port[CREDIT] >= port[COST] and ((draw >> 8) & 255) >= port[STALL_D]
    if port[KIND] == WRITE:
        state[port[D_READY]] = may_move and port[COUNT] > port[FILLED]
        _offer_response(state, control, port, queue, ((draw >> 16) & 255) >= port[STALL_B])
    elif port[D_HELD] == 0:
        _offer_beat(state, memory, control, port, queue, may_move)


@_compiled
def _offer_beat(state, memory, control, port, queue, may_move):  # type: ignore[no-untyped-def]
    burst = queue[port[HEAD]]
    data, width = port[D_DATA], port[BYTES]
    if may_move and port[COUNT] > 0 and burst[Q_READY] <= control[BUS_CYCLE]:
        start = burst[Q_ADDRESS] - control[BASE]
        for i in range(width):
            state[data + i] = memory[start + i]
        state[port[D_VALID]] = 1
        state[port[D_LAST]] = burst[Q_BEATS] == 1
        if port[D_EXTRA] >= 0:
            fault = burst[Q_ADDRESS] < control[FAULT_HIGH] and burst[Q_ADDRESS] + width > control[FAULT_LOW]
            state[port[D_EXTRA]] = _SLAVE_ERROR if fault else 0
        port[D_HELD] = 1
    elif state[port[D_VALID]]:
        state[port[D_VALID]] = 0
        state[port[D_LAST]] = 0
        for i in range(width):
            state[data + i] = _GARBAGE


@_compiled
def _offer_response(state, control, port, queue, may_move):  # type: ignore[no-untyped-def]
    if port[B_HELD]:
        return
    burst = queue[port[HEAD]]
    if may_move and port[FILLED] > 0 and burst[Q_READY] <= control[BUS_CYCLE]:
        state[port[B_VALID]] = 1
        if port[B_RESPONSE] >= 0:
            state[port[B_RESPONSE]] = _SLAVE_ERROR if burst[Q_FAULT] else 0
        port[B_HELD] = 1
    else:
        state[port[B_VALID]] = 0


@_compiled
def _check_burst(state, control, port, index, address, beats):  # type: ignore[no-untyped-def]
    width = port[BYTES]
    if beats > port[MAX_BEATS]:
        _fail(control, BAD_LENGTH, index, address)
    elif address % width != 0:
        _fail(control, MISALIGNED, index, address)
    elif address < control[BASE] or address + beats * width > control[BASE] + control[SIZE]:
        _fail(control, BAD_ADDRESS, index, address)
    elif (address & 4095) + beats * width > 4096:
        _fail(control, CROSSES_4K, index, address)
    if (port[A_SIZE] >= 0 and (1 << (state[port[A_SIZE]] & 7)) != width) or (
        port[A_BURST] >= 0 and (state[port[A_BURST]] & 3) != 1
    ):
        _fail(control, BAD_BURST, index, address)


@_compiled
def _serve(control, dram, channels, rng, port, address, size):  # type: ignore[no-untyped-def]
    """Have a channel serve a burst; returns the cycles of its first beat and of its last one, as the port sees them."""
    tied = port[CHANNEL] != NOWHERE
    channel = channels[port[CHANNEL] if tied else address // INTERLEAVE % channels.shape[0]]
    row, last = address // dram[ROW_SIZE], (address + size - 1) // dram[ROW_SIZE]
    open_ = channel[OPEN + row % BANKS] == row or row == port[LAST_ROW] + 1  # the next one is opened ahead
    start = max(channel[FREE], control[BUS_CYCLE] * PARTS)
    if start >= channel[REFRESH]:
        channel[REFRESH] += (start - channel[REFRESH]) // dram[REFRESH_EVERY] * dram[REFRESH_EVERY]
        start = max(start, channel[REFRESH] + dram[REFRESH_COST])
        channel[REFRESH] += dram[REFRESH_EVERY]
    if channel[WAY] != port[KIND]:
        start += dram[TURN_COST]
    cost = (size * dram[BYTES_COST] // COST_BYTES + dram[BURST_COST]) * (1 if open_ else 2)
    channel[FREE], channel[WAY], port[LAST_ROW] = start + cost, port[KIND], last
    for r in range(row, last + 1):
        channel[OPEN + r % BANKS] = r
    wait = dram[FIRST_BEAT] + _random(rng) % (dram[SPREAD] + 1)
    wait += (0 if open_ else dram[OPENING]) + (0 if tied else dram[NOC])
    return (start + wait) // PARTS + 1, (start + cost + wait) // PARTS + 1


@_compiled
def _take_address(state, control, rng, dram, channels, port, queue, index):  # type: ignore[no-untyped-def]
    """An AR or AW handshake: check the burst and queue it."""
    if state[port[A_VALID]] & 1 == 0:
        if port[A_HELD]:
            _fail(control, VALID_DROPPED, index, port[A_HELD_ADDRESS])
            port[A_HELD] = 0
        return False
    address = _load(state, port[A_ADDRESS], 8)
    if port[A_HELD] and address != port[A_HELD_ADDRESS]:
        _fail(control, ADDRESS_CHANGED, index, address)
    port[A_HELD] = 1
    port[A_HELD_ADDRESS] = address
    if state[port[A_READY]] == 0:
        return False
    beats = _load(state, port[A_LENGTH], port[A_LENGTH_BYTES]) + 1
    _check_burst(state, control, port, index, address, beats)
    if control[CODE] != RUNNING:
        return False  # nothing may read what is not there, however often the bench is asked to go on
    burst = queue[(port[HEAD] + port[COUNT]) % port[DEPTH]]
    end = address + beats * port[BYTES]
    burst[Q_ADDRESS] = address
    burst[Q_BEATS] = beats
    burst[Q_SIZE] = end - address
    burst[Q_READY] = control[BUS_CYCLE] + port[LATENCY]
    if channels.shape[0] and port[KIND] == READ:
        first, last = _serve(control, dram, channels, rng, port, address, end - address)
        burst[Q_READY] = max(first, last - beats + 1)
    burst[Q_FAULT] = address < control[FAULT_HIGH] and end > control[FAULT_LOW]
    port[COUNT] += 1
    port[BURSTS] += 1
    port[A_HELD] = 0
    return True


@_compiled
def _take_beat(state, port, queue):  # type: ignore[no-untyped-def]
    """An R handshake."""
    if port[D_HELD] == 0:
        return False
    if state[port[D_READY]] & 1 == 0:
        port[BLOCKED] += 1
        return False
    burst = queue[port[HEAD]]
    burst[Q_ADDRESS] += port[BYTES]
    burst[Q_BEATS] -= 1
    if burst[Q_BEATS] == 0:
        port[HEAD] = (port[HEAD] + 1) % port[DEPTH]
        port[COUNT] -= 1
    port[D_HELD] = 0
    port[CREDIT] -= port[COST]
    port[BEATS] += 1
    return True


@_compiled
def _take_write(state, memory, control, rng, dram, channels, port, queue, stamps, index):  # type: ignore[no-untyped-def]
    """A W handshake: store the bytes its strobes name, note the cycle."""
    if state[port[D_VALID]] & 1 == 0:
        if port[D_HELD]:
            _fail(control, VALID_DROPPED, index, queue[(port[HEAD] + port[FILLED]) % port[DEPTH], Q_ADDRESS])
            port[D_HELD] = 0
        return False
    if state[port[D_READY]] == 0:
        port[D_HELD] = 1
        port[BLOCKED] += 1
        return False
    port[D_HELD] = 0
    burst = queue[(port[HEAD] + port[FILLED]) % port[DEPTH]]
    start, data, strobes = burst[Q_ADDRESS] - control[BASE], port[D_DATA], port[D_EXTRA]
    for i in range(port[BYTES]):
        if strobes < 0 or (state[strobes + (i >> 3)] >> (i & 7)) & 1:
            memory[start + i] = state[data + i]
    for i in range(start // control[GRANULE], (start + port[BYTES]) // control[GRANULE]):
        stamps[i] = control[CYCLE] + 1
    burst[Q_ADDRESS] += port[BYTES]
    burst[Q_BEATS] -= 1
    if (state[port[D_LAST]] & 1) != (burst[Q_BEATS] == 0):
        _fail(control, BAD_LAST, index, burst[Q_ADDRESS] - port[BYTES])
    if burst[Q_BEATS] == 0:
        burst[Q_READY] = control[BUS_CYCLE] + port[LATENCY]
        if channels.shape[0]:
            size = burst[Q_SIZE]
            _, burst[Q_READY] = _serve(control, dram, channels, rng, port, burst[Q_ADDRESS] - size, size)
        port[FILLED] += 1
    port[CREDIT] -= port[COST]
    port[BEATS] += 1
    return True


@_compiled
def _take_response(state, port):  # type: ignore[no-untyped-def]
    """A B handshake."""
    if port[B_HELD] == 0 or state[port[B_READY]] & 1 == 0:
        return False
    port[HEAD] = (port[HEAD] + 1) % port[DEPTH]
    port[COUNT] -= 1
    port[FILLED] -= 1
    port[B_HELD] = 0
    return True


@_compiled
def _take_port(state, memory, control, rng, dram, channels, port, queue, stamps, index):  # type: ignore[no-untyped-def]
    if port[COUNT] > 0:
        port[BUSY] += 1
    if port[KIND] == READ:
        moved = _take_beat(state, port, queue)
    else:
        moved = _take_response(state, port)
        moved |= _take_write(state, memory, control, rng, dram, channels, port, queue, stamps, index)
    return moved | _take_address(state, control, rng, dram, channels, port, queue, index)


@_compiled
def _offer_ports(state, memory, control, rng, ports, queues):  # type: ignore[no-untyped-def]
    for p in range(ports.shape[0]):
        _offer_port(state, memory, control, rng, ports[p], queues[p])
    if control[BUS_CLK] >= 0:
        state[control[BUS_CLK]] = 0


@_compiled
def _take_ports(state, memory, control, rng, dram, channels, ports, queues, stamps):  # type: ignore[no-untyped-def]
    """A cycle of memory's clock."""
    for p in range(ports.shape[0]):
        if _take_port(state, memory, control, rng, dram, channels, ports[p], queues[p], stamps, p):
            control[MOVED] = 1
    control[BUS_CYCLE] += 1
    control[BUS_NEXT] += control[BUS_PERIOD]


@_compiled
def _offer_stream(state, rng, stream, fields, rows):  # type: ignore[no-untyped-def]
    stalled = stream[S_STALL] > 0 and (_random(rng) & 255) < stream[S_STALL]
    if stream[S_KIND] == OUTPUT:
        state[stream[S_READY]] = not stalled
        return
    if stream[S_HELD]:
        return
    offered = not stalled and stream[POSITION] < stream[ROWS]
    was_valid = state[stream[S_VALID]]
    state[stream[S_VALID]] = offered
    row = stream[FIRST] + stream[POSITION] * stream[ROW_BYTES]
    if offered:
        stream[S_HELD] = 1
        for f in range(stream[S_FIELDS], stream[S_FIELDS_END]):
            for i in range(fields[f, 2]):
                state[fields[f, 0] + i] = rows[row + fields[f, 1] + i]
    elif was_valid:
        for f in range(stream[S_FIELDS], stream[S_FIELDS_END]):
            for i in range(fields[f, 2]):
                state[fields[f, 0] + i] = _GARBAGE & fields[f, 3] if i == fields[f, 2] - 1 else _GARBAGE


@_compiled
def _take_stream(state, control, stream, fields, rows, row_cycles, index):  # type: ignore[no-untyped-def]
    """A stream handshake. Output words past the expected count are counted, not kept."""
    is_output = stream[S_KIND] == OUTPUT
    if state[stream[S_VALID]] & 1 == 0:
        if is_output and stream[S_HELD]:
            _fail(control, VALID_DROPPED, -1 - index, stream[POSITION])
        return False
    stream[S_HELD] = 1
    if state[stream[S_READY]] & 1 == 0:
        stream[S_BLOCKED] += 1
        return False
    stream[S_HELD] = 0
    position = stream[POSITION]
    stream[POSITION] += 1
    if position >= stream[ROWS]:
        return True
    row_cycles[stream[FIRST_ROW] + position] = control[CYCLE]
    if is_output:
        row = stream[FIRST] + position * stream[ROW_BYTES]
        for f in range(stream[S_FIELDS], stream[S_FIELDS_END]):
            for i in range(fields[f, 2]):
                rows[row + fields[f, 1] + i] = state[fields[f, 0] + i]
    return True


@_compiled
def _observe(state, control, probes, spans, trace):  # type: ignore[no-untyped-def]
    """Peaks of probed registers; a snapshot inside the trace window."""
    for i in range(probes.shape[0]):
        value = _load(state, probes[i, 0], probes[i, 1])
        if value > probes[i, 2]:
            probes[i, 2] = value
    row = control[CYCLE] - control[TRACE_FIRST]
    if 0 <= row < control[TRACE_ROWS]:
        column = 0
        for i in range(spans.shape[0]):
            for j in range(spans[i, 1]):
                trace[row, column + j] = state[spans[i, 0] + j]
            column += spans[i, 1]


@_compiled
def _log(state, control, log):  # type: ignore[no-untyped-def]
    """Note the cycle and the value of the event port where it is not 0; whether there is room for another."""
    value = _load(state, control[EVENTS], control[EVENT_BYTES])
    if value:
        log[control[LOGGED], 0] = control[CYCLE]
        log[control[LOGGED], 1] = value
        control[LOGGED] += 1
    return control[LOGGED] < log.shape[0]


@_compiled
def _streams_complete(streams):  # type: ignore[no-untyped-def]
    complete = True
    for i in range(streams.shape[0]):
        complete &= streams[i, POSITION] >= streams[i, ROWS]
    return complete


@_compiled
def run_cycles(
    function, state, memory, control, rng, dram, channels, ports, queues, streams, fields, rows, row_cycles, stamps,
    probes, spans, trace, log, cycles
):  # type: ignore[no-untyped-def]  # fmt: skip
    """Run up to `cycles` cycles; stops early with `control[CODE]` set, or when `log` is full."""
    pointer = np.int64(state.ctypes.data)
    for _ in range(cycles):
        while control[BUS_CLK] >= 0 and control[BUS_NEXT] < control[NEXT]:
            _offer_ports(state, memory, control, rng, ports, queues)
            call(function, pointer)
            _take_ports(state, memory, control, rng, dram, channels, ports, queues, stamps)
            if control[CODE] != RUNNING:
                return
            state[control[BUS_CLK]] = 1
            call(function, pointer)
        bus = control[BUS_CLK] < 0 or control[BUS_NEXT] == control[NEXT]
        if bus:
            _offer_ports(state, memory, control, rng, ports, queues)
        for s in range(streams.shape[0]):
            _offer_stream(state, rng, streams[s], fields, rows)
        state[control[CLK]] = 0
        call(function, pointer)
        done = control[DONE] >= 0 and state[control[DONE]] & 1 != 0
        if done and control[DRAIN] < 0:
            control[CODE] = STOP_DONE
            return
        if bus:
            _take_ports(state, memory, control, rng, dram, channels, ports, queues, stamps)
        moved = control[MOVED] != 0
        for s in range(streams.shape[0]):
            moved |= _take_stream(state, control, streams[s], fields, rows, row_cycles, s)
        _observe(state, control, probes, spans, trace)
        room = control[EVENTS] < 0 or _log(state, control, log)
        if control[CODE] != RUNNING:
            return
        state[control[CLK]] = 1
        if bus and control[BUS_CLK] >= 0:
            state[control[BUS_CLK]] = 1
        call(function, pointer)
        control[CYCLE] += 1
        control[NEXT] += control[PERIOD]
        control[MOVED] = 0
        control[IDLE] = 0 if moved else control[IDLE] + 1
        if control[DRAIN] >= 0:
            complete = (done or control[DONE] < 0) and _streams_complete(streams)
            control[DRAINED] = control[DRAINED] + 1 if complete else 0
            if control[DRAINED] > control[DRAIN]:
                control[CODE] = STOP_STREAMS
                return
        if control[IDLE] >= control[WATCHDOG]:
            control[CODE] = STOP_WATCHDOG
            return
        if not room:
            return
