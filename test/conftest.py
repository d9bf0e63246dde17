"""Settings of every pytest run: property tests are reproducible and have no deadline, so that a slow machine passes.
And a text of IR to edit.
"""

import re
from pathlib import Path

import hypothesis
import pytest

import lutllm
from lutllm import dialect
from lutllm.bindings import capture_diagnostics, ir
from lutllm.errors import IRError, LutllmError
from lutllm.models.hf import set_environment

set_environment()  # before a test uses torch by itself
hypothesis.settings.register_profile("lutllm", deadline=None, derandomize=True)
hypothesis.settings.load_profile("lutllm")


def pytest_report_header(config: pytest.Config) -> str:
    return f"lutllm: {Path(lutllm.__file__).parent}"


class Text:
    """IR as a person edits it: the lines of a module's text without locations, found by what stands in them."""

    def __init__(self, module: ir.Module) -> None:
        text = re.sub(r' loc\((?:#loc\d*|unknown|"[^"]*")\)', "", dialect.module_text(module))
        self.lines = [line for line in text.split("\n") if not line.startswith("#loc")]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def find(self, *parts: str, of: str = "") -> int:
        """The first line with all `parts`, in function `of` or anywhere."""
        first = next(i for i, line in enumerate(self.lines) if not of or f"func.func @{of}(" in line)
        return next(i for i, line in enumerate(self.lines) if i >= first and all(part in line for part in parts))

    def change(self, *parts: str, old: str, new: str, of: str = "") -> "Text":
        """Replace `old` in that line."""
        i = self.find(*parts, old, of=of)
        self.lines[i] = self.lines[i].replace(old, new, 1)
        return self

    def everywhere(self, old: str, new: str) -> "Text":
        assert old in str(self), old
        self.lines = str(self).replace(old, new).split("\n")
        return self

    def value(self, label: str, of: str) -> str:
        """The result of a cluster."""
        end = self.find("}) {", f'label = "{label}"', of=of)
        return next(line.split()[0] for line in reversed(self.lines[:end]) if '= "lut.cluster"()' in line)

    def cluster(self, label: str, of: str = "prefill") -> slice:
        """The lines of a cluster."""
        begin = self.find(f"    {self.value(label, of)} = ", of=of)
        return slice(begin, self.find("}) {", f'label = "{label}"', of=of) + 1)

    def task(self, label: str, engine: str, round_: int | None = None, of: str = "prefill") -> int:
        """The line of a task."""
        found = re.escape(self.value(label, of))
        part = "" if round_ is None else f", round = {round_}"
        pattern = re.compile(rf'"lut.task"\({found}[,)].*engine = "{engine}"{part}[,}}]')
        first = self.find(of=of)
        return next(i for i, line in enumerate(self.lines) if i >= first and pattern.search(line))

    def token(self, task: int) -> str:
        """The token of the task in a line."""
        return self.lines[task].split()[0]

    def tokens(self, task: int) -> list[str]:
        """What a task waits for."""
        return re.findall(r"%\w+", self.lines[task].split('"lut.task"(')[1].split(")")[0])[1:]

    def drop(self, lines: int | slice) -> "Text":
        del self.lines[lines]
        return self

    def move(self, lines: int | slice, before: int) -> "Text":
        """Lines to before another one."""
        where = lines if isinstance(lines, slice) else slice(lines, lines + 1)
        moved = self.lines[where]
        del self.lines[where]
        before -= len(moved) if before > where.start else 0
        self.lines[before:before] = moved
        return self

    def waits(self, task: int, *tokens: str) -> "Text":
        """Let a task wait for these tokens and no others."""
        line = self.lines[task]
        head, of, rest = re.fullmatch(r'(.*"lut\.task"\()([^,)]*)[^)]*(\).*)', line).groups()  # type: ignore[union-attr]
        rest = re.sub(r"(, !lut\.token)*\) -> !lut.token", ", !lut.token" * len(tokens) + ") -> !lut.token", rest)
        self.lines[task] = head + ", ".join([of, *tokens]) + rest
        return self

    def parse(self) -> ir.Module:
        """The module, in a context of its own; `IRError` with the first diagnostic where it does not verify."""
        context = dialect.context()
        with capture_diagnostics(context) as seen, context, ir.Location.unknown():
            try:
                module = ir.Module.parse(str(self))
                right = dialect.verify(module)
            except ir.MLIRError:
                right = False
        if not right:
            first = next(d for d in seen if d.severity == "error")
            raise IRError(first.message, location=first.location)
        return module

    def line_of(self, error: LutllmError) -> str:
        """The line an error is about; all where it is about the module."""
        assert error.location is not None, error
        return self.lines[int(error.location.split(":")[1]) - 1]


@pytest.fixture
def text_of() -> type[Text]:
    """Makes the text of a module."""
    return Text
