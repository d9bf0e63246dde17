"""The input of lutllm-opt: a file or stdin in, parts of IR text or bytecode out, refused where MLIR would crash."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from lutllm.errors import InputError

BYTECODE_MAGIC = b"ML\xefR"
MAX_NESTING = 256
SPLIT_MARKER = "// -----"
_ESCAPE = re.compile(rb"\\([0-9A-Fa-f]{2}|.)")
_HIGH_ESCAPE = re.compile(rb"\\[89A-Fa-f][0-9A-Fa-f]")
_TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|//[^\n]*|->|[<>]=|[(\[{<]|[)\]}>]')


@dataclass(frozen=True)
class Source:
    """An input: what to call it in messages, where it lies (None for stdin), its bytes."""

    name: str
    path: Path | None
    data: bytes

    @property
    def is_bytecode(self) -> bool:
        return self.data.startswith(BYTECODE_MAGIC)

    def line(self, number: int) -> str | None:
        """A line of the text, counted from 1."""
        if self.is_bytecode:
            return None
        lines = self.data.split(b"\n")
        return lines[number - 1].decode("utf-8", "replace") if 1 <= number <= len(lines) else None


def read_source(argument: str) -> Source:
    """The file, or stdin for `-`; `InputError` where it cannot be read or is no text and no bytecode."""
    if argument == "-" and sys.stdin is None:
        raise InputError("cannot read stdin: it is closed")
    try:
        if argument == "-":
            source = Source("<stdin>", None, sys.stdin.buffer.read())
        else:
            path = Path(argument)
            source = Source(argument, path if path.is_file() else None, path.read_bytes())
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise InputError(f"cannot read '{argument}': {reason}") from None
    if not source.is_bytecode:
        _check_text(source)
    return source


def _check_text(source: Source) -> None:
    problem = _wrong_byte(source.data) or _wrong_escape(source.data)
    if problem is not None:
        at, what = problem
        raise InputError(f"expected MLIR text or bytecode, got {what}", location=_location(source, at))
    at_depth = too_deep(source.data)
    if at_depth is not None:
        raise InputError(f"expected at most {MAX_NESTING} nested brackets", location=_location(source, at_depth))


def _wrong_byte(data: bytes) -> tuple[int, str] | None:
    zero = data.find(b"\0")
    if zero >= 0:
        return zero, "a NUL byte"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as problem:
        return problem.start, f"the byte 0x{data[problem.start]:02x}, which is not UTF-8"
    return None


def _wrong_escape(data: bytes) -> tuple[int, str] | None:
    """A string such as "\\FF": MLIR takes it, but stops the process when the bindings turn it into a Python string."""
    if not _HIGH_ESCAPE.search(data):
        return None
    for match in _TOKEN.finditer(data):
        if match[0][:1] == b'"':
            try:
                unescape(match[0]).decode("utf-8")
            except UnicodeDecodeError:
                return match.start(), "a string whose escapes are not UTF-8"
    return None


def unescape(literal: bytes) -> bytes:
    """What a string of MLIR text, quotes included, stands for."""
    return _ESCAPE.sub(lambda e: bytes([int(e[1], 16)]) if len(e[1]) == 2 else e[1], literal[1:-1])


def too_deep(data: bytes) -> int | None:
    """Where brackets nest deeper than MAX_NESTING: MLIR's parser recurses and would overflow the stack."""
    if sum(map(data.count, (b"(", b"[", b"{", b"<"))) <= MAX_NESTING:
        return None
    depth = 0
    for match in _TOKEN.finditer(data):
        token = match[0]
        if token in (b"(", b"[", b"{", b"<"):
            depth += 1
            if depth > MAX_NESTING:
                return match.start()
        elif token in (b")", b"]", b"}", b">"):
            depth = max(depth - 1, 0)
    return None


def _location(source: Source, at: int) -> str:
    before = source.data[:at]
    return f"{source.name}:{before.count(10) + 1}:{at - (before.rfind(10) + 1) + 1}"


def split(source: Source, marker: str) -> list[bytes]:
    """The parts between lines that begin with `marker`, each after as many empty lines as stand before it.

    So lines count on.
    """
    if source.is_bytecode:
        return [source.data]
    marked = re.compile(rb"^[ \t]*" + re.escape(marker.encode()) + rb"[^\n]*(?:\n|\Z)", re.MULTILINE)
    parts, start = [], 0
    for end, after in [*((m.start(), m.end()) for m in marked.finditer(source.data)), (len(source.data),) * 2]:
        parts.append(b"\n" * source.data.count(b"\n", 0, start) + source.data[start:end])
        start = after
    return parts
