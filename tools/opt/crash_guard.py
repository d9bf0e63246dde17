"""Run work that calls into MLIR so that even a crash of the library ends in an error message and an exit code."""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def run_guarded(work: Callable[[], int], program: str) -> int:
    """The exit code of `work`, run in a forked child.

    MLIR stops the process where it meets a mistake it takes for a programmer's (an abort in a pass pipeline, a stack
    overflow in a parser); no exception reaches Python. The child dies then, and the parent says so.
    """
    _replace_closed_streams()
    sys.stdout.flush()
    sys.stderr.flush()
    # Ctrl-C goes to both. It ends the child at once, C++ included; the parent waits for that.
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        # A parent that is killed takes the child with it: nobody is left to read its output.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os._exit(_exit_code(work))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.signal(signal.SIGINT, handler)
    if code >= 0:
        return code
    if code == -signal.SIGINT:
        return 128 + signal.SIGINT
    name = signal.Signals(-code).name
    print(f"error: the MLIR library stopped with {name}; run {program} with --debug to see where", file=sys.stderr)
    return 1


def _replace_closed_streams() -> None:
    """A shell can start a program with stdout or stderr closed (`>&-`); Python then has None in its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  (open to the end)


def _exit_code(work: Callable[[], int]) -> int:
    try:
        try:
            code = work()
        except SystemExit as stop:  # argparse, after --help or a wrong command line
            code = stop.code if isinstance(stop.code, int) else 1
        sys.stdout.flush()
        sys.stderr.flush()
        return code
    except BrokenPipeError:
        return 1  # the reader went away: nothing to say, nobody to say it to
    except BaseException as problem:
        with contextlib.suppress(OSError):
            print(f"error: {type(problem).__name__}: {problem}; this is a defect, --debug shows where", file=sys.stderr)
        return 1
