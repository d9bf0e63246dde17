"""A lut function as calls of kernels: calls in, their levels, the plan of the memory between them and their words out.

The calls of a program are data, and one function makes them all: as code they took LLVM longer than all kernels. A
call's level is one more than that of the last call whose result it reads; a barrier stands between levels. Memory is
used again by a later level than the last that reads it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lutllm.lowering.cpu.code import PTR

ALIGN = 64
SPINS = 300  # turns of a waiting thread before it gives way to another
BASES = ("zero", "arena", "parameters", "scratch", "tokens", "thread", "threads")
MOST_VALUES = 16  # of a kernel


@dataclass(eq=False)
class Buffer:
    """Bytes somewhere: in the `arena` or the `parameters` at `offset`, or the `argument` or `result` of that index; or,
    of an argument, what each token has of it: `positions`, int32, or pointers to `caches`."""

    kind: str
    size: int
    index: int = 0
    offset: int = 0


@dataclass(eq=False)
class Call:
    """A kernel, what its pointers and numbers are; `tokens` None is the run's. `few` says whether it is for runs of few
    tokens or for others, None: for all."""

    kernel: str
    pointers: Sequence[Buffer]
    numbers: Sequence[int]
    written: Buffer
    tokens: int | None
    few: bool | None = None
    level: int = 0


def plan(calls: Sequence[Call]) -> int:
    """Set the levels of calls and the offsets of arena buffers; bytes of the arena."""
    made: dict[Buffer, int] = {}
    lives: dict[Buffer, list[int]] = {}
    for call in calls:
        call.level = max((made[b] + 1 for b in call.pointers if b in made), default=0)
        made[call.written] = call.level
        for buffer in call.pointers:
            if buffer.kind == "arena":
                lives.setdefault(buffer, []).append(call.level)
    return _place(sorted((min(levels), max(levels), i, b) for i, (b, levels) in enumerate(lives.items())))


def _place(lives: Sequence[tuple[int, int, int, Buffer]]) -> int:
    """First fit by first level; bytes of the arena."""
    active: list[tuple[int, Buffer]] = []
    most = 0
    for first, last, _, buffer in lives:
        active = [(end, other) for end, other in active if end >= first]
        offset = 0
        for other in sorted((other for _, other in active), key=lambda b: b.offset):
            if offset + buffer.size <= other.offset:
                break
            offset = max(offset, -(-(other.offset + other.size) // ALIGN) * ALIGN)
        buffer.offset = offset
        active.append((last, buffer))
        most = max(most, offset + buffer.size)
    return most


def encode(calls: Sequence[Call], kernels: Mapping[str, int], arguments: int, results: int, few: bool) -> np.ndarray:
    """The calls of a run of few tokens, or of more, as words int64, ended by a zero: for each the kernel's number,
    whether a barrier comes before, how many values it takes, and of each value the index of a base and what to add.

    Bases are BASES, then the addresses of arguments, those of results, then for each argument what its tokens have.
    """
    words: list[int] = []
    level = 0
    for call in sorted((call for call in calls if call.few in (None, few)), key=lambda c: c.level):
        values = [_based(buffer, arguments, results) for buffer in call.pointers]
        values += [(0, number) for number in call.numbers]
        values.append((BASES.index("scratch"), 0))
        values.append((BASES.index("tokens"), 0) if call.tokens is None else (0, call.tokens))
        values += [(BASES.index("thread"), 0), (BASES.index("threads"), 0)]
        assert len(values) <= MOST_VALUES
        words += [kernels[call.kernel], int(call.level != level), len(values), *itertools.chain(*values)]
        level = call.level
    return np.array([*words, 0], np.int64)


def _based(buffer: Buffer, arguments: int, results: int) -> tuple[int, int]:
    if buffer.kind in BASES:
        return BASES.index(buffer.kind), buffer.offset
    before = {"argument": 0, "result": arguments}.get(buffer.kind, arguments + results)
    return len(BASES) + before + buffer.index, 0


def runner() -> str:
    """run(program, bases, sync, threads): make the calls of encoded words. A kernel is called as the ExecutionEngine
    packs it: with an array of the addresses of its values."""
    return f"""
