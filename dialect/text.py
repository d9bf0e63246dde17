"""A module as its files hold it: module in, MLIR text with locations out, which reads back as the same module.

The printer gives attributes of a dialect defined in Python no aliases, and spells out the type of each integer. Both
are undone here: every encoding gets an alias, `#x` where its exponents are a symbol, `#y` where it has a single one.
"""

import re
from typing import Any

_STRING = r'"(?:[^"\\]|\\.)*"'
_ENCODING = re.compile(rf"{_STRING}|#lut\.fixed<(\d+) : i64, (?:(-?\d+) : i64|(@(?:[\w$.-]+|{_STRING})))>")
_INTEGER = re.compile(rf"{_STRING}|(?<= = )(-?\d+) : i64(?=[,}}])")


def module_text(module: Any) -> str:
    aliases: dict[str, str] = {}

    def encoding(found: re.Match) -> str:
        bits, exponent, symbol = found.groups()
        if bits is None:
            return found[0]
        meaning = f"#lut.fixed<{bits}, {exponent or symbol}>"
        return aliases.setdefault(meaning, f"#{'y' if exponent else 'x'}{len(aliases)}")

    text = _ENCODING.sub(encoding, module.operation.get_asm(enable_debug_info=True))
    lines = [_INTEGER.sub(_plain, line) if '"lut.' in line else line for line in text.split("\n")]
    return "\n".join([*(f"{name} = {meaning}" for meaning, name in aliases.items()), *lines]).rstrip("\n") + "\n"


def _plain(found: re.Match) -> str:
    return found[1] or found[0]
