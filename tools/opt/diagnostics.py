"""A diagnostic in, the text MLIR's tools print for it out."""

import re
from dataclasses import replace

from lutllm.bindings import Diagnostic
from lutllm.tools.opt.input import Source


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
