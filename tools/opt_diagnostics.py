"""Diagnostics as MLIR's tools print them, and the comparison with `// expected-error {{...}}` comments."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from lutllm.bindings import Diagnostic
from lutllm.tools.opt_input import Source

_EXPECTED = re.compile(
    r"//\s*expected-(error|warning|remark|note)\s*(?:@([+-]\d+|above|below|unknown))?\s*\{\{(.*?)\}\}(?!\})"
)
_OFFSETS = {"above": -1, "below": 1, None: 0}


@dataclass
class Expected:
    """One expected diagnostic; `line` None means that it has no location."""

    severity: str
    line: int | None
    message: str
    written_at: int
    seen: bool = False

    def matches(self, diagnostic: Diagnostic) -> bool:
        same_line = self.line == (diagnostic.line or None)
        return same_line and self.severity == diagnostic.severity and self.message in diagnostic.message


def renamed(diagnostic: Diagnostic, source: Source) -> Diagnostic:
    """Text parsed from memory is called `-` by MLIR; give it the name the user gave."""
    name = source.name if diagnostic.file == "-" else diagnostic.file
    return replace(diagnostic, file=name)


def format_diagnostic(diagnostic: Diagnostic, source: Source) -> str:
    """`file:line:col: severity: message`, then the line and a caret where the location lies in the input."""
    d = renamed(diagnostic, source)
    if not d.line:
        return f"{d.file}: {d.severity}: {d.message}" if d.file else f"{d.severity}: {d.message}"
    text = f"{d.file}:{d.line}:{d.column}: {d.severity}: {d.message}"
    line = source.line(d.line) if d.file == source.name else None
    if line is None:
        return text
    caret = re.sub(r"[^\t]", " ", line[: (d.column or 1) - 1])
    return f"{text}\n{line}\n{caret}^"


def expected_in(text: bytes) -> list[Expected]:
    """The expectations written in comments; `@+1`, `@-1`, `@above`, `@below` move them to another line."""
    found = []
    for number, line in enumerate(text.decode("utf-8", "replace").split("\n"), 1):
        for severity, place, message in _EXPECTED.findall(line):
            at = number + _offset(place or None) if place != "unknown" else None
            found.append(Expected(severity, at, message, number))
    return found


def _offset(place: str | None) -> int:
    return _OFFSETS[place] if place in _OFFSETS else int(place or 0)


def compare(expected: list[Expected], got: Iterable[Diagnostic], source: Source) -> list[Diagnostic]:
    """What is wrong: diagnostics nobody expected, expectations nothing fulfilled. Each is fulfilled once."""
    wrong = []
    for diagnostic in got:
        match = next((e for e in expected if not e.seen and e.matches(diagnostic)), None)
        if match:
            match.seen = True
        elif not diagnostic.message.startswith("see current operation: "):
            # MLIR adds that note to every error of an op; its own tools turn it off here, the bindings cannot.
            message = f"unexpected {diagnostic.severity}: {diagnostic.message}"
            wrong.append(replace(diagnostic, severity="error", message=message))
    for e in expected:
        if not e.seen:
            message = f'expected {e.severity} "{e.message}" was not produced'
            wrong.append(Diagnostic("error", message, source.name, e.written_at, 1))
    return wrong
