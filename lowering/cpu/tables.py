"""The functions of lutllm.functions as code: 64-bit values and a pointer to a table in, the same integers out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lutllm.functions import EXP2, RECIPROCAL, RSQRT, SHARES, SIGMOID_END
from lutllm.lowering.cpu.code import Code, Value, round_shift
from lutllm.lowering.cpu.layout import Packed


def _packed(table: np.ndarray) -> Packed:
    """A table as int32, the same for every module."""
    return Packed((), 4 * table.size, lambda: table.astype(np.int32))


def _steps(table: np.ndarray) -> Packed:
    """Pairs int32 of an entry and the step to the next."""
    return _packed(np.stack([table[:-1], np.diff(table)], axis=1))


TABLES = {
    "rsqrt": _packed(RSQRT),
    "reciprocal": _packed(RECIPROCAL),
    "exp2": _steps(EXP2),
    **{name: _steps(table) for name, table in SHARES.items()},
}


def bit_length(value: Value) -> Value:
    code = value.code
    return 64 - code.intrinsic("llvm.ctlz.i64", "i64", value, code.constant(0, "i1"))


def rsqrt(value: Value, table: Value) -> tuple[Value, Value]:
    h = (bit_length(value) - 31) >> 1
    m = (value >> (h * 2).maximum(0)) << (h * -2).maximum(0)
    t = _entry(table, (m >> 24) - 64)
    d = ((m >> 16) * ((t * t) >> 15)) >> 16
    return (t * (3 * 2**15 - d)) >> 16, h


def reciprocal(value: Value, table: Value) -> tuple[Value, Value]:
    length = bit_length(value)
    m = (value >> (length - 16).maximum(0)) << (16 - length).maximum(0)
    t = _entry(table, (m >> 8) - 128)
    return (t * (2**16 - ((m * t) >> 16))) >> 15, length


def exp2_negative(value: Value, table: Value) -> Value:
    n, f = value >> 16, value & 1023
    start, step = _pair(table, (value >> 10) & 63)
    e = start - round_shift((0 - step) * f, 10)
    return n.compare("sgt", 16).select(0, round_shift(e, n.minimum(16)))


def exp2_words(table: Value) -> list[list[Value]]:
    """The table of exp2_negative in AVX-512 registers: entries and steps, 64 words of each in two halves."""
    code = table.code
    pairs = [code.load(table, 128 * i, "vector<32xi32>").bitcast("vector<64xi16>") for i in range(4)]
    found = []
    for part in (0, 2):  # the low words of entries, of steps
        words = [_every_fourth(pair, part) for pair in pairs]
        found.append([_joined(words[0], words[1]), _joined(words[2], words[3])])
    return found


def _every_fourth(value: Value, first: int) -> Value:
    mask = [*range(first, 64, 4)]
    text = f"vector.shuffle {value.name}, {value.name} {mask} : {value.type}, {value.type}"
    return value.code.emit(text, "vector<16xi16>")


def _joined(a: Value, b: Value) -> Value:
    text = f"vector.shuffle {a.name}, {b.name} {[*range(32)]} : {a.type}, {b.type}"
    return a.code.emit(text, "vector<32xi16>")


def exp2_negative_words(value: Value, tables: list[list[Value]]) -> Value:
    """As exp2_negative, of 16 values at once; int32."""
    code = value.code
    t = value.minimum(17 << 16).to("i32")  # beyond 2**-16 all round to 0
    index = ((t >> 10) & 63).bitcast("vector<32xi16>")
    start, step = (
        code.intrinsic("llvm.x86.avx512.vpermi2var.hi.512", "vector<32xi16>", low, index, high).bitcast(t.type)
        for low, high in tables
    )
    e = (start & 0xFFFF) - round_shift((0 - ((step << 16) >> 16)) * (t & 1023), 10)
    return round_shift(e, t >> 16)


def share(value: Value, table: Value) -> Value:
    value = value.minimum(SIGMOID_END)
    start, step = _pair(table, value >> 7)
    return start + round_shift(step * (value & 127), 7)


def tanh(value: Value, table: Value) -> Value:
    """As lutllm.functions.tanh; `table` is that of the sigmoid."""
    u = share(value.maximum(0 - value), table) - 2**14
    return value.compare("slt", 0).select(0 - u, u)


def _entry(table: Value, index: Value) -> Value:
    return table.code.load(table, index * 4, "i32").to("i64")


def _pair(table: Value, index: Value) -> Sequence[Value]:
    code: Code = table.code
    return [code.load(table, index * 8 + 4 * i, "i32").to("i64") for i in (0, 1)]
