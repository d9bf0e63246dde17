"""Work in several threads or processes, or on a cluster, and its end when it is broken off: at once, with nothing more
begun."""

from __future__ import annotations

import subprocess
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from lutllm.errors import InputError, MissingDependencyError

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
        for process in processes:
            process.kill()
        for one in programs:
            one.kill()
        raise
    pool.shutdown()


@contextmanager
def pool(cluster: str | None, here: Callable[[], Executor]) -> Iterator[Executor]:
    """What `here` makes, `broken_off` in the end, or the workers of a Dask cluster at an address, which have to know
    the same packages. Work of a worker that is lost goes to another."""
    if cluster is None:
        with broken_off(here()) as found:
            yield found
        return
    with _dask(cluster) as client:
        yield client.get_executor(pure=False)


def _dask(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise MissingDependencyError(
            "expected package 'distributed' for --cluster, got none; pip install 'lutllm[explore]'"
        ) from None
    try:
        return Client(address, timeout="10s")
    except (OSError, ValueError) as problem:
        raise InputError(f"expected a Dask scheduler at --cluster {address}, got none ({problem}); start one") from None


def program(command: Sequence[str], folder: Path, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
    """A program's output, as text; it ends with what runs it. Raises `subprocess.TimeoutExpired` after `seconds`,
    `CancelledError` in a thread whose work was broken off."""
    own = threading.current_thread()
    with _lock:
        if own in _ended:
            raise CancelledError
        running = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
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
