"""Pass pipelines: text such as `builtin.module(lut-decompose{row-source=built_row},func.func(cse))` in, a tree out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from lutllm.errors import InputError

MAX_DEPTH = 32
_NAME = re.compile(r"\s*([A-Za-z_][\w.-]*)\s*")


@dataclass(frozen=True)
class PassItem:
    """A pass by name, with the text between its braces."""

    name: str
    options: str = ""

    def __str__(self) -> str:
        return f"{self.name}{{{self.options}}}" if self.options else self.name


@dataclass(frozen=True)
class Nest:
    """Passes to run on every operation `anchor` directly below the enclosing one."""

    anchor: str
    items: tuple["PassItem | Nest", ...]

    def __str__(self) -> str:
        return f"{self.anchor}({','.join(map(str, self.items))})"

    def passes(self) -> Iterator[PassItem]:
        for item in self.items:
            if isinstance(item, Nest):
                yield from item.passes()
            else:
                yield item


def parse_pipeline(text: str) -> Nest:
    """Parse a whole pipeline; the outermost anchor must be `builtin.module`."""
    parser = _Parser(text)
    result = parser.item(0)
    if parser.at < len(text.rstrip()):
        parser.error("expected the end of the pipeline")
    if not isinstance(result, Nest) or result.anchor != "builtin.module":
        raise InputError(f"expected a pipeline `builtin.module(...)`, got `{_short(text)}`; wrap the passes in it")
    return result


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def item(self, depth: int) -> PassItem | Nest:
        if depth > MAX_DEPTH:
            self.error(f"expected at most {MAX_DEPTH} nested anchors")
        match = _NAME.match(self.text, self.at)
        if match is None:
            self.error("expected the name of a pass or of an operation to nest on")
        self.at = match.end()
        if self.taken("("):
            return Nest(match[1], self.items(depth))
        if self.taken("{"):
            return PassItem(match[1], self.options())
        return PassItem(match[1])

    def items(self, depth: int) -> tuple[PassItem | Nest, ...]:
        self.spaces()
        if self.taken(")"):
            return ()
        found = [self.item(depth + 1)]
        while self.taken(","):
            found.append(self.item(depth + 1))
        if not self.taken(")"):
            self.error("expected ',' or ')'")
        return tuple(found)

    def options(self) -> str:
        """The text up to the brace that closes the one just taken; quotes and nested braces are skipped."""
        start, depth, quote = self.at, 1, ""
        while depth:
            if self.at >= len(self.text):
                self.at = start
                self.error(f"expected a closing {quote or '}'} for these options")
            char = self.text[self.at]
            if char == "\\" and quote != "'":
                self.at += 1  # as in a shell: the next character stands for itself
            elif quote:
                quote = "" if char == quote else quote
            elif char in "\"'":
                quote = char
            else:
                depth += (char == "{") - (char == "}")
            self.at += 1
        end = self.at - 1
        self.spaces()
        return self.text[start:end].strip()

    def spaces(self) -> None:
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1

    def taken(self, char: str) -> bool:
        self.spaces()
        if not self.text.startswith(char, self.at):
            return False
        self.at += 1
        self.spaces()
        return True

    def error(self, message: str) -> NoReturn:
        got = f"'{self.text[self.at]}'" if self.at < len(self.text) else "the end"
        raise InputError(f"{message}, got {got}", location=f"<pass pipeline>:1:{self.at + 1}")


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
