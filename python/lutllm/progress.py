"""Progress of long work: on stderr a bar with ETA on a terminal, a plain line a tenth otherwise; or to a listener."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
_LINES = 10  # plain lines printed for one piece of work
_SCALED = 100_000  # from here a bar's numbers are in thousands and millions


@dataclass(frozen=True)
class Step:
    """How far a piece of work is: `done` of `total` items, None where their number is not known; a piece that has no
    items says with 0 of 0 that it begins."""

    label: str
    done: int
    total: int | None


Listener = Callable[[Step], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def reported(to: bool | Listener) -> Iterator[bool]:
    """Progress goes to stderr, to nobody, or to a listener; yields whether work is to be quiet."""
    if not callable(to):
        yield not to
        return
    token = _listener.set(to)
    try:
        yield False
    finally:
        _listener.reset(token)


def progress(items: Iterable[T], label: str, *, total: int | None = None, quiet: bool = False) -> Iterator[T]:
    """Yield `items`, showing how far the work is. `total` is only needed for an iterable without a length."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    with metered(label, total, quiet=quiet) as told:
        for done, item in enumerate(items, 1):
            yield item
            told(done)


@contextmanager
def metered(label: str, total: int | None, *, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """What is to be told from time to time how much of `total` is done, and a word to show beside it on a terminal."""
    if quiet:
        yield lambda done, beside="": None
    elif listener := _listener.get():
        yield lambda done, beside="": listener(Step(label, done, total))
    elif sys.stderr.isatty():
        from tqdm import tqdm  # type: ignore[import-untyped]  # slow to import, and rarely needed

        scaled = (total or 0) >= _SCALED
        with tqdm(desc=label, total=total, file=sys.stderr, dynamic_ncols=True, leave=False, unit_scale=scaled) as bar:

            def told(done: int, beside: str = "") -> None:
                if beside:
                    bar.set_postfix_str(beside, refresh=False)
                bar.update((min(done, total) if total else done) - bar.n)

            yield told
    else:
        yield _lines(label, total)


def _lines(label: str, total: int | None) -> Callable[..., None]:
    """Prints a line a tenth (or ten items, if their number is unknown), with the time so far and about what is left."""
    start, step, shown = time.monotonic(), max(1, -(-total // _LINES)) if total else _LINES, 0

    def told(done: int, beside: str = "") -> None:
        nonlocal shown
        if done // step > shown or (done == total and done % step):
            shown = done // step
            whole, spent = f"/{total:,}" if total else "", time.monotonic() - start
            left = f", about {spent / done * (total - done):.0f} s more" if total and done < total else ""
            print(f"{label}: {done:,}{whole} ({spent:.1f} s{left})", file=sys.stderr, flush=True)

    return told


def note(message: str, *, quiet: bool = False) -> None:
    """One line about what happens next, on stderr so that a report on stdout stays clean."""
    if quiet:
        return
    if listener := _listener.get():
        listener(Step(message, 0, 0))
    else:
        print(message, file=sys.stderr, flush=True)
