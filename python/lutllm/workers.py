"""Work in several threads or processes, and its end when it is broken off: at once, with nothing more begun."""

from __future__ import annotations

import subprocess
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

E = TypeVar("E", bound=Executor)
_lock = threading.Lock()
_running: dict[subprocess.Popen[str], threading.Thread] = {}  # programs, and what waits for them
_ended: weakref.WeakSet[threading.Thread] = weakref.WeakSet()  # threads whose work was broken off


@contextmanager
def broken_off(pool: E) -> Iterator[E]:
    """`pool`, shut down in the end. An error or Ctrl-C waits for nothing: what has not begun never does, and its
    processes, and the programs (`program`) of its threads, end."""
    try:
        yield pool
    except BaseException:
        processes = list(pool._processes.values()) if isinstance(pool, ProcessPoolExecutor) else []
        pool.shutdown(wait=False, cancel_futures=True)
        with _lock:
            if isinstance(pool, ThreadPoolExecutor):
                _ended.update(pool._threads)
            programs = [one for one, thread in _running.items() if thread in _ended]
        for each in (*processes, *programs):
            each.kill()
        raise
    pool.shutdown()


def program(command: Sequence[str], folder: Path, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
    """A program's output, as text; it ends with what runs it. Raises `subprocess.TimeoutExpired` after `seconds`,
    `CancelledError` in a thread whose work was broken off."""
    own = threading.current_thread()
    with _lock:
        if own in _ended:
            raise CancelledError
        streams = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        running = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, **streams, text=True)
        _running[running] = own
    with running:
        try:
            output, errors = running.communicate(timeout=seconds)
        except BaseException:
            running.kill()
            raise
        finally:
            with _lock:
                del _running[running]
    return subprocess.CompletedProcess(command, running.returncode, output, errors)
