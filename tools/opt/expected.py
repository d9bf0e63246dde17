"""`--verify-diagnostics`: `expected-error {{...}}` comments and the diagnostics of a run in, what does not fit out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from lutllm.bindings import Diagnostic
from lutllm.tools.opt.input import Source

_EXPECTED = re.compile(
    r"expected-(error|warning|remark|note)(-re)? *(?:@([+-]\d+|above|below|unknown))? *\{\{(.*)\}\}\s*$"
)
_REGEX = re.compile(r"\{\{(.*?)(\}\}|$)")


@dataclass
class Expected:
    """One expected diagnostic, written at a line and column; `line` None means that it has no location."""

    severity: str
    line: int | None
    message: str
    written_at: tuple[int, int]
    regex: re.Pattern[str] | None = None
    seen: bool = False

    def matches(self, diagnostic: Diagnostic) -> bool:
        if self.line != (diagnostic.line or None) or self.severity != diagnostic.severity:
            return False
        said = diagnostic.message
        return self.regex.search(said) is not None if self.regex else self.message in said


def expected_in(text: bytes, source: Source) -> tuple[list[Expected], list[Diagnostic]]:
    """The expectations written in comments, and what is wrong with how they are written.

    `@+1` and `@-1` move an expectation to another line; `@above` and `@below` to the next that holds no expectation.
    """
    found: list[Expected] = []
    wrong: list[Diagnostic] = []
    waiting: list[Expected] = []
    above = 0
    lines = text.decode("utf-8", "replace").split("\n")
    for number, line in enumerate(lines, 1):
        match = _EXPECTED.search(line)
        if match is None:
            for e in waiting:
                e.line = number
            waiting, above = [], number
            continue
        severity, is_regex, place, message = match.groups()
        e = Expected(severity, _line(place, number, above, len(lines)), message, (number, match.start() + 1))
        if is_regex:
            try:
                e.regex = _compiled(message)
            except (ValueError, re.error) as problem:
                wrong.append(Diagnostic("error", str(problem), source.name, *e.written_at))
                continue
        waiting += [e] if place == "below" else []
        found.append(e)
    return found, wrong


def _line(place: str | None, number: int, above: int, last: int) -> int | None:
    """The line meant; `@below` holds the last until the one it means is known."""
    if place is None or place[0] in "+-":
        return number + int(place or 0)
    return {"above": above, "below": last, "unknown": None}[place]


def _compiled(message: str) -> re.Pattern[str]:
    """A message of `expected-*-re`: literal text with `{{regular expressions}}` in it."""
    pattern, at = "", 0
    for match in _REGEX.finditer(message):
        if not match[2]:
            raise ValueError("expected a '}}' that ends the regular expression, got none")
        try:
            re.compile(match[1])
        except re.error as problem:
            raise ValueError(f"expected a regular expression, got '{match[1]}' ({problem})") from None
        pattern += f"{re.escape(message[at : match.start()])}(?:{match[1]})"
        at = match.end()
    return re.compile(pattern + re.escape(message[at:]))


def compare(
    expected: list[Expected], got: Iterable[Diagnostic], source: Source, *, only_expected: bool = False
) -> list[Diagnostic]:
    """What is wrong: expectations nothing fulfilled, and, unless `only_expected`, diagnostics nobody expected.

    Each expectation is fulfilled once.
    """
    wrong = []
    for diagnostic in got:
        match = next((e for e in expected if not e.seen and e.matches(diagnostic)), None)
        if match:
            match.seen = True
        elif not only_expected and not diagnostic.message.startswith("see current operation: "):
            # MLIR adds that note to every error of an op; its own tools turn it off here, the bindings cannot.
            message = f"unexpected {diagnostic.severity}: {diagnostic.message}"
            wrong.append(replace(diagnostic, severity="error", message=message))
    for e in expected:
        if not e.seen:
            message = f'expected {e.severity} "{e.message}" was not produced'
            wrong.append(Diagnostic("error", message, source.name, *e.written_at))
    return wrong
