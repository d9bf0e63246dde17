"""The runs of task lists that make up a generation, in the sequencer's order: a prompt's length in, lists out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Pass:
    """One run of the task list `program`, on `tokens` tokens from `position` on. The head's works on the last of the
    tokens of the pass before it, so it has as many; `position` is then that after them."""

    program: str
    tokens: int
    position: int


def prompt_passes(position: int, length: int, most: int) -> Iterator[Pass]:
    """What reads tokens `position` .. `length` - 1 of the sequence, at most `most` a pass."""
    while position < length:
        tokens = min(most, length - position)
        yield Pass("decode" if tokens == 1 else "prefill", tokens, position)
        position += tokens


def run_passes(length: int, made: int, most: int, position: int = 0) -> list[Pass]:
    """A whole run that makes `made` tokens, all passes known beforehand. The last token made is not read."""
    found = list(prompt_passes(position, length, most))
    for i in range(made):
        found.append(Pass("head", found[-1].tokens, length + i))
        if i < made - 1:
            found.append(Pass("decode", 1, length + i))
    return found
