"""A lut function as calls of kernels: calls in, their levels, the plan of the memory between them and the code out.

A call's level is one more than that of the last call whose result it reads; a barrier stands between levels. Memory is
used again by a later level than the last that reads it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from lutllm.lowering.cpu.code import I64, PTR, Code, Value

ALIGN = 64
SPINS = 2000  # turns of a waiting thread before it gives way to another
FRAME = ("arena", "parameters", "scratch", "sync")  # pointers in front of those to arguments and results
NUMBERS = ("scratch_bytes", "threads", "tokens")


@dataclass(eq=False)
class Buffer:
    """Bytes somewhere: in the `arena` or the `parameters` at `offset`, or the `argument` or `result` of that index."""

    kind: str
    size: int
    index: int = 0
    offset: int = 0


@dataclass(eq=False)
class Call:
    """A kernel and what its pointers are; `tokens` None is the run's."""

    kernel: str
    pointers: Sequence[Buffer]
    written: Buffer
    tokens: int | None
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


def frame(arguments: int, results: int) -> int:
    """64-bit words of the frame a step reads: FRAME, NUMBERS, pointers to arguments, pointers to results."""
    return len(FRAME) + len(NUMBERS) + arguments + results


def step(name: str, calls: Sequence[Call], arguments: int, results: int) -> str:
    """The public function name(frame, thread)."""
    code = Code(name, [("frame", PTR), ("thread", I64)])
    at = itertools.count()

    def word(type_: str) -> Value:
        return code.load(code.arguments["frame"], 8 * next(at), type_)

    bases = {n: word(PTR) for n in FRAME}
    numbers = {n: word(I64) for n in NUMBERS}
    given = {"argument": [word(PTR) for _ in range(arguments)], "result": [word(PTR) for _ in range(results)]}
    thread = code.arguments["thread"]
    scratch = code.at(bases["scratch"], thread * numbers["scratch_bytes"])

    def pointer(buffer: Buffer) -> Value:
        if buffer.kind in given:
            return given[buffer.kind][buffer.index]
        return code.at(bases[buffer.kind], buffer.offset)

    level = 0
    for call in sorted(calls, key=lambda c: c.level):
        if call.level != level:
            code.call("barrier", bases["sync"], numbers["threads"])
            level = call.level
        tokens = numbers["tokens"] if call.tokens is None else code.constant(call.tokens, I64)
        code.call(call.kernel, *map(pointer, call.pointers), scratch, tokens, thread, numbers["threads"])
    return code.text(public=True)


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