func.func @run(%program: {PTR}, %bases: {PTR}, %sync: {PTR}, %threads: i64) {{
  %zero = arith.constant 0 : i64
  %one = arith.constant 1 : i64
  %two = arith.constant 2 : i64
  %three = arith.constant 3 : i64
  %most = arith.constant {MOST_VALUES} : i64
  %values = llvm.alloca %most x i64 : (i64) -> {PTR}
  %slots = llvm.alloca %most x {PTR} : (i64) -> {PTR}
  scf.for %i = %zero to %most step %one : i64 {{
    %value = llvm.getelementptr %values[%i] : ({PTR}, i64) -> {PTR}, i64
    %slot = llvm.getelementptr %slots[%i] : ({PTR}, i64) -> {PTR}, {PTR}
    llvm.store %value, %slot : {PTR}, {PTR}
  }}
  %done = scf.while (%at = %zero) : (i64) -> i64 {{
    %here = llvm.getelementptr %program[%at] : ({PTR}, i64) -> {PTR}, i64
    %kernel = llvm.load %here : {PTR} -> i64
    %some = arith.cmpi ne, %kernel, %zero : i64
    scf.condition(%some) %at : i64
  }} do {{
  ^bb0(%at: i64):
    %here = llvm.getelementptr %program[%at] : ({PTR}, i64) -> {PTR}, i64
    %kernel = llvm.load %here : {PTR} -> {PTR}
    %second = llvm.getelementptr %here[1] : ({PTR}) -> {PTR}, i64
    %barrier = llvm.load %second : {PTR} -> i64
    %wait = arith.cmpi ne, %barrier, %zero : i64
    scf.if %wait {{
      func.call @barrier(%sync, %threads) : ({PTR}, i64) -> ()
    }}
    %third = llvm.getelementptr %here[2] : ({PTR}) -> {PTR}, i64
    %count = llvm.load %third : {PTR} -> i64
    scf.for %i = %zero to %count step %one : i64 {{
      %double = arith.muli %i, %two : i64
      %place = arith.addi %double, %three : i64
      %pair = llvm.getelementptr %here[%place] : ({PTR}, i64) -> {PTR}, i64
      %index = llvm.load %pair : {PTR} -> i64
      %next = llvm.getelementptr %pair[1] : ({PTR}) -> {PTR}, i64
      %more = llvm.load %next : {PTR} -> i64
      %base = llvm.getelementptr %bases[%index] : ({PTR}, i64) -> {PTR}, i64
      %start = llvm.load %base : {PTR} -> i64
      %sum = arith.addi %start, %more : i64
      %value = llvm.getelementptr %values[%i] : ({PTR}, i64) -> {PTR}, i64
      llvm.store %sum, %value : i64, {PTR}
    }}
    llvm.call %kernel(%slots) : {PTR}, ({PTR}) -> ()
    %words = arith.muli %count, %two : i64
    %after = arith.addi %at, %words : i64
    %step = arith.addi %after, %three : i64
    scf.yield %step : i64
  }}
  return
}}
"""


def barrier(level: str) -> str:
    """barrier(sync, threads): waits for the other threads. sync: i64 arrived, and 64 bytes on i64 generation."""
    pause = "" if level == "portable" else 'llvm.call_intrinsic "llvm.x86.sse2.pause"() : () -> ()'
    return f"""
func.func private @sched_yield() -> i32
func.func @barrier(%sync: {PTR}, %threads: i64) attributes {{passthrough = ["noinline"]}} {{
  %zero = arith.constant 0 : i64
  %one = arith.constant 1 : i64
  %spins = arith.constant {SPINS} : i64
  %several = arith.cmpi sgt, %threads, %one : i64
  scf.if %several {{
    %turn = llvm.getelementptr %sync[64] : ({PTR}) -> {PTR}, i8
    %generation = llvm.load %turn atomic acquire {{alignment = 8 : i64}} : {PTR} -> i64
    %before = llvm.atomicrmw add %sync, %one acq_rel : {PTR}, i64
    %arrived = arith.addi %before, %one : i64
    %last = arith.cmpi eq, %arrived, %threads : i64
    scf.if %last {{
      llvm.store %zero, %sync atomic monotonic {{alignment = 8 : i64}} : i64, {PTR}
      %next = arith.addi %generation, %one : i64
      llvm.store %next, %turn atomic release {{alignment = 8 : i64}} : i64, {PTR}
    }} else {{
      %done = scf.while (%spin = %zero) : (i64) -> i64 {{
        %now = llvm.load %turn atomic acquire {{alignment = 8 : i64}} : {PTR} -> i64
        %same = arith.cmpi eq, %now, %generation : i64
        scf.condition(%same) %spin : i64
      }} do {{
      ^bb0(%spin: i64):
        {pause}
        %more = arith.addi %spin, %one : i64
        %long = arith.cmpi sgt, %spin, %spins : i64
        scf.if %long {{
          %ignored = func.call @sched_yield() : () -> i32
        }}
        scf.yield %more : i64
      }}
    }}
  }}
  return
}}
"""
