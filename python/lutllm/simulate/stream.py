"""valid/ready streams of a design: words in and out as arrays.

In: words per stream, as arrays; out: the tables `lutllm.simulate.native` works on, and the words read back. Stream
`s` has ports s_valid, s_ready and data fields s_*. Fields up to 64 bits are vectors of unsigned integers (negative
values are taken in two's complement); wider fields are uint8 rows, lowest byte first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lutllm.errors import SimulationError
from lutllm.lowering.export.hw_to_arc import Layout, Port
from lutllm.simulate import native as n

Words = np.ndarray | Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Stream:
    """One stream: its data fields in port order, and how many words it moves."""

    name: str
    kind: int
    fields: tuple[Port, ...]
    words: int

    @property
    def row_bytes(self) -> int:
        return sum(port.bytes for port in self.fields)


@dataclass
class StreamTables:
    streams: list[Stream]
    table: np.ndarray
    fields: np.ndarray
    rows: np.ndarray
    row_cycles: np.ndarray


def build_tables(
    layout: Layout, inputs: Mapping[str, Words], outputs: Mapping[str, int], stalls: int | Mapping[str, int]
) -> StreamTables:
    """Tables for the streams named. `stalls` is the chance in 256 of a pause, for all streams or by name."""
    data = {name: _fields(layout, name, "in") for name in inputs}
    streams = [Stream(name, n.INPUT, data[name], _count(name, data[name], words)) for name, words in inputs.items()]
    streams += [Stream(name, n.OUTPUT, _fields(layout, name, "out"), int(count)) for name, count in outputs.items()]
    table = np.zeros((len(streams), n.STREAM_FIELDS), np.int64)
    fields: list[tuple[int, int, int, int]] = []
    first = first_row = 0
    for row, stream in zip(table, streams, strict=True):
        stall = stalls.get(stream.name, 0) if isinstance(stalls, Mapping) else stalls
        row[n.S_KIND], row[n.S_STALL], row[n.ROWS], row[n.ROW_BYTES] = (
            stream.kind, stall, stream.words, stream.row_bytes)  # fmt: skip
        row[n.S_VALID] = layout.port(f"{stream.name}_valid").offset
        row[n.S_READY] = layout.port(f"{stream.name}_ready").offset
        row[n.S_FIELDS], row[n.FIRST], row[n.FIRST_ROW] = len(fields), first, first_row
        column = 0
        for port in stream.fields:
            fields.append((port.offset, column, port.bytes, 0xFF >> (-port.bits % 8)))
            column += port.bytes
        row[n.S_FIELDS_END] = len(fields)
        first, first_row = first + stream.words * stream.row_bytes, first_row + stream.words
    rows = np.zeros(first, np.uint8)
    for row, stream in zip(table, streams, strict=True):
        if stream.kind == n.INPUT:
            packed = _pack(stream, inputs[stream.name])
            rows[row[n.FIRST] : row[n.FIRST] + packed.size] = packed.reshape(-1)
    shape = np.array(fields, np.int64).reshape(len(fields), 4)
    return StreamTables(streams, table, shape, rows, np.full(first_row, -1, np.int64))


def unpack(tables: StreamTables, name: str) -> np.ndarray | dict[str, np.ndarray]:
    """The words an output stream delivered; one array when its only field is `data`."""
    index, stream = next((i, s) for i, s in enumerate(tables.streams) if s.name == name)
    row = tables.table[index]
    got = min(int(row[n.POSITION]), stream.words)
    data = tables.rows[row[n.FIRST] :][: stream.words * stream.row_bytes].reshape(stream.words, stream.row_bytes)[:got]
    result, column = {}, 0
    for port in stream.fields:
        result[port.name.removeprefix(f"{name}_")] = _from_bytes(data[:, column : column + port.bytes], port)
        column += port.bytes
    return result["data"] if list(result) == ["data"] else result


def cycles(tables: StreamTables, name: str) -> np.ndarray:
    """The cycle in which each word of a stream moved; -1 for words that did not."""
    index, stream = next((i, s) for i, s in enumerate(tables.streams) if s.name == name)
    return tables.row_cycles[tables.table[index, n.FIRST_ROW] :][: stream.words]


def stalled_streams(tables: StreamTables, state: np.ndarray) -> list[str]:
    """Where every stream that has words left stands, in words."""
    lines = []
    for row, stream in zip(tables.table, tables.streams, strict=True):
        if row[n.POSITION] >= row[n.ROWS]:
            continue
        valid, ready = state[row[n.S_VALID]] & 1, state[row[n.S_READY]] & 1
        waits = "valid waits for ready" if valid else "ready waits for valid" if ready else "neither side moves"
        lines.append(f"{stream.name}: {waits} (word {int(row[n.POSITION])} of {stream.words})")
    return lines


def _fields(layout: Layout, name: str, direction: str) -> tuple[Port, ...]:
    """Data ports of stream `name`; ports of a stream with a longer name are not its own."""
    for signal in ("valid", "ready"):
        if not layout.has_port(f"{name}_{signal}"):
            raise SimulationError(f"expected a stream {name!r} of {layout.top!r}, but it has no port {name}_{signal}")
    if layout.port(f"{name}_valid").direction != direction:
        raise SimulationError(f"expected stream {name!r} of {layout.top!r} to be an {direction}put, got the other")
    others = [p.name.removesuffix("_valid") for p in layout.ports if p.name.endswith("_valid")]
    longer = tuple(f"{other}_" for other in others if other.startswith(f"{name}_"))
    handshake = (f"{name}_valid", f"{name}_ready")
    return tuple(
        p for p in layout.ports
        if p.name.startswith(f"{name}_") and p.name not in handshake
        and p.direction == direction and not (longer and p.name.startswith(longer))
    )  # fmt: skip


def _count(name: str, fields: tuple[Port, ...], words: Words) -> int:
    by_field = words if isinstance(words, Mapping) else {"data": words}
    expected = [port.name.removeprefix(f"{name}_") for port in fields]
    if set(by_field) != set(expected):
        raise SimulationError(f"stream {name!r}: expected fields {expected}, got {sorted(by_field)}")
    lengths = {len(values) for values in by_field.values()}
    if len(lengths) != 1:
        raise SimulationError(f"stream {name!r}: expected fields of one length, got {sorted(lengths)}")
    return lengths.pop()


def _pack(stream: Stream, words: Words) -> np.ndarray:
    by_field = words if isinstance(words, Mapping) else {"data": words}
    columns = [_to_bytes(by_field[p.name.removeprefix(f"{stream.name}_")], p) for p in stream.fields]
    return np.concatenate(columns, axis=1) if columns else np.zeros((0, 0), np.uint8)


def _to_bytes(values: np.ndarray, port: Port) -> np.ndarray:
    values = np.asarray(values)
    if port.bits <= 64 and values.ndim == 1:
        if values.size and not (-(1 << (port.bits - 1)) <= int(values.min()) and int(values.max()) < 1 << port.bits):
            raise SimulationError(f"port {port.name!r}: expected values of {port.bits} bits, got {values.min()}.."
                                  f"{values.max()}")  # fmt: skip
        whole = values.astype(np.uint64 if values.dtype == np.uint64 else np.int64).view(np.uint64)
        mask = np.uint64((1 << port.bits) - 1)
        return (whole & mask).astype("<u8").view(np.uint8).reshape(-1, 8)[:, : port.bytes]
    if values.dtype != np.uint8 or values.ndim != 2 or values.shape[1] != port.bytes:
        raise SimulationError(
            f"port {port.name!r}: expected uint8 rows of {port.bytes} bytes, got {values.dtype} {values.shape}"
        )
    if port.bits % 8 and values.size and int(values[:, -1].max()) >> (port.bits % 8):
        raise SimulationError(f"port {port.name!r}: expected {port.bits} bits, got bits set above them")
    return values


def _from_bytes(data: np.ndarray, port: Port) -> np.ndarray:
    if port.bits > 64:
        return data.copy()
    wide = np.zeros((len(data), 8), np.uint8)
    wide[:, : port.bytes] = data
    return wide.view("<u8").reshape(-1) & np.uint64((1 << port.bits) - 1)
