"""Progress of long work on stderr: a bar with ETA on a terminal, a plain line a tenth otherwise, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_LINES = 10  # plain lines printed for one piece of work


def progress(items: Iterable[T], label: str, *, total: int | None = None, quiet: bool = False) -> Iterator[T]:
    """Yield `items`, showing how far the work is. `total` is only needed for an iterable without a length."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    if quiet:
        yield from items
    elif sys.stderr.isatty():
        from tqdm import tqdm  # type: ignore[import-untyped]  # slow to import, and rarely needed

        yield from tqdm(items, desc=label, total=total, file=sys.stderr, dynamic_ncols=True, leave=False)
    else:
        yield from _plain(items, label, total)


def _plain(items: Iterable[T], label: str, total: int | None) -> Iterator[T]:
    """A line a tenth (or ten items, if their number is unknown), with the time so far and about what is left."""
    start = time.monotonic()
    step = max(1, -(-total // _LINES)) if total else _LINES
    for done, item in enumerate(items, 1):
        yield item
        if done % step == 0 or done == total:
            whole, spent = f"/{total}" if total else "", time.monotonic() - start
            left = f", about {spent / done * (total - done):.0f} s more" if total and done < total else ""
            print(f"{label}: {done}{whole} ({spent:.1f} s{left})", file=sys.stderr, flush=True)


def note(message: str, *, quiet: bool = False) -> None:
    """One line about what happens next, on stderr so that a report on stdout stays clean."""
    if not quiet:
        print(message, file=sys.stderr, flush=True)
